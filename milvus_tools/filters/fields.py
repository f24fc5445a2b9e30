"""The fields that filters may name, and how an expression has them."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Final

from pymilvus import DataType

from milvus_tools._text import shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import MAX_HINT_CHARS, FieldType
from milvus_tools.filters.literals import any_of, dynamic_key, json_key, reference
from milvus_tools.schema import DYNAMIC_FIELD, Field, Schema

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


def field_type(field: Field) -> FieldType | None:
    """Return what a field of the schema holds, or `None` if no filter may name it."""
    if field.element is not None:
        return _LISTS.get(_SCALARS.get(field.element.type))  # type: ignore[arg-type]
    return _SCALARS.get(field.type)


@dataclasses.dataclass(frozen=True)
class Target:
    """A field as an expression has it.

    Attributes:
        name: The name that a condition has for it.
        type: What it holds.
        reference: The field, in an expression.
        field: The field of the schema, or `None` for a key of JSON, of which Milvus knows neither
            whether a row has it, nor what.
        key: A key of JSON with the name of its field; `""` for a field of the schema.
        lite: Whether Milvus Lite reads the expression, which knows more patterns and fewer keys.
    """

    name: str
    type: FieldType
    reference: str
    field: Field | None
    key: str
    lite: bool

    @property
    def stored(self) -> DataType | None:
        """Milvus's type of it, or of its items; `None` for a key of JSON."""
        return (self.field.element or self.field).type if self.field else None

    @property
    def absent(self) -> str:
        """An expression for rows without it, or with null; `""` if there can be none."""
        if self.field is None:
            return f"not ({self.present})"
        return f"{self.reference} is null" if self.field.nullable else ""

    @property
    def unknown(self) -> str:
        """An expression for rows where a comparison may be neither true nor false; `""` for none.

        To Milvus Lite it is, for what is not there; to the server it is false.
        """
        return self.absent if self.field else f"not (exists {self.key})"

    @property
    def present(self) -> str:
        """An expression for rows that have it, and no null."""
        if self.field is None:
            return f"exists {self.key}" if self.lite else self._present_on_server
        if self.field.nullable:
            return f"{self.reference} is not null"
        # No Milvus takes a tautology that is shorter.
        name, zero = self.reference, {FieldType.STRING: '""', FieldType.BOOLEAN: "true"}
        if self.field.element is not None:
            return f"(array_length({name}) == 0) or (array_length({name}) != 0)"
        return " or ".join(f"({name} {sign} {zero.get(self.type, '0')})" for sign in ("==", "!="))

    @property
    def _present_on_server(self) -> str:
        # To the server a null exists. All that is none is a string, a number, a boolean or a list,
        # or an object, which it can't tell from null.
        kinds = ('>= ""', "* 0 == 0", "== true", "== false", "== [0]", "!= [0]")
        return any_of(f"{self.reference} {kind}" for kind in kinds)


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields that filters may name.

    They are the primary key and the scalar and ARRAY fields of the schema, by their names; and
    keys of JSON, one level deep, if they are declared or `allow_dynamic` is set:

    - A key of the Documents' metadata goes by its own name, whether the collection has a dynamic
      field or a `metadata_field` for it.
    - A key of another JSON field goes by the field's name, a dot and the key: `"info.page"`. So a
      metadata key that begins like that can't be named; with a field `info`, `"info.page"` is
      never a dynamic key.

    Numbers are compared with a FLOAT or DOUBLE field as that field holds them. Objects in a key
    can't be compared; to the server one is as good as null, on Milvus Lite it exists.

    Attributes:
        schema: The collection.
        declared: Keys that the operator declared, with their types. A row may hold something else
            there, but on Milvus Lite `True` is 1 all the same, and on the server it isn't.
        allow_dynamic: Whether any other key may be named, too, with any scalar.
        lite: Whether the collection is in Milvus Lite.
        metadata_field: The JSON field that holds all metadata, if there is one.
    """

    schema: Schema
    declared: Mapping[str, FieldType] = dataclasses.field(default_factory=dict)
    allow_dynamic: bool = False
    lite: bool = False
    metadata_field: str | None = None

    def target(self, name: str) -> Target:
        """Look a field up.

        Raises:
            FilterError: If no filter may name it; the message has those that may be named.
        """
        if not isinstance(name, str):
            raise FilterError(f"A field's name must be a string, not {type(name).__name__}.")
        field = self._static.get(name)
        if field is not None:
            type_ = field_type(field)
            if type_ is not None:
                written = reference(name, dynamic=False)
                return Target(name, type_, written, field, key="", lite=self.lite)
        elif name != DYNAMIC_FIELD and name not in self.schema.vectors:
            target = self._key(name)
            if target is not None:
                return target
        raise FilterError(self._unknown(name))

    @property
    def _static(self) -> Mapping[str, Field]:
        return {self.schema.primary.name: self.schema.primary, **self.schema.scalars}

    def _key(self, name: str) -> Target | None:
        """Return a key of JSON, if it may be named and the collection has a place for it."""
        type_ = self.declared.get(name, FieldType.ANY if self.allow_dynamic else None)
        if type_ is None:
            return None
        field, dot, rest = name.partition(".")
        if dot and field in self._json_fields:
            written = key = json_key(field, rest)
        elif self.metadata_field is not None:
            written = key = json_key(self.metadata_field, name)
        elif self.schema.dynamic:
            written, key = reference(name, dynamic=True), dynamic_key(name)
        else:
            return None
        return Target(name, FieldType(type_), written, field=None, key=key, lite=self.lite)

    @property
    def _json_fields(self) -> list[str]:
        """The JSON fields whose keys have the field's name before them."""
        return [
            name
            for name, field in self.schema.scalars.items()
            if field.type == DataType.JSON and name != self.metadata_field
        ]

    @property
    def names(self) -> list[str]:
        """The names that are known, in a stable order."""
        static = [name for name, field in self._static.items() if field_type(field) is not None]
        return list(dict.fromkeys([*static, *self.declared]))

    def _unknown(self, name: str) -> str:
        if name in self._json_fields:
            return f"The field {name!r} is JSON; name one of its keys, as in '{name}.key'."
        near = difflib.get_close_matches(name[:MAX_HINT_CHARS], self.names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(self.names)
        return f"There is no field {shown(name)} to filter on; there are {known}.{hint}"
