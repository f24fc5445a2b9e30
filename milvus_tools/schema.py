"""What a collection is: as Milvus describes it, and as a new one is to be made.

`Schema` is read from Milvus and never guessed (metric, key type, dynamic flag and all);
`Blueprint` holds what the store was told, for the collection that does not exist yet. See
<https://milvus.io/docs/schema.md>.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_milvus.function import BaseMilvusBuiltInFunction, BM25BuiltInFunction
from pymilvus import CollectionSchema, DataType, FunctionType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from milvus_tools.errors import InvalidInputError, UnsupportedError

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
_PYTHON_TYPES: dict[type, DataType] = {
    bool: DataType.BOOL,
    int: DataType.INT64,
    float: DataType.DOUBLE,
    str: DataType.VARCHAR,
    dict: DataType.JSON,
}


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a collection.

    Attributes:
        name: Its name.
        type: Milvus's data type.
        auto_id: Whether Milvus makes the keys itself.
        is_partition_key: Whether it routes entities to partitions.
        optional: Whether a row may leave it out (nullable, with a default, or filled by Milvus).
        max_length: The most UTF-8 bytes of a VARCHAR.
        dim: The dimension of a dense vector field, else `None`.
    """

    name: str
    type: DataType
    auto_id: bool = False
    is_partition_key: bool = False
    optional: bool = False
    max_length: int = MAX_VARCHAR
    dim: int | None = None

    @classmethod
    def from_description(cls, field: Mapping[str, Any]) -> "Field":
        """Read one field of pymilvus's `describe_collection`."""
        params = field.get("params") or {}
        optional = ("nullable", "auto_id", "is_function_output")
        return cls(
            name=field["name"],
            type=DataType(field["type"]),
            auto_id=bool(field.get("auto_id")),
            is_partition_key=bool(field.get("is_partition_key")),
            optional=any(field.get(key) for key in optional) or "default_value" in field,
            max_length=int(params.get("max_length", MAX_VARCHAR)),
            dim=int(params["dim"]) if "dim" in params else None,
        )


@dataclasses.dataclass(frozen=True)
class Index:
    """A vector field's index: its metric type (`COSINE`, `IP`, `L2`, `BM25` …) and its kind."""

    metric_type: str
    index_type: str


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

    @classmethod
    def read(cls, client: MilvusClient, collection_name: str, timeout: float) -> "Schema":
        """Ask Milvus. Blocks: run it in a thread."""
        description = client.describe_collection(collection_name, timeout=timeout)
        indexes = {}
        for name in client.list_indexes(collection_name):
            index = client.describe_index(collection_name, name, timeout=timeout)
            indexes[index["field_name"]] = Index(
                metric_type=str(index.get("metric_type", "")),
                index_type=str(index.get("index_type", "")),
            )
        return cls.from_description(description, indexes)

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

    @property
    def output_fields(self) -> list[str]:
        """All that a Document is made of: every field but the vectors, and the dynamic keys.

        The dynamic keys are asked for as a whole: naming them one by one breaks on a key that is
        no identifier.
        """
        names = [self.primary.name, *self.scalars]
        return [*names, DYNAMIC_FIELD] if self.dynamic else names

    @property
    def has_partition_key(self) -> bool:
        """Whether a field routes rows to partitions."""
        return any(field.is_partition_key for field in self.scalars.values())

    def is_dynamic(self, name: str) -> bool:
        """Tell whether a name can only be a key of the dynamic field.

        Raises:
            InvalidInputError: If the collection has no such field and no dynamic field.
        """
        if name == self.primary.name or name in self.scalars:
            return False
        if self.dynamic and name not in self.vectors:
            return True
        known = ", ".join([self.primary.name, *self.scalars])
        raise InvalidInputError(
            f"The collection has no scalar field {name!r}, and no dynamic field either; "
            f"it has {known}."
        )


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a new collection is to be: `MilvusStore`'s arguments that say so.

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

    @property
    def function_fields(self) -> tuple[str, ...]:
        """The fields that Milvus's functions fill."""
        return tuple(name for function in self.functions for name in _outputs(function))

    @property
    def all_vector_fields(self) -> tuple[str, ...]:
        """Every vector field: those of the embeddings, then those of the functions."""
        return self.vector_fields + self.function_fields

    def with_parameters(
        self,
        *,
        vector_schema: Mapping[str, Mapping[str, Any]],
        index_params: Mapping[str, Mapping[str, Any]],
    ) -> "Blueprint":
        """Return the blueprint with the parameters of its vector fields."""
        return dataclasses.replace(self, vector_schema=vector_schema, index_params=index_params)

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
        if len(self.all_vector_fields) > 1 and version < (2, 4):
            raise UnsupportedError(
                "Several vector fields in a collection need Milvus 2.4 or Milvus Lite; "
                f"this server is {version[0]}.{version[1]}."
            )

    def schema(self, samples: Sequence[Any], metadata: Mapping[str, Any]) -> CollectionSchema:
        """Write the schema for `create_collection`.

        Args:
            samples: One vector per embedding, which fixes type and dimension.
            metadata: The first document's metadata, which fixes the fields of a collection
                without dynamic field.
        """
        schema = MilvusClient.create_schema(
            auto_id=self.auto_id, enable_dynamic_field=self.dynamic, description=self.description
        )
        self._add_text(schema)
        self._add_primary(schema)
        for name, sample in zip(self.vector_fields, samples, strict=True):
            self._add_vector(schema, name, _vector_type(sample))
        for function in self.functions:
            for name in _outputs(function):
                self._add_vector(schema, name, _function_type(function))
            schema.add_function(function.function)
        for name, parameters in self._metadata_fields(metadata).items():
            schema.add_field(name, **parameters)
        return schema

    def indexes(self, schema: CollectionSchema) -> IndexParams:
        """Write the index parameters for the schema's vector fields."""
        indexes = MilvusClient.prepare_index_params()
        for field in schema.fields:
            if field.name in self.all_vector_fields:
                indexes.add_index(field.name, **self.index_of(field.name, field.dtype))
        return indexes

    def index_of(self, name: str, type_: DataType) -> dict[str, Any]:
        """Return a vector field's index parameters: the caller's, else ours."""
        given = self.index_params.get(name)
        if given:
            return dict(given)
        if name in self.function_fields and type_ == DataType.SPARSE_FLOAT_VECTOR:
            return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}}
        if type_ == DataType.SPARSE_FLOAT_VECTOR:
            return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {}}
        if type_ == DataType.BINARY_VECTOR:
            return {"index_type": "AUTOINDEX", "metric_type": "HAMMING", "params": {}}
        return {"index_type": "AUTOINDEX", "metric_type": "COSINE", "params": {}}

    def _add_text(self, schema: CollectionSchema) -> None:
        analyzer: dict[str, Any] = {}
        for function in self.functions:
            reads = self.text_field in _as_list(function.input_field_names)
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
            fields = {name: _inferred(name, metadata[name]) for name in metadata} | fields
        key = self.partition_key_field
        if key is not None:
            text = {"datatype": DataType.VARCHAR, "max_length": MAX_VARCHAR}
            fields[key] = {**fields.get(key, text), "is_partition_key": True}
        return fields


def _as_list(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _outputs(function: BaseMilvusBuiltInFunction) -> list[str]:
    return _as_list(function.output_field_names)


def _declared(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Read langchain-milvus's `{"dtype": …, "kwargs": {…}, …}` as `add_field` takes it."""
    rest = {key: value for key, value in declared.items() if key not in ("dtype", "kwargs")}
    datatype = {"datatype": declared["dtype"]} if "dtype" in declared else {}
    return {**datatype, **declared.get("kwargs", {}), **rest}


def _inferred(name: str, value: Any) -> dict[str, Any]:
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
    return {"datatype": DataType.FLOAT_VECTOR, "dim": len(sample)}


def _function_type(function: BaseMilvusBuiltInFunction) -> dict[str, Any]:
    output = {"is_function_output": True}
    if function.type == FunctionType.BM25:
        return {"datatype": DataType.SPARSE_FLOAT_VECTOR, **output}
    return {"datatype": DataType.FLOAT_VECTOR, "dim": getattr(function, "dim", None), **output}
