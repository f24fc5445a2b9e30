"""`Schema`: an existing collection as Milvus describes it, read and never guessed.

`CollectionSpec` in `spec.py` decides what a new collection is.

See <https://milvus.io/docs/schema.md>.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pymilvus import DataType, FunctionType

from milvus_tools.errors import InvalidInputError

MAX_VARCHAR = 65_535  # bytes, Milvus's own limit
DYNAMIC_FIELD = "$meta"
DENSE = frozenset(
    {DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR},
)
VECTORS = DENSE | {
    DataType.BINARY_VECTOR,
    DataType.SPARSE_FLOAT_VECTOR,
    DataType.INT8_VECTOR,
}


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a collection.

    Attributes:
        name: Its name.
        type: Milvus's data type.
        auto_id: Whether Milvus makes the keys itself.
        is_partition_key: Whether it routes entities to partitions.
        nullable: Whether it may be null.
        optional: Whether a row may leave it out (nullable, with a default, or filled by Milvus).
        max_length: The most UTF-8 bytes of a VARCHAR.
        dim: The dimension of a dense vector field, else `None`.
        max_capacity: The most items of an ARRAY.
        element: What an ARRAY's items must fit, else `None`.
    """

    name: str
    type: DataType
    auto_id: bool = False
    is_partition_key: bool = False
    nullable: bool = False
    optional: bool = False
    max_length: int = MAX_VARCHAR
    dim: int | None = None
    max_capacity: int = 0
    element: "Field | None" = None

    @classmethod
    def from_description(cls, field: Mapping[str, Any]) -> "Field":
        """Read one field of pymilvus's `describe_collection`."""
        params = field.get("params") or {}
        optional = ("nullable", "auto_id", "is_function_output")
        max_length = int(params.get("max_length", MAX_VARCHAR))
        element = field.get("element_type")
        return cls(
            name=field["name"],
            type=DataType(field["type"]),
            auto_id=bool(field.get("auto_id")),
            is_partition_key=bool(field.get("is_partition_key")),
            nullable=bool(field.get("nullable")),
            # A default may be 0 or empty, so its presence counts.
            optional=any(field.get(key) for key in optional) or "default_value" in field,
            max_length=max_length,
            dim=int(params["dim"]) if "dim" in params else None,
            max_capacity=int(params.get("max_capacity", 0)),
            element=cls(field["name"], DataType(element), max_length=max_length)
            if element
            else None,
        )


@dataclasses.dataclass(frozen=True)
class Index:
    """A vector field's index: its metric type (`COSINE`, `IP`, `L2`, `BM25` …) and its kind."""

    metric_type: str
    index_type: str

    @classmethod
    def from_description(cls, index: Mapping[str, Any]) -> "Index":
        """Read pymilvus's `describe_index`, or the parameters that make an index."""
        return cls(str(index.get("metric_type", "")), str(index.get("index_type", "")))


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where rows have the value that a name means.

    Attributes:
        field: The field of the schema; `None` for the dynamic field.
        keys: The path of keys inside the field; empty for the field's own value.
    """

    field: Field | None
    keys: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """The name of the field, as a read asks for it."""
        return DYNAMIC_FIELD if self.field is None else self.field.name


# Those that look at every entity.
_EXHAUSTIVE = frozenset({"FLAT", "BIN_FLAT", "SPARSE_INVERTED_INDEX"})


@dataclasses.dataclass(frozen=True)
class Schema:
    """A collection as Milvus describes it.

    Attributes:
        collection_id: Milvus's number for it, another one after it is dropped and made again; 0
            on Milvus Lite.
        primary: The primary key.
        scalars: The other fields that are no vectors, by name.
        vectors: The vector fields, by name.
        indexes: The vector fields' indexes, by field name.
        dynamic: Whether rows may hold keys that are no fields.
        bm25_inputs: For each field that BM25 fills, the text field it reads.
    """

    collection_id: int
    primary: Field
    scalars: Mapping[str, Field]
    vectors: Mapping[str, Field]
    indexes: Mapping[str, Index]
    dynamic: bool
    bm25_inputs: Mapping[str, str]

    @functools.cached_property
    def searches_all(self) -> bool:
        """Whether every search looks at every entity that its filter leaves."""
        return all(index.index_type in _EXHAUSTIVE for index in self.indexes.values())

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], indexes: Mapping[str, Index]
    ) -> "Schema":
        """Read pymilvus's `describe_collection`."""
        fields = {field["name"]: Field.from_description(field) for field in description["fields"]}
        primary = next(field["name"] for field in description["fields"] if field.get("is_primary"))
        others = {name: field for name, field in fields.items() if name != primary}
        return cls(
            collection_id=int(description.get("collection_id") or 0),
            # Milvus says `auto_id` of the field or of the collection, as its version has it.
            primary=dataclasses.replace(
                fields[primary], auto_id=fields[primary].auto_id or bool(description["auto_id"])
            ),
            scalars={name: field for name, field in others.items() if field.type not in VECTORS},
            vectors={name: field for name, field in others.items() if field.type in VECTORS},
            indexes=dict(indexes),
            dynamic=bool(description.get("enable_dynamic_field")),
            bm25_inputs={
                function["output_field_names"][0]: function["input_field_names"][0]
                for function in description.get("functions") or ()
                if function["type"] == FunctionType.BM25
            },
        )

    @functools.cached_property
    def output_fields(self) -> tuple[str, ...]:
        """All that a Document is made of: every field but the vectors, and the dynamic keys.

        The dynamic keys are asked for as a whole: naming them one by one breaks on a key that is
        no identifier.
        """
        names = (self.primary.name, *self.scalars)
        return (*names, DYNAMIC_FIELD) if self.dynamic else names

    @functools.cached_property
    def has_partition_key(self) -> bool:
        """Whether a field routes rows to partitions."""
        return any(field.is_partition_key for field in self.scalars.values())

    def locate(self, path: Sequence[str], metadata_field: str | None = None) -> Place | None:
        """Return the place that a name means, for filters, orders and scopes alike.

        A name means a field of the schema, the primary key included; else a metadata key.

        Args:
            path: The keys of the name; one key for a name that is no path.
            metadata_field: The JSON field that holds all metadata, or `None`.

        Returns:
            The place, or `None` if the collection can't have such a value.
        """
        name, *inner = path
        field = self.primary if name == self.primary.name else self.scalars.get(name)
        if field is not None and not inner:
            return Place(field)
        if field is not None and name != metadata_field:
            return Place(field, tuple(inner)) if field.type == DataType.JSON else None
        if name in self.vectors or name == DYNAMIC_FIELD:
            return None
        if metadata_field is not None:
            return Place(self.scalars[metadata_field], tuple(path))
        return Place(None, tuple(path)) if self.dynamic else None

    def keeps_text(self, name: str) -> bool:
        """Tell whether a dynamic key holds the text, as in collections of pymilvus's quick setup.

        Where a field can hold it, the text is in a field: another name is a mistake.
        """
        place = self.locate((name,))
        texts = any(field.type == DataType.VARCHAR for field in self.scalars.values())
        return place is not None and place.field is None and not texts

    def is_dynamic(self, name: str) -> bool:
        """Tell whether a name can only be a key of the dynamic field.

        Raises:
            InvalidInputError: If the collection has no such field and no dynamic field.
        """
        place = self.locate((name,))
        if place is not None:
            return place.field is None
        known = ", ".join([self.primary.name, *self.scalars])
        raise InvalidInputError(
            f"The collection has no scalar field {name!r}, and no dynamic field either; "
            f"it has {known}."
        )
