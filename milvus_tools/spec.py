"""`CollectionSpec`: how to make a collection that is not there yet.

See <https://milvus.io/docs/schema.md>.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_milvus.function import BaseMilvusBuiltInFunction, BM25BuiltInFunction
from pymilvus import CollectionSchema, DataType, FunctionType

from milvus_tools.errors import DimensionError, InvalidInputError, UnsupportedError
from milvus_tools.schema import MAX_VARCHAR, Index, Schema

_LONGEST_NAME = 255
_NO_LETTER = re.compile(r"[^A-Za-z0-9_]")
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{_LONGEST_NAME - 1}}}")
_PYTHON_TYPES: dict[type, DataType] = {
    bool: DataType.BOOL,
    int: DataType.INT64,
    float: DataType.DOUBLE,
    str: DataType.VARCHAR,
    dict: DataType.JSON,
}


@dataclasses.dataclass(frozen=True)
class CollectionSpec:
    """Describes a new collection, by those arguments of `MilvusStore` that do so.

    Attributes:
        collection_name: Its name.
        description: A text for people.
        primary_field: Name of the primary key.
        text_field: Name of the text field.
        vector_fields: The fields that embeddings fill, in the embeddings' order.
        functions: Milvus's built-in functions, each of which fills a field of its own.
        auto_id: Whether Milvus makes INT64 keys itself.
        dynamic: Whether to keep metadata as dynamic keys.
        metadata_field: A JSON field for all metadata, in place of the dynamic keys.
        partition_key_field: A field that routes entities to partitions.
        metadata_schema: Per metadata key, `{"dtype": …, "kwargs": {…}}`.
        vector_schema: The same per vector field.
        index_params: Per vector field, `{"index_type": …, "metric_type": …, "params": {…}}`.
        options: Further keyword arguments of `create_collection`.
        properties: Collection properties.
        metrics: Per vector field, the metric type that its search parameters name.
        dense_index: The index of dense vectors that have none in `index_params`.
        sparse_autoindex: The index of sparse vectors for which `index_params` has `AUTOINDEX`.
        consistency_level: Of reads that need no more.
        partition_names: The partitions to load, read and write, or `None` for all.
        replica_number: How many replicas to load.
        loads_whole: Whether to load all partitions, since this Milvus can't load some.
    """

    collection_name: str
    description: str = ""
    primary_field: str = "pk"
    text_field: str = "text"
    vector_fields: tuple[str, ...] = ("vector",)
    functions: tuple[BaseMilvusBuiltInFunction, ...] = ()
    auto_id: bool = False
    dynamic: bool = True
    metadata_field: str | None = None
    partition_key_field: str | None = None
    metadata_schema: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    vector_schema: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    index_params: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    properties: Mapping[str, Any] | None = None
    metrics: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dense_index: str = "AUTOINDEX"
    sparse_autoindex: str = "AUTOINDEX"
    consistency_level: str = "Session"
    partition_names: tuple[str, ...] | None = None
    replica_number: int = 1
    loads_whole: bool = False

    def on_lite(self) -> "CollectionSpec":
        """Return what it is on Milvus Lite.

        Lite loads no single partitions. With AUTOINDEX, which is HNSW there, a filtered search of
        flushed entities finds only some of those that match; with FLAT it finds them all.
        """
        return dataclasses.replace(
            self,
            dense_index="FLAT",
            sparse_autoindex="SPARSE_INVERTED_INDEX",
            loads_whole=True,
        )

    @functools.cached_property
    def function_fields(self) -> tuple[str, ...]:
        """The fields that Milvus's functions fill."""
        return filled_by(self.functions)

    @functools.cached_property
    def all_vector_fields(self) -> tuple[str, ...]:
        """Every vector field: those of the embeddings, then those of the functions."""
        return self.vector_fields + self.function_fields

    def require(self, version: tuple[int, int], samples: Sequence[Any]) -> None:
        """Check that a Milvus can hold this.

        Args:
            version: Major and minor version of the server.
            samples: One vector per embedding.

        Raises:
            UnsupportedError: If it can't.
        """
        if self.functions and version < (2, 5):
            raise UnsupportedError(
                "Full-text search (BM25) and other built-in functions need Milvus 2.5 or "
                f"Milvus Lite; this server is {version[0]}.{version[1]}."
            )
        if any(isinstance(sample, Mapping) for sample in samples) and version < (2, 4):
            raise UnsupportedError(
                "Sparse vectors need Milvus 2.4 or Milvus Lite; "
                f"this server is {version[0]}.{version[1]}."
            )
        if version < (2, 5) and (told := self._told_to_be_optional()):
            raise UnsupportedError(  # such a server would leave the rule out without a word
                f"{' and '.join(told)} in metadata_schema and vector_schema need Milvus 2.5 or "
                f"Milvus Lite; this server is {version[0]}.{version[1]}."
            )
        if len(self.all_vector_fields) > 1 and version < (2, 4):
            raise UnsupportedError(
                "Several vector fields in a collection need Milvus 2.4 or Milvus Lite; "
                f"this server is {version[0]}.{version[1]}."
            )

    def _told_to_be_optional(self) -> list[str]:
        """Return those of `nullable` and `default_value` that a declaration has."""
        declared = [*self.metadata_schema.values(), *self.vector_schema.values()]
        read = list(map(_declared, declared))
        return [
            name
            for name, unset in (("nullable", False), ("default_value", None))
            if any(one.get(name, unset) is not unset for one in read)
        ]

    def schema(self, samples: Sequence[Any], metadata: Mapping[str, Any]) -> CollectionSchema:
        """Write the schema for `create_collection`.

        Args:
            samples: One vector per embedding, which fixes type and dimension.
            metadata: The first document's metadata, which fixes the fields of a collection
                without dynamic field.
        """
        schema = CollectionSchema(
            [],  # which are added below, and so not checked yet
            self.description,
            auto_id=self.auto_id,
            enable_dynamic_field=self.dynamic,
            check_fields=False,
        )
        self._add_text(schema)
        self._add_primary(schema)
        for name, sample in zip(self.vector_fields, samples, strict=True):
            self._add_vector(schema, name, _vector_type(sample))
        for function in self.functions:
            for name in filled_by([function]):
                self._add_vector(schema, name, _function_type(function))
            schema.add_function(function.function)
        for name, parameters in self._metadata_fields(metadata).items():
            schema.add_field(name, **parameters)
        return schema

    def without_vectors(self, metadata: Mapping[str, Any]) -> Schema:
        """Return a new collection's schema but for the vector fields, which embeddings fix.

        Args:
            metadata: The first document's metadata.
        """
        spec = dataclasses.replace(self, vector_fields=(), functions=())
        return spec.described(spec.schema([], metadata))

    def described(self, planned: CollectionSchema) -> Schema:
        """Return what `schema` wrote as Milvus will describe it once the collection is there."""
        indexes = {
            field.name: Index.from_description(self.index_of(field.name, field.dtype))
            for field in planned.fields
            if field.name in self.all_vector_fields
        }
        return Schema.from_description(planned.to_dict(), indexes)

    def index_of(self, name: str, type_: DataType) -> dict[str, Any]:
        """Return a vector field's index parameters: the caller's, else ours."""
        given = self.index_params.get(name)
        if not given:
            metric = {"metric_type": self.metrics[name]} if name in self.metrics else {}
            return {**self._own_index_of(name, type_), **metric}
        # Milvus Lite builds no other index for sparse vectors (T23).
        if type_ == DataType.SPARSE_FLOAT_VECTOR and given.get("index_type") == "AUTOINDEX":
            return {**given, "index_type": self.sparse_autoindex}
        return dict(given)

    def _own_index_of(self, name: str, type_: DataType) -> dict[str, Any]:
        if name in self.function_fields and type_ == DataType.SPARSE_FLOAT_VECTOR:
            return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}}
        if type_ == DataType.SPARSE_FLOAT_VECTOR:
            return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {}}
        if type_ == DataType.BINARY_VECTOR:
            return {"index_type": "AUTOINDEX", "metric_type": "HAMMING", "params": {}}
        # Not Milvus's default, L2, for which lower is better (T24).
        return {"index_type": self.dense_index, "metric_type": "COSINE", "params": {}}

    def _add_text(self, schema: CollectionSchema) -> None:
        analyzer: dict[str, Any] = {}  # which BM25 wants on the field that it reads
        for function in self.functions:
            reads = self.text_field in listed(function.input_field_names)
            if reads and isinstance(function, BM25BuiltInFunction):
                analyzer = function.get_input_field_schema_kwargs()
        schema.add_field(self.text_field, DataType.VARCHAR, max_length=MAX_VARCHAR, **analyzer)

    def _add_primary(self, schema: CollectionSchema) -> None:
        if self.auto_id:
            schema.add_field(self.primary_field, DataType.INT64, is_primary=True, auto_id=True)
        else:
            schema.add_field(
                self.primary_field, DataType.VARCHAR, is_primary=True, max_length=MAX_VARCHAR
            )

    def _add_vector(
        self, schema: CollectionSchema, name: str, inferred: Mapping[str, Any]
    ) -> None:
        given = self.vector_schema.get(name)
        schema.add_field(name, **{**inferred, **(_declared(given) if given else {})})

    def _metadata_fields(self, metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        fields = {name: _declared(declared) for name, declared in self.metadata_schema.items()}
        if self.metadata_field is not None:
            fields[self.metadata_field] = {"datatype": DataType.JSON}
        elif not self.dynamic:
            told = {
                name: fields.get(name) or _inferred(name, value)
                for name, value in metadata.items()
            }
            fields = told | fields
        # In a static collection, too, where langchain-milvus ignores it (T15).
        key = self.partition_key_field
        if key is not None:
            text = {"datatype": DataType.VARCHAR, "max_length": MAX_VARCHAR}
            fields[key] = {**fields.get(key, text), "is_partition_key": True}
        return fields


def is_collection_name(name: str) -> bool:
    """Tell whether every Milvus takes a name for a collection."""
    return bool(_NAME.fullmatch(name))


def wrong_name(name: str) -> str:
    """Return a sentence that says how a collection can be called."""
    near = _NO_LETTER.sub("_", name)[: _LONGEST_NAME - 1]
    near = near if is_collection_name(near) else f"_{near}"
    return (
        f"The collection name {name[:50]!r} is refused by Milvus: a name has letters, digits and "
        f"underscores alone, begins with no digit, and is at most {_LONGEST_NAME} characters "
        f"long, as {near[:50]!r} is."
    )


def listed(value: Any) -> list[Any]:
    """Return what was given as a list: one thing, several, or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def filled_by(functions: Sequence[BaseMilvusBuiltInFunction]) -> tuple[str, ...]:
    """Return the fields that functions fill."""
    return tuple(name for function in functions for name in listed(function.output_field_names))


def _declared(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Read langchain-milvus's `{"dtype": …, "kwargs": {…}, …}` as `add_field` takes it."""
    rest = {key: value for key, value in declared.items() if key not in ("dtype", "kwargs")}
    datatype = {"datatype": declared["dtype"]} if "dtype" in declared else {}
    return {**datatype, **declared.get("kwargs", {}), **rest}


def _inferred(name: str, value: Any) -> dict[str, Any]:
    # By the exact type, because `bool` is a subclass of `int`.
    datatype = _PYTHON_TYPES.get(type(value))
    if datatype is None:
        raise InvalidInputError(
            f"The type of the metadata key {name!r} can't be told from a "
            f"{type(value).__name__}; declare it in metadata_schema, or let the collection have "
            "dynamic fields."
        )
    if datatype is DataType.VARCHAR:
        return {"datatype": datatype, "max_length": MAX_VARCHAR}
    return {"datatype": datatype}


def _vector_type(sample: Any) -> dict[str, Any]:
    if isinstance(sample, Mapping):
        return {"datatype": DataType.SPARSE_FLOAT_VECTOR}
    if isinstance(sample, bytes):
        return {"datatype": DataType.BINARY_VECTOR, "dim": len(sample) * 8}
    numbers = sample.tolist() if isinstance(sample, np.ndarray) else sample
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or not numbers:
        raise DimensionError(
            "A vector must be a list of numbers, a dictionary of weights or bytes, and not empty."
        )
    return {"datatype": DataType.FLOAT_VECTOR, "dim": len(numbers)}


def _function_type(function: BaseMilvusBuiltInFunction) -> dict[str, Any]:
    output = {"is_function_output": True}
    if function.type == FunctionType.BM25:
        return {"datatype": DataType.SPARSE_FLOAT_VECTOR, **output}
    return {"datatype": DataType.FLOAT_VECTOR, "dim": getattr(function, "dim", None), **output}
