"""The scope of a store: field values that the operator fixed for every row it can touch."""

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
from milvus_tools.schema import Schema
from milvus_tools.transport.grpc_errors import ILLEGAL_ARGUMENT, quotes_milvus

_EVALUATED: Final = (
    "Milvus Lite could not evaluate the filter; the reason may lie in rows outside the scope, and "
    "is not told."
)
_NAMES_SCOPE: Final = "Milvus refused the request; its reason names the scope, and is not told."
_WORD: Final = re.compile(r"\w+")
_LONG: Final = 3  # characters


@dataclasses.dataclass(frozen=True)
class Scope:
    """Values that some fields have in every row of the scope.

    Attributes:
        values: The fields and their values; empty for a store without scope.
        in_keys: Whether the stored key is made of the scope and the id, so that two scopes can
            use the same id, and neither can name a row of the other.
        keyed: The values that the keys are made of: those of the scope in which that began, so
            that a narrower scope has keys that the wider one can read.
    """

    values: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    in_keys: bool = False
    keyed: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what can't be compared for equality without doubt."""
        for field, value in self.values.items():
            if not isinstance(value, str | int):
                raise InvalidInputError(
                    f"A scope's value must be a string, an integer or a boolean; {field!r} has a "
                    f"{type(value).__name__}."
                )
            equals(field, value, dynamic=True)  # refuses what no expression can hold
        plain = {field: _plain(value) for field, value in self.values.items()}
        object.__setattr__(self, "values", plain)
        object.__setattr__(self, "keyed", (self.keyed or plain) if self.in_keys else {})
        if self.in_keys and not self.values:
            raise InvalidInputError("scoped_ids=True needs a scope.")

    def __bool__(self) -> bool:
        """Tell whether anything is fixed."""
        return bool(self.values)

    def narrowed(self, values: Mapping[str, Scalar], *, in_keys: bool) -> "Scope":
        """Return this scope with more fields fixed.

        Raises:
            ScopeError: If a field is fixed already, to another value, or the keys that are made
                of this scope are to be made of none.
        """
        if not isinstance(values, Mapping):
            raise InvalidInputError("A scope is a dictionary of field values.")
        if self.in_keys and not in_keys:
            raise ScopeError("The scope is in the keys already; a narrower one can't take it out.")
        more = Scope(values).values
        for field in self.values.keys() & more.keys():
            if not _same(self.values[field], more[field]):
                raise ScopeError(f"The scope fixes {field!r} already, to another value.")
        return Scope({**self.values, **more}, in_keys=in_keys, keyed=self.keyed)

    def expression(self, schema: Schema) -> str:
        """Write the scope as a filter expression.

        Raises:
            InvalidInputError: If the collection has no field for it.
        """
        return all_of(
            equals(field, value, dynamic=schema.is_dynamic(field))
            for field, value in self.values.items()
        )

    def needs_client_side_count(self, schema: Schema) -> bool:
        """Tell whether its expression can match a row outside it, for that `true` is `1`.

        So it is on Milvus Lite, in a dynamic field.
        """
        return any(
            value in (0, 1) and schema.is_dynamic(field) for field, value in self.values.items()
        )

    def stamp(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document's metadata with the scope's values in it.

        Raises:
            ScopeError: If it names another value for one of them.
        """
        for field, value in self.values.items():
            if field in metadata and not _same(metadata[field], value):
                raise ScopeError(
                    f"The document's metadata has another {field!r} than the store's scope."
                )
        return {**metadata, **self.values}

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row that was read lies in the scope."""
        return all(
            field in row and _same(row[field], value) for field, value in self.values.items()
        )

    def require(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check rows that Milvus returned for an expression that holds the scope.

        Raises:
            ScopeError: If one lies outside it all the same.
        """
        if not all(self.holds(row) for row in rows):
            raise ScopeError("Milvus returned a row outside the store's scope; it is withheld.")

    @contextlib.contextmanager
    def redacting_errors(self, *, lite: bool) -> Iterator[None]:
        """Take out of an error what Milvus says of the scope, and of rows outside it.

        Milvus quotes the whole filter, of which the scope is a part. Milvus Lite evaluates it for
        all rows, and an error may quote a value of any. The error of the part below stays the
        cause, for the developer.
        """
        try:
            yield
        except MilvusToolsError as error:
            said = error.__cause__ if isinstance(error, PartialWriteError) else error
            if self and said is not None and quotes_milvus(said):
                told = self._redacted(said, lite=lite)
                error.args = (str(error).replace(str(said), told), *error.args[1:])
            raise

    def _redacted(self, error: BaseException, *, lite: bool) -> str:
        evaluated = isinstance(error, MilvusError) and error.code != ILLEGAL_ARGUMENT
        if lite and evaluated:
            return _EVALUATED
        text = str(error)
        for field, value in self.values.items():
            text = text.replace(equals(field, value, dynamic=True), "…")
        return _NAMES_SCOPE if self._is_named_in(text) else text

    def _is_named_in(self, text: str) -> bool:
        """Tell whether a field or a value of the scope stands in a text."""
        words = set(_WORD.findall(text))
        return any(field in words or field in text.split() for field in self.values) or any(
            _is_told(value, text, words) for value in self.values.values()
        )

    def key(self, id_: str) -> str:
        """Return the stored key of an id."""
        return self._prefix + id_

    def id(self, key: str | int) -> str:
        """Return the id of a stored key; integer keys are never made of a scope.

        Raises:
            ScopeError: If the key was not made by this scope.
        """
        if not isinstance(key, str):
            return str(key)
        if not key.startswith(self._prefix):
            raise ScopeError(
                "A row in the scope has a key that was written without scoped_ids=True; write "
                "it again with it, or open the store without it."
            )
        return key[len(self._prefix) :]

    @property
    def _prefix(self) -> str:
        """What keys begin with: never the beginning of another scope's prefix."""
        if not self.in_keys:
            return ""
        parts = (
            f"{quote(field, safe='')}={quote(json.dumps(value), safe='')}"
            for field, value in sorted(self.keyed.items())
        )
        return "&".join(parts) + ":"


def _is_told(value: Scalar, text: str, words: AbstractSet[str]) -> bool:
    """Tell whether a value stands in a text: a short string may be a part of any sentence."""
    if not isinstance(value, str):
        return literal(value) in words
    forms = [value, literal(value)[1:-1]]
    if len(value) < _LONG:
        forms = [f"{quote_}{form}{quote_}" for form in forms for quote_ in "\"'"]
    return any(form in text for form in forms)


def _plain(value: Scalar) -> Scalar:
    """Take a member of an enumeration for its value, as Milvus brings it back."""
    if isinstance(value, bool):
        return value
    return str.__str__(value) if isinstance(value, str) else int(value)


def _same(one: object, other: object) -> bool:
    """Compare as Milvus's JSON does, where `true` is not `1` and `"1"` isn't either."""
    return type(one) is type(other) and one == other
