"""Collections as Milvus describes them, and as new ones are to be made."""

from typing import Any

import pytest
from langchain_milvus import BM25BuiltInFunction
from pymilvus import CollectionSchema, DataType, FunctionType

from milvus_tools.errors import InvalidInputError, UnsupportedError
from milvus_tools.schema import MAX_VARCHAR, Field, Index, Schema
from milvus_tools.spec import CollectionSpec

DESCRIPTION: dict[str, Any] = {
    "collection_name": "c",
    "auto_id": False,
    "collection_id": 451,
    "enable_dynamic_field": True,
    "fields": [
        {"name": "text", "type": DataType.VARCHAR, "params": {"max_length": 100}},
        {"name": "id", "type": DataType.INT64, "params": {}, "is_primary": True},
        {"name": "team", "type": DataType.VARCHAR, "params": {}, "is_partition_key": True},
        {"name": "note", "type": DataType.JSON, "params": {}, "nullable": True},
        {"name": "n", "type": DataType.INT8, "params": {}, "default_value": 0},
        {"name": "vector", "type": DataType.FLOAT_VECTOR, "params": {"dim": "8"}},
        {
            "name": "sparse",
            "type": DataType.SPARSE_FLOAT_VECTOR,
            "params": {},
            "is_function_output": True,
        },
    ],
    "functions": [
        {
            "name": "f",
            "type": FunctionType.BM25,
            "input_field_names": ["text"],
            "output_field_names": ["sparse"],
        }
    ],
}
VECTOR = [0.0] * 8


def described(**changes: Any) -> Schema:
    """Read the description above, with some changes."""
    indexes = {"vector": Index("IP", "HNSW")}
    return Schema.from_description({**DESCRIPTION, **changes}, indexes)


def made(spec: CollectionSpec, samples: Any = (VECTOR,), **metadata: Any) -> Schema:
    """Return the schema that a spec makes, read as Milvus would describe it."""
    return Schema.from_description(spec.schema(samples, metadata).to_dict(), {})


def test_a_description_is_read() -> None:
    """Key, fields, vectors, functions and flags are what Milvus says."""
    schema = described()
    assert schema.collection_id == 451
    assert schema.primary == Field("id", DataType.INT64)
    assert list(schema.scalars) == ["text", "team", "note", "n"]
    assert list(schema.vectors) == ["vector", "sparse"]
    assert schema.scalars["text"].max_length == 100
    assert schema.scalars["team"].is_partition_key
    assert schema.has_partition_key
    assert schema.vectors["vector"].dim == 8
    assert schema.vectors["sparse"].dim is None
    assert schema.indexes["vector"].metric_type == "IP"
    assert schema.bm25_inputs == {"sparse": "text"}
    optional = {name: field.optional for name, field in schema.scalars.items()}
    assert optional == {"text": False, "team": False, "note": True, "n": True}
    assert schema.vectors["sparse"].optional


@pytest.mark.parametrize("where", ["collection", "field"])
def test_auto_id_is_read_where_milvus_says_it(where: str) -> None:
    """The server says it of the collection, Milvus Lite of the field too."""
    fields = [dict(field) for field in DESCRIPTION["fields"]]
    fields[1]["auto_id"] = where == "field"
    assert described(fields=fields, auto_id=where == "collection").primary.auto_id
    assert not described().primary.auto_id


def test_a_description_may_leave_things_out() -> None:
    """Milvus Lite has no number of the collection, and old servers know no functions."""
    rest = {key: value for key, value in DESCRIPTION.items() if key != "collection_id"}
    schema = Schema.from_description({**rest, "functions": None}, {})
    assert (schema.collection_id, schema.bm25_inputs, schema.indexes) == (0, {}, {})


def test_the_dynamic_keys_are_asked_for_as_a_whole() -> None:
    """Documents need every field but the vectors, and never a dynamic key by name."""
    assert described().output_fields == ("id", "text", "team", "note", "n", "$meta")
    static = described(enable_dynamic_field=False)
    assert static.output_fields == ("id", "text", "team", "note", "n")


def test_names_are_fields_or_dynamic_keys() -> None:
    """A vector is neither, and without a dynamic field an unknown name is refused."""
    schema = described()
    assert [schema.is_dynamic(name) for name in ("id", "team", "x")] == [False, False, True]
    with pytest.raises(InvalidInputError, match="it has id, text, team, note, n"):
        schema.is_dynamic("vector")
    with pytest.raises(InvalidInputError, match="'x'"):
        described(enable_dynamic_field=False).is_dynamic("x")


def test_a_new_collection_is_dynamic_with_string_keys() -> None:
    """By default any metadata is kept, and ids are the caller's."""
    schema = made(CollectionSpec("c"), tags=["a"])
    assert schema.dynamic
    assert schema.primary == Field("pk", DataType.VARCHAR, max_length=MAX_VARCHAR)
    assert list(schema.scalars) == ["text"]
    assert schema.vectors == {"vector": Field("vector", DataType.FLOAT_VECTOR, dim=8)}


def test_names_and_keys_are_as_told() -> None:
    """Fields are named by the spec, and Milvus makes the keys with auto_id."""
    spec = CollectionSpec(
        "c",
        description="d",
        primary_field="id",
        text_field="body",
        vector_fields=("v",),
        auto_id=True,
        partition_key_field="team",
    )
    schema = made(spec)
    assert schema.primary.auto_id
    assert (schema.primary.name, schema.primary.type) == ("id", DataType.INT64)
    assert list(schema.scalars) == ["body", "team"]
    assert list(schema.vectors) == ["v"]
    assert schema.has_partition_key
    assert spec.schema([VECTOR], {}).description == "d"


def test_a_static_collection_is_shaped_by_the_first_document() -> None:
    """Types are those of its metadata; what is declared counts before."""
    declared = {
        "n": {"dtype": DataType.INT8, "kwargs": {"nullable": True}},
        "tags": {
            "dtype": DataType.ARRAY,
            "kwargs": {"element_type": DataType.INT64, "max_capacity": 4},
        },
    }
    spec = CollectionSpec("c", dynamic=False, metadata_schema=declared)
    schema = made(spec, flag=True, n=1, x=1.5, s="x", d={}, i=3, tags=[1])
    assert not schema.dynamic
    assert {name: field.type for name, field in schema.scalars.items()} == {
        "text": DataType.VARCHAR,
        "flag": DataType.BOOL,
        "n": DataType.INT8,
        "x": DataType.DOUBLE,
        "s": DataType.VARCHAR,
        "d": DataType.JSON,
        "i": DataType.INT64,
        "tags": DataType.ARRAY,
    }
    assert schema.scalars["n"].optional
    assert schema.scalars["s"].max_length == MAX_VARCHAR


@pytest.mark.parametrize("value", [["a"], None, b"x", (1,), object()])
def test_types_that_cannot_be_told_are_asked_for(value: Any) -> None:
    """A static collection has no field for a list or `None` unless it is declared."""
    with pytest.raises(InvalidInputError, match=r"'k' can't be told .* metadata_schema"):
        made(CollectionSpec("c", dynamic=False), k=value)


def test_all_metadata_can_go_into_one_field() -> None:
    """With metadata_field there is a JSON field, and none per key."""
    schema = made(CollectionSpec("c", dynamic=False, metadata_field="meta"), k=["a"])
    assert {name: field.type for name, field in schema.scalars.items()} == {
        "text": DataType.VARCHAR,
        "meta": DataType.JSON,
    }


def test_vectors_are_of_the_samples_kind() -> None:
    """Floats, bytes and weights make dense, binary and sparse fields; what is told counts."""
    spec = CollectionSpec(
        "c",
        vector_fields=("dense", "binary", "sparse", "half"),
        vector_schema={"half": {"dtype": DataType.FLOAT16_VECTOR}},
    )
    schema = made(spec, [VECTOR, b"\0\0", {1: 0.5}, VECTOR])
    assert {name: (field.type, field.dim) for name, field in schema.vectors.items()} == {
        "dense": (DataType.FLOAT_VECTOR, 8),
        "binary": (DataType.BINARY_VECTOR, 16),
        "sparse": (DataType.SPARSE_FLOAT_VECTOR, None),
        "half": (DataType.FLOAT16_VECTOR, 8),
    }
    with pytest.raises(ValueError, match="zip"):
        made(spec, [VECTOR])


def test_functions_fill_fields_of_their_own() -> None:
    """BM25 reads the text, which gets its analyzer, and fills a sparse field."""
    function = BM25BuiltInFunction(output_field_names="sparse")
    spec = CollectionSpec("c", functions=(function,))
    assert spec.function_fields == ("sparse",)
    assert spec.all_vector_fields == ("vector", "sparse")
    schema = made(spec)
    assert schema.bm25_inputs == {"sparse": "text"}
    assert schema.vectors["sparse"].type == DataType.SPARSE_FLOAT_VECTOR
    (text,) = (one for one in fields_of(spec) if one.name == "text")
    assert text.params["enable_analyzer"]


def fields_of(spec: CollectionSpec) -> Any:
    """Return pymilvus's fields."""
    schema: CollectionSchema = spec.schema([VECTOR], {})
    return schema.fields


def test_indexes_are_ours_unless_told() -> None:
    """COSINE for dense vectors (T24), what Milvus Lite takes for sparse ones (T23)."""
    function = BM25BuiltInFunction(output_field_names="bm25")
    told = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8}}
    spec = CollectionSpec(
        "c",
        vector_fields=("v", "told"),
        functions=(function,),
        index_params={"told": told},
    )
    planned: CollectionSchema = spec.schema([VECTOR, VECTOR], {})
    assert set(spec.described(planned).indexes) == {"v", "told", "bm25"}
    fields = [field for field in planned.fields if field.name in spec.all_vector_fields]
    found = {field.name: spec.index_of(field.name, field.dtype) for field in fields}
    assert (found["v"]["index_type"], found["v"]["metric_type"]) == ("AUTOINDEX", "COSINE")
    assert (found["told"]["index_type"], found["told"]["metric_type"]) == ("HNSW", "L2")
    sparse = (found["bm25"]["index_type"], found["bm25"]["metric_type"])
    assert sparse == ("SPARSE_INVERTED_INDEX", "BM25")
    plain = spec.index_of("v", DataType.SPARSE_FLOAT_VECTOR)
    assert (plain["index_type"], plain["metric_type"]) == ("SPARSE_INVERTED_INDEX", "IP")
    assert spec.index_of("v", DataType.BINARY_VECTOR)["metric_type"] == "HAMMING"
    assert "drop_ratio_build" not in str(found)


def test_a_given_index_is_not_shared() -> None:
    """The caller's values are copied."""
    told = {"index_type": "FLAT", "metric_type": "L2"}
    spec = CollectionSpec("c", index_params={"vector": told})
    spec.index_of("vector", DataType.FLOAT_VECTOR)["metric_type"] = "IP"
    assert told["metric_type"] == "L2"


def test_old_servers_are_told_apart() -> None:
    """Features that a server lacks are refused with its version; plain collections pass."""
    full_text = CollectionSpec("c", functions=(BM25BuiltInFunction(output_field_names="sparse"),))
    several = CollectionSpec("c", vector_fields=("a", "b"))
    for version in [(2, 3), (2, 4), (2, 5), (3, 0)]:
        CollectionSpec("c").require(version, [VECTOR])
    several.require((2, 4), [VECTOR, VECTOR])
    full_text.require((2, 5), [VECTOR])
    with pytest.raises(UnsupportedError, match=r"BM25.* 2\.4\."):
        full_text.require((2, 4), [VECTOR])
    with pytest.raises(UnsupportedError, match=r"Several vector fields.* 2\.3\."):
        several.require((2, 3), [VECTOR, VECTOR])
    with pytest.raises(UnsupportedError, match=r"Sparse vectors.* 2\.3\."):
        CollectionSpec("c").require((2, 3), [{1: 0.5}])
