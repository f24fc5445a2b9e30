"""Collections that others made, and all that a new one can be told to be."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_milvus import Milvus
from pymilvus import CollectionSchema, DataType, MilvusClient

from milvus_tools import DeleteResult, MilvusStore
from milvus_tools.errors import DimensionError, InvalidInputError
from tests.helpers.support import DIM, ON_LITE, embeddings, make_collection, quiet

MakeStore = Callable[..., MilvusStore]
QUIET = pytest.mark.filterwarnings(  # langchain-milvus leaves clients and loops behind it
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
VECTORS = {  # at known distances of the first
    "near": [1.0] + [0.0] * (DIM - 1),
    "aside": [0.0, 1.0] + [0.0] * (DIM - 2),
    "far": [-1.0] + [0.0] * (DIM - 1),
}
DISTANCES = {"COSINE": [1, 0, -1], "IP": [1, 0, -1], "L2": [0, 2, 4]}


@pytest.mark.parametrize("metric", DISTANCES)
async def test_a_raw_collection_s_metric_is_its_own(
    make_store: MakeStore, client: MilvusClient, metric: str
) -> None:
    """Distances, their order and the relevance follow the metric of the index."""
    store = make_store()
    make_collection(client, store.collection_name, metric=metric)
    await store.aadd_embeddings(list(VECTORS), list(VECTORS.values()), ids=list(VECTORS))
    found = await store.asimilarity_search_with_score_by_vector(VECTORS["near"], k=3)
    assert [document.id for document, _ in found] == ["near", "aside", "far"]
    assert [score for _, score in found] == pytest.approx(DISTANCES[metric], abs=1e-6)
    diverse = await store.amax_marginal_relevance_search_by_vector(
        VECTORS["near"], k=2, fetch_k=3, lambda_mult=0.0
    )
    assert [document.id for document in diverse] == ["near", "far"]


def raw(client: MilvusClient, name: str, fields: dict[str, Any], **options: Any) -> None:
    """Make a collection with `fields` beside a key, a text and a vector, of other names."""
    schema: CollectionSchema = client.create_schema(**options)
    schema.add_field("doc_id", DataType.VARCHAR, is_primary=True, max_length=16)
    schema.add_field("body", DataType.VARCHAR, max_length=32)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIM)
    for field, parameters in fields.items():
        schema.add_field(field, **parameters)
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=indexes)


async def test_a_raw_static_collection_holds_what_its_fields_hold(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Each type of field takes its values, comes back as it was, and refuses all others."""
    store = make_store(text_field="body")
    fields: dict[str, Any] = {
        "flag": {"datatype": DataType.BOOL},
        "small": {"datatype": DataType.INT8},
        "ratio": {"datatype": DataType.DOUBLE},
        "tree": {"datatype": DataType.JSON},
        "tags": {
            "datatype": DataType.ARRAY,
            "element_type": DataType.VARCHAR,
            "max_capacity": 4,
            "max_length": 8,
        },
    }
    raw(client, store.collection_name, fields)
    metadata = {
        "flag": True,
        "small": -128,
        "ratio": 0.1,
        "tree": {"a": [1, {"b": None}]},
        "tags": ["x", "y"],
    }
    await store.aadd_texts(["kite"], [metadata], ids=["1"])
    (found,) = await store.asimilarity_search("kite", expr='small < 0 and tree["a"][0] == 1')
    assert (found.id, found.page_content, found.metadata) == ("1", "kite", metadata)
    for name, wrong in [
        ("flag", 1),
        ("small", 128),
        ("ratio", "0.1"),
        ("tree", {1}),
        ("tags", "x"),
        ("tags", ["x"] * 5),
        ("tags", ["x", 1]),
        ("other", 1),
    ]:
        with pytest.raises(InvalidInputError, match=name):
            await store.aadd_texts(["x"], [{**metadata, name: wrong}], ids=["2"])
    with pytest.raises(InvalidInputError, match="16"):
        await store.aadd_texts(["x"], [metadata], ids=["é" * 9])
    with pytest.raises(InvalidInputError, match="32"):
        await store.aadd_texts(["x" * 33], [metadata], ids=["2"])
    assert await store.acount() == 1


@ON_LITE
async def test_nullable_fields_may_be_left_out(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A field that may be null, or has a default, needs no value; null comes back as nothing."""
    store = make_store(text_field="body")
    fields = {
        "year": {"datatype": DataType.INT64, "nullable": True},
        "lang": {"datatype": DataType.VARCHAR, "max_length": 8, "default_value": "en"},
    }
    raw(client, store.collection_name, fields)
    await store.aadd_texts(["a", "b", "c"], [{}, {"year": None}, {"year": 2}], ids=["1", "2", "3"])
    found = await store.aget_by_ids(["1", "2", "3"])
    assert [document.metadata for document in found] == [
        {"lang": "en"},
        {"lang": "en"},
        {"lang": "en", "year": 2},
    ]


async def test_a_collection_without_index_is_given_one(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A vector field without index is indexed as a new collection's would be."""
    store = make_store(vector_field="dense", text_field="body")
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("doc_id", DataType.VARCHAR, is_primary=True, max_length=16)
    schema.add_field("body", DataType.VARCHAR, max_length=32)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(store.collection_name, schema=schema)
    await store.aadd_texts(["kite"], [{"n": 1}], ids=["1"])
    ((found, score),) = await store.asimilarity_search_with_score("kite", expr="n == 1")
    assert (found.id, score) == ("1", pytest.approx(1, abs=1e-6))


async def test_a_field_or_a_dimension_that_does_not_fit_is_named(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A wrong text field or model is refused with the collection's own names and numbers."""
    store = make_store(text_field="body")
    raw(client, store.collection_name, {})
    with pytest.raises(InvalidInputError, match=r"'text'.*body"):
        await make_store().asimilarity_search("kite")
    with pytest.raises(DimensionError, match=rf"4 dimensions.*{DIM}"):
        await make_store(embeddings(4), text_field="body").aadd_texts(["kite"], ids=["1"])
    with pytest.raises(InvalidInputError, match="dense"):
        await make_store([embeddings(), embeddings()], text_field="body").asimilarity_search("x")


@QUIET
@pytest.mark.parametrize(
    "made_with",
    [
        {"enable_dynamic_field": True},
        {"enable_dynamic_field": False},
        {"metadata_field": "meta"},
        {"primary_field": "id", "text_field": "body", "vector_field": "dense"},
        {"partition_key_field": "tenant", "enable_dynamic_field": True, "num_partitions": 2},
    ],
    ids="+".join,
)
async def test_collections_of_langchain_milvus_are_opened(
    make_store: MakeStore, uri: str, made_with: dict[str, Any]
) -> None:
    """With the arguments that made it, a collection is read, searched, written and emptied."""
    store = make_store(**made_with)
    await asyncio.to_thread(
        Milvus.from_texts,
        ["kite", "index"],
        embeddings(),
        [{"n": 1, "tenant": "a"}, {"n": 2, "tenant": "b"}],
        collection_name=store.collection_name,
        connection_args=quiet(uri),
        ids=["1", "2"],
        index_params={"index_type": "AUTOINDEX", "metric_type": "L2", "params": {}},
        **made_with,
    )
    ((found, score),) = await store.asimilarity_search_with_relevance_scores("kite", k=1)
    assert (found.id, found.metadata) == ("1", {"n": 1, "tenant": "a"})
    assert score == pytest.approx(1, abs=1e-5)
    await store.aadd_texts(["falcon"], [{"n": 3, "tenant": "b"}], ids=["1"])
    (found,) = await store.aget_by_ids(["1"])
    assert (found.page_content, found.metadata) == ("falcon", {"n": 3, "tenant": "b"})
    assert await store.acount() == 2
    assert await store.adelete(["1", "2"]) == DeleteResult(2)
    assert await store.acount() == 0


@QUIET
async def test_ids_that_milvus_made_for_langchain_milvus_are_text(
    make_store: MakeStore, uri: str
) -> None:
    """A collection that was filled without ids has integer keys, which are ids as text."""
    store = make_store()
    await asyncio.to_thread(
        Milvus.from_texts,
        ["kite", "index"],
        embeddings(),
        collection_name=store.collection_name,
        connection_args=quiet(uri),
    )
    (found,) = await store.asimilarity_search("kite", k=1)
    assert await store.aget_by_ids([found.id]) == [found]
    assert await store.aget_pks(f"pk == {found.id}") == [int(found.id)]
    (added,) = await store.aadd_texts(["falcon"])
    assert added.isdecimal()
    assert await store.adelete([found.id, added]) == DeleteResult(2)


async def test_names_of_fields_are_free(make_store: MakeStore) -> None:
    """With other names for key, text and vector, the usual ones are metadata like any other."""
    names = {"primary_field": "id", "text_field": "body", "vector_field": "dense"}
    store = make_store(**names)
    assert store.vector_fields == ["dense"]
    metadata = {"pk": 1, "text": "t", "vector": [0.5]}
    await store.aadd_texts(["kite"], [metadata], ids=["1"])
    (found,) = await store.asimilarity_search("kite", expr='id == "1" and body == "kite"')
    assert (found.id, found.page_content, found.metadata) == ("1", "kite", metadata)
    for name in names.values():
        with pytest.raises(InvalidInputError, match=name):
            await store.aadd_texts(["x"], [{name: "2"}], ids=["3"])


async def test_declared_metadata_are_fields_of_their_types(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """`metadata_schema` makes fields, beside which other keys stay dynamic."""
    declared = {
        "year": {"dtype": DataType.INT16},
        "lang": {"dtype": DataType.VARCHAR, "kwargs": {"max_length": 2}},
        "tags": {
            "dtype": DataType.ARRAY,
            "kwargs": {"element_type": DataType.INT64, "max_capacity": 3},
        },
    }
    store = make_store(metadata_schema=declared, partition_key_field="lang", num_partitions=2)
    metadata = {"year": 2024, "lang": "en", "tags": [1, 2], "free": "x"}
    await store.aadd_texts(["kite"], [metadata], ids=["1"])
    await store.aadd_texts(["kite"], [{**metadata, "free": "y"}], ids=["1"])
    (found,) = await store.asearch_by_metadata(
        'year == 2024 and lang == "en" and array_contains(tags, 2) and free == "y"'
    )
    assert found.metadata == {**metadata, "free": "y"}
    described = client.describe_collection(store.collection_name)["fields"]
    types = {field["name"]: field["type"] for field in described if field["name"] in declared}
    assert types == {name: one["dtype"] for name, one in declared.items()}
    for name, wrong in {"year": 40_000, "lang": "eng", "tags": 1}.items():
        with pytest.raises(InvalidInputError, match=name):
            await store.aadd_texts(["x"], [{**metadata, name: wrong}])


async def test_one_id_written_by_many_at_once_is_one_entity(make_store: MakeStore) -> None:
    """Upserts of one id leave one entity, also where they want it in different partitions."""
    store = make_store(partition_key_field="lang", num_partitions=2)
    await asyncio.gather(
        *(
            store.aadd_texts([f"text {number}"], [{"lang": "ab"[number % 2]}], ids=["1"])
            for number in range(10)
        )
    )
    assert await store.acount(consistency_level="Strong") == 1
    (found,) = await store.asearch_by_metadata()
    lang = found.metadata["lang"]
    assert await store.asearch_by_metadata(f'lang == "{lang}"') == [found]
    assert await store.adelete(["1"]) == DeleteResult(1)
    assert await store.acount() == 0
