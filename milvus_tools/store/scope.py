"""The scope of a store: field values that the operator fixed for every row it reads or writes."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final
from urllib.parse import quote

from milvus_tools.errors import (
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
    ScopeError,
)
from milvus_tools.filters.literals import Scalar, all_of, equals, literal
from milvus_tools.filters.stored import stored
from milvus_tools.schema import Schema
from milvus_tools.transport.grpc_errors import ILLEGAL_ARGUMENT, quotes_milvus

_EVALUATED: Final = (
    "Milvus Lite could not evaluate the filter; the reason may be in rows outside the scope, so "
    "it is not shown."
)
LOOKS_EQUAL: Final = (
    "Milvus Lite takes true and 1, and false and 0, for equal in a dynamic field, and the "
    "collection has entities of such another scope; use strings, or declare the field in "
    "metadata_schema."
)
_NAMES_SCOPE: Final = "Milvus refused the request; its reason names the scope, so it is not shown."
_WORD: Final = re.compile(r"\w+")
_LONG: Final = 3  # characters, from which on a value is recognized without quotes


@dataclasses.dataclass(frozen=True)
class Scope:
    """Field values that every row of the scope has.

    Attributes:
        values: The fields and their values; empty for a store without a scope.
        in_keys: Whether stored keys are made of the scope and the id. Two scopes can then use the
            same id, and neither can name a row of the other.
        keyed: The values that stored keys are made of: those of the widest scope that has
            `in_keys`. So it can read the keys of the scopes that are narrowed from it.
    """

    values: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    in_keys: bool = False
    keyed: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that Milvus can compare each value exactly."""
        for field, value in self.values.items():
            if not isinstance(value, str | int):
                raise InvalidInputError(
                    "A scope's value must be a string, an integer or a boolean; the value of "
                    f"{field!r} is a {type(value).__name__}."
                )
            equals(field, value, dynamic=True)  # raises if no expression can hold it
        plain = {field: _plain(value) for field, value in self.values.items()}
        # A copy, so that the caller can't change the scope; the class is frozen.
        object.__setattr__(self, "values", plain)
        object.__setattr__(self, "keyed", (self.keyed or plain) if self.in_keys else {})
        if self.in_keys and not self.values:
            raise InvalidInputError("scoped_ids=True needs a scope.")

    def __bool__(self) -> bool:
        """Tell whether the scope fixes any field."""
        return bool(self.values)

    @property
    def owns_keys(self) -> bool:
        """Whether no other scope can name the rows of this one: a narrower one shares its keys."""
        return self.in_keys and self.keyed == self.values

    def narrowed(self, values: Mapping[str, Scalar], *, in_keys: bool) -> "Scope":
        """Return this scope with more fields fixed.

        Raises:
            ScopeError: If a field is already fixed to another value, or if stored keys are made
                of this scope and would not be made of the narrower one.
        """
        if not isinstance(values, Mapping):
            raise InvalidInputError("A scope must be a dictionary of field values.")
        if self.in_keys and not in_keys:
            raise ScopeError(
                "The scope is in the keys already; a narrower scope needs scoped_ids=True, too."
            )
        more = Scope(values).values
        for field in self.values.keys() & more.keys():
            if not _same(self.values[field], more[field]):
                raise ScopeError(f"The scope fixes {field!r} already, to another value.")
        return Scope({**self.values, **more}, in_keys=in_keys, keyed=self.keyed)

    def expression(self, schema: Schema) -> str:
        """Return the scope as a filter expression.

        Raises:
            InvalidInputError: If the collection has no field for one of the values.
        """
        return all_of(
            equals(field, value, dynamic=schema.is_dynamic(field))
            for field, value in self.values.items()
        )

    def needs_client_side_count(self, schema: Schema) -> bool:
        """Tell whether the scope's expression can match rows outside the scope on Milvus Lite.

        In a dynamic field, Milvus Lite takes `true` and `1` for equal.
        """
        return any(
            value in (0, 1) and schema.is_dynamic(field) for field, value in self.values.items()
        )

    def stamp(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return a Document's metadata with the scope's values in it.

        Raises:
            ScopeError: If the metadata has another value for one of the scope's fields.
        """
        for field, value in self.values.items():
            if field in metadata and not _same(stored(metadata[field]), value):
                raise ScopeError(
                    f"The Document's metadata has another {field!r} than the store's scope; leave "
                    "it out."
                )
        return {**metadata, **self.values}

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row from Milvus is in the scope."""
        return not self.values or all(
            field in row and _same(row[field], value) for field, value in self.values.items()
        )

    def looks_equal(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is in the scope if `True` is 1, as it is to Milvus Lite."""
        return all(
            isinstance(row.get(field), str | int) and row[field] == value
            for field, value in self.values.items()
        )

    def require(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check that the rows that Milvus returned are in the scope.

        The expression holds the scope already. This check does not depend on how Milvus reads it.

        Raises:
            ScopeError: If a row is outside the scope.
        """
        if not self.values:
            return
        outside = [row for row in rows if not self.holds(row)]
        if any(self.looks_equal(row) for row in outside):
            raise ScopeError(LOOKS_EQUAL)
        if outside:
            raise ScopeError("Milvus returned a row outside the store's scope; it is withheld.")

    @contextlib.contextmanager
    def redacting_errors(self, *, lite: bool) -> Iterator[None]:
        """Remove from errors what Milvus says about the scope and about rows outside it.

        Milvus quotes the whole filter, which includes the scope. Milvus Lite evaluates the filter
        on all rows, and its error may quote a value of any of them. The original error stays the
        `__cause__`, for the developer.
        """
        try:
            yield
        except MilvusToolsError as error:
            said = error.__cause__ if isinstance(error, PartialWriteError) else error
            if self and said is not None and quotes_milvus(said):
                told = self._redacted(said, lite=lite)
                # In place, so that the error keeps its type, its cause and its attributes.
                error.args = (str(error).replace(str(said), told), *error.args[1:])
            raise

    def _redacted(self, error: BaseException, *, lite: bool) -> str:
        # Milvus Lite refuses a malformed expression with this code, before it reads a row.
        evaluated = isinstance(error, MilvusError) and error.code != ILLEGAL_ARGUMENT
        if lite and evaluated:
            return _EVALUATED
        text = str(error)
        for field, value in self.values.items():
            text = text.replace(equals(field, value, dynamic=True), "…")
        return _NAMES_SCOPE if self._is_named_in(text) else text

    def _is_named_in(self, text: str) -> bool:
        """Tell whether a text names a field or a value of the scope."""
        words = set(_WORD.findall(text))
        return any(field in words or field in text.split() for field in self.values) or any(
            _is_quoted(value, text, words) for value in self.values.values()
        )

    def key(self, id_: str) -> str:
        """Return the stored key of an id."""
        return self._prefix + id_

    def id(self, key: str | int) -> str:
        """Return the id of a stored key; an integer key is never made of a scope.

        Raises:
            ScopeError: If the key was not made of this scope.
        """
        if not isinstance(key, str):
            return str(key)
        if not self.in_keys:
            return key
        if not key.startswith(self._prefix):
            raise ScopeError(
                "A row in the scope has a key that was written without scoped_ids=True; write the "
                "row again with scoped_ids=True, or open the store without it."
            )
        return key[len(self._prefix) :]

    @property
    def _prefix(self) -> str:
        """The start of stored keys. No prefix is the start of another one.

        Fields and values are percent-encoded, so the colon at the end occurs nowhere else.
        """
        if not self.in_keys:
            return ""
        parts = (
            f"{quote(field, safe='')}={quote(json.dumps(value), safe='')}"
            for field, value in sorted(self.keyed.items())
        )
        return "&".join(parts) + ":"


def _is_quoted(value: Scalar, text: str, words: AbstractSet[str]) -> bool:
    """Tell whether a text quotes a value.

    A short string counts only in quotation marks, because it can be a part of any sentence.
    """
    if not isinstance(value, str):
        return literal(value) in words
    forms = [value, literal(value)[1:-1]]
    if len(value) < _LONG:
        forms = [f"{quote_}{form}{quote_}" for form in forms for quote_ in "\"'"]
    return any(form in text for form in forms)


def _plain(value: Scalar) -> Scalar:
    """Return the value of an enumeration's member, because Milvus returns plain values."""
    if isinstance(value, bool):
        return value
    return str.__str__(value) if isinstance(value, str) else int(value)


def _same(one: object, other: object) -> bool:
    """Tell whether two values are equal and of one type: `True`, `1` and `"1"` all differ."""
    return type(one) is type(other) and one == other
