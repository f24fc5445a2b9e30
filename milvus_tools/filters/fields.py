"""The fields that filters may name, and how a filter expression refers to them."""

import dataclasses
import difflib
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from pymilvus import DataType

from milvus_tools._text import shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import MAX_HINT_CHARS, FieldType
from milvus_tools.filters.literals import any_of, nested, reference
from milvus_tools.filters.names import locate, path_of
from milvus_tools.schema import DYNAMIC_FIELD, Field, Place, Schema

_SCALARS: Final = {
    DataType.VARCHAR: FieldType.STRING,
    DataType.BOOL: FieldType.BOOLEAN,
    DataType.FLOAT: FieldType.NUMBER,
    DataType.DOUBLE: FieldType.NUMBER,
    DataType.INT8: FieldType.INTEGER,
    DataType.INT16: FieldType.INTEGER,
    DataType.INT32: FieldType.INTEGER,
    DataType.INT64: FieldType.INTEGER,
}
ITEMS: Final[Mapping[FieldType, FieldType]] = {
    FieldType.STRINGS: FieldType.STRING,
    FieldType.INTEGERS: FieldType.INTEGER,
    FieldType.NUMBERS: FieldType.NUMBER,
    FieldType.BOOLEANS: FieldType.BOOLEAN,
}
_LISTS: Final = {item: type_ for type_, item in ITEMS.items()}
# What is true of a key that holds a value of this kind, whichever it is.
_ON_SERVER: Final[Mapping[str, Sequence[str]]] = {
    "text": ('>= ""',),
    "number": ("* 0 == 0",),
    "boolean": ("== true", "== false"),
    "list": ("== [0]", "!= [0]"),
}
KINDS: Final = tuple(_ON_SERVER)


def field_type(field: Field) -> FieldType | None:
    """Return the type of a field of the schema, or `None` if filters can't name the field."""
    if field.element is not None:
        return _LISTS.get(_SCALARS.get(field.element.type))  # type: ignore[arg-type]
    return _SCALARS.get(field.type)


@dataclasses.dataclass(frozen=True)
class Target:
    """A field that a condition names, as a filter expression refers to it.

    Attributes:
        name: The name in the condition.
        type: The type of its values.
        reference: The field's name in an expression.
        field: The field of the schema, or `None` for a JSON key. Milvus knows neither whether a
            row has a JSON key nor the type of its value.
        key: The JSON key with the name of its field before it; `""` for a field of the schema.
        lite: Whether the expression is for Milvus Lite, which accepts more patterns and fewer
            keys than the server.
        outer: The metadata key that a path begins with, if Milvus Lite would look for the path
            in a text there that looks like JSON.
    """

    name: str
    type: FieldType
    reference: str
    field: Field | None
    key: str
    lite: bool
    outer: str = ""

    @property
    def stored(self) -> DataType | None:
        """The Milvus type of the field, or of its items; `None` for a JSON key."""
        return (self.field.element or self.field).type if self.field else None

    @property
    def absent(self) -> str:
        """An expression for rows that lack the field or hold null; `""` if there can be none."""
        if self.field is None:
            missing = "" if self.lite else self.unknown
            return any_of([f"not ({self.present})", missing])
        return f"{self.reference} is null" if self.field.nullable else ""

    @property
    def unknown(self) -> str:
        """An expression for rows where a comparison can be neither true nor false.

        It is `""` if there can be none. On Milvus Lite, and on servers from 2.6.19 on, that is so
        where the field is missing; on older ones such a comparison is false (T54).
        """
        return self.absent if self.field else f"not (exists {self.key})"

    @property
    def present(self) -> str:
        """An expression for rows with the field, unless it is null there."""
        if self.field is None:
            return f"exists {self.key}" if self.lite else self._present_on_server
        if self.field.nullable:
            return f"{self.reference} is not null"
        # Every row has the field, but Milvus refuses `true` and `1 == 1` (T55).
        name, zero = self.reference, {FieldType.STRING: '""', FieldType.BOOLEAN: "true"}
        if self.field.element is not None:
            return f"(array_length({name}) == 0) or (array_length({name}) != 0)"
        return " or ".join(f"({name} {sign} {zero.get(self.type, '0')})" for sign in ("==", "!="))

    @property
    def _present_on_server(self) -> str:
        # On a server before 2.5.8 `exists` is true for a null. An object looks like null to it.
        return any_of(itertools.chain.from_iterable(map(self.of_kind, _ON_SERVER)))

    def of_kind(self, kind: str) -> list[str]:
        """Return expressions for rows that hold a value of one of `KINDS`, on a server."""
        return [f"{self.reference} {test}" for test in _ON_SERVER[kind]]


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields that filters can name.

    A name means a field of the schema, the primary key included; else a metadata key, whether
    metadata is in the dynamic field or in `metadata_field`. Metadata keys, and the keys of JSON
    fields, can be named if they are declared or `allow_dynamic` is set. A dot leads to a nested
    key, or into a JSON field: `specs.screen`. A key that has a dot is written `['x.y']`.

    A number is rounded to the type of the FLOAT or DOUBLE field that it is compared with. A key
    that holds an object can't be compared; it exists on Milvus Lite, but the server treats it as
    null.

    Attributes:
        schema: The collection's schema.
        declared: JSON keys that the operator declared, with their types. If a row holds a boolean
            under a key that is declared as a number, `True` equals 1 on Milvus Lite, but not on
            the server.
        allow_dynamic: Whether filters may also name other keys, and compare them with any scalar.
        lite: Whether the collection is in Milvus Lite.
        metadata_field: The JSON field that holds all metadata, or `None`.
    """

    schema: Schema
    declared: Mapping[str, FieldType] = dataclasses.field(default_factory=dict)
    allow_dynamic: bool = False
    lite: bool = False
    metadata_field: str | None = None

    def target(self, name: str) -> Target:
        """Return the field of this name, as an expression refers to it.

        Raises:
            FilterError: If filters can't name it. The message lists the fields that they can.
        """
        place = locate(name, self.schema, self.metadata_field)
        if place is not None:
            target = self._key(name, place) if place.keys else self._field(name, place.field)
            if target is not None:
                return target
        raise FilterError(self._unknown(name))

    def _field(self, name: str, field: Field | None) -> Target | None:
        """Return a field of the schema, or `None` if its type can't be compared."""
        type_ = None if field is None else field_type(field)
        if field is None or type_ is None:
            return None
        if self._types.get((field.name,)) is FieldType.DATETIME and type_ is FieldType.STRING:
            type_ = FieldType.DATETIME  # Milvus knows such a field as a text
        written = reference(field.name, dynamic=False)
        return Target(name, type_, written, field, key="", lite=self.lite)

    def _key(self, name: str, place: Place) -> Target | None:
        """Return a JSON key, or `None` if it may not be named."""
        type_ = self._types.get(path_of(name), FieldType.ANY if self.allow_dynamic else None)
        if type_ is None:
            return None
        outer = ""
        if place.field is not None:
            written = key = nested(reference(place.field.name, dynamic=False), place.keys)
        else:
            key = nested(DYNAMIC_FIELD, place.keys)
            # Milvus Lite reads fewer operators on a key in brackets.
            written = reference(place.keys[0], dynamic=True) + nested("", place.keys[1:])
            if self.lite and len(place.keys) > 1:
                outer = reference(place.keys[0], dynamic=True)
        return Target(name, FieldType(type_), written, None, key, self.lite, outer)

    @property
    def _static(self) -> Mapping[str, Field]:
        return {self.schema.primary.name: self.schema.primary, **self.schema.scalars}

    @functools.cached_property
    def _types(self) -> Mapping[tuple[str, ...], FieldType]:
        """The types of the declared keys, by their paths: a path can be written in two ways."""
        return {path_of(name): type_ for name, type_ in self.declared.items()}

    @property
    def _json_fields(self) -> list[str]:
        """The JSON fields whose keys are named with the field's name and a dot."""
        return [
            name
            for name, field in self.schema.scalars.items()
            if field.type == DataType.JSON and name != self.metadata_field
        ]

    @property
    def names(self) -> list[str]:
        """The names of the fields and of the declared keys, in a stable order."""
        static = [name for name, field in self._static.items() if field_type(field) is not None]
        return list(dict.fromkeys([*static, *self.declared]))

    def _unknown(self, name: str) -> str:
        if name in self._json_fields:
            return f"The field {name!r} is JSON; name one of its keys, such as '{name}.key'."
        near = difflib.get_close_matches(name[:MAX_HINT_CHARS], self.names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(self.names)
        dotted = " A key that has a dot is written ['x.y']." if len(path_of(name)) > 1 else ""
        return f"There is no field {shown(name)} to filter on; there are {known}.{dotted}{hint}"
