"""The fields that filters may name, and how an expression has them."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Final

from pymilvus import DataType

from milvus_tools.conditions.model import FieldType
from milvus_tools.errors import FilterError
from milvus_tools.filters import dynamic_key, reference
from milvus_tools.schema import Schema

_MILVUS_TYPES: Final = {
    DataType.VARCHAR: FieldType.STRING,
    DataType.BOOL: FieldType.BOOLEAN,
    DataType.FLOAT: FieldType.NUMBER,
    DataType.DOUBLE: FieldType.NUMBER,
    DataType.INT8: FieldType.INTEGER,
    DataType.INT16: FieldType.INTEGER,
    DataType.INT32: FieldType.INTEGER,
    DataType.INT64: FieldType.INTEGER,
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A field as an expression has it.

    Attributes:
        name: The field's name.
        type: What it holds.
        dynamic: Whether it is a key of the dynamic field.
        nullable: Whether it is a field of the schema that may be null.
        lite: Whether Milvus Lite reads the expression, which knows more patterns and fewer keys.
    """

    name: str
    type: FieldType
    dynamic: bool
    nullable: bool
    lite: bool

    @property
    def reference(self) -> str:
        """The field, in an expression."""
        return reference(self.name, dynamic=self.dynamic)

    @property
    def absent(self) -> str:
        """An expression for rows without it, or `""` if there can be none."""
        if self.dynamic:
            return f"not ({self.present})"
        return f"{self.reference} is null" if self.nullable else ""

    @property
    def present(self) -> str:
        """An expression for rows that have it."""
        if self.dynamic:
            return f"exists {dynamic_key(self.name)}"
        if self.nullable:
            return f"{self.reference} is not null"
        # No Milvus takes a tautology that is shorter.
        zero = {FieldType.STRING: '""', FieldType.BOOLEAN: "true"}.get(self.type, "0")
        return f"({self.reference} == {zero}) or ({self.reference} != {zero})"


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields that filters may name.

    Attributes:
        schema: The collection.
        declared: Dynamic keys that the operator declared, with their types.
        allow_dynamic: Whether any other key may be named, too, with any scalar.
        lite: Whether the collection is in Milvus Lite.
    """

    schema: Schema
    declared: Mapping[str, FieldType] = dataclasses.field(default_factory=dict)
    allow_dynamic: bool = False
    lite: bool = False

    def target(self, name: str) -> Target:
        """Look a field up.

        Raises:
            FilterError: If no filter may name it; the message has those that may be named.
        """
        field = {**self.schema.scalars, self.schema.primary.name: self.schema.primary}.get(name)
        if field is not None and field.type in _MILVUS_TYPES:
            return Target(
                name,
                _MILVUS_TYPES[field.type],
                dynamic=False,
                nullable=field.nullable,
                lite=self.lite,
            )
        type_ = self.declared.get(name, FieldType.ANY if self.allow_dynamic else None)
        if field is None and self.schema.dynamic and type_ is not None:
            return Target(name, FieldType(type_), dynamic=True, nullable=True, lite=self.lite)
        raise FilterError(self._unknown(name))

    @property
    def names(self) -> list[str]:
        """The names that are known, in a stable order."""
        scalars = [
            name for name, field in self.schema.scalars.items() if field.type in _MILVUS_TYPES
        ]
        return [self.schema.primary.name, *scalars, *self.declared]

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no field {name!r} to filter on; there are {', '.join(self.names)}.{hint}"
