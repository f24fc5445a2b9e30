"""Kinds of collections: keys, fields, metrics, several vector fields, LangChain's index."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_milvus import BM25BuiltInFunction, Milvus
from pymilvus import DataType, Function, FunctionType, MilvusClient

from milvus_tools import DeleteResult, MilvusStore
from milvus_tools.errors import InvalidInputError, UnsupportedError
from tests.helpers.support import ON_LITE, ON_SERVER, embeddings

MakeStore = Callable[..., MilvusStore]


def l2(metric: str) -> dict[str, Any]:
    """Return index parameters with a metric."""
    return {"index_type": "AUTOINDEX", "metric_type": metric, "params": {}}


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_relevance_is_one_for_the_text_itself_whatever_the_metric(
    make_store: MakeStore, metric: str
) -> None:
    """The metric is the collection's own, also where another store opened it without saying."""
    model = embeddings()
    unit = {text: _unit(model.embed_query(text)) for text in ("kite", "falcon", "index")}
    writer = make_store(index_params=l2(metric))
    writer.add_embeddings(list(unit), list(unit.values()), ids=list(unit))
    found = make_store().similarity_search_with_score_by_vector(unit["kite"], k=3)
    assert found[0][0].id == "kite"
    reader = make_store(_Fixed(unit["kite"]))
    (best, score), *others = reader.similarity_search_with_relevance_scores("any", k=3)
    assert best.id == "kite"
    assert score == pytest.approx(1, abs=1e-5)
    assert all(0 <= other < score for _, other in others)
    threshold = reader.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99, "k": 3}
    )
    assert [document.id for document in threshold.invoke("any")] == ["kite"]


class _Fixed:
    """A model of one vector."""

    def __init__(self, vector: list[float]) -> None:
        self._vector = vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vector for _ in texts]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return self._vector


def _unit(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


async def test_foreign_collections_are_read_as_they_are(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Integer keys, other names and a static schema are taken from Milvus, not from arguments."""
    store = make_store(text_field="body")
    schema = client.create_schema(enable_dynamic_field=False)
    schema.add_field("number", DataType.INT64, is_primary=True)
    schema.add_field("body", DataType.VARCHAR, max_length=100)
    schema.add_field("year", DataType.INT64)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=8)
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection(store.collection_name, schema=schema, index_params=indexes)

    assert await store.aadd_texts(["kite"], [{"year": 2024}], ids=["7"]) == ["7"]
    (found,) = await store.asimilarity_search("kite")
    assert (found.id, found.page_content, found.metadata) == ("7", "kite", {"year": 2024})
    assert await store.aget_pks("year > 2000") == [7]
    for wrong, metadata in (("seven", {"year": 1}), ("07", {"year": 1}), ("8", {"year": "1"})):
        with pytest.raises(InvalidInputError):
            await store.aadd_texts(["x"], [metadata], ids=[wrong])
    with pytest.raises(InvalidInputError, match="colour"):
        await store.aadd_texts(["x"], [{"year": 1, "colour": "red"}], ids=["8"])
    with pytest.raises(InvalidInputError, match="year"):
        await store.aadd_texts(["x"], ids=["8"])
    with pytest.raises(InvalidInputError, match="integers"):
        await store.aadd_texts(["x"], [{"year": 1}])
    assert await store.acount() == 1


async def test_a_collection_of_langchain_milvus_is_read_and_written(
    make_store: MakeStore, uri: str
) -> None:
    """A collection of langchain-milvus (L2, its field names) serves ours, with metadata kept."""
    store = make_store()
    await asyncio.to_thread(
        Milvus.from_texts,
        ["kite", "index"],
        embeddings(),
        [{"n": 1}, {"n": 2}],
        collection_name=store.collection_name,
        connection_args={"uri": uri},
        ids=["1", "2"],
        enable_dynamic_field=True,
        consistency_level="Strong",
    )
    ((found, score),) = await store.asimilarity_search_with_relevance_scores("kite", k=1)
    assert (found.id, found.metadata, score) == ("1", {"n": 1}, pytest.approx(1, abs=1e-5))
    await store.aadd_texts(["falcon"], [{"n": 3, "new": True}], ids=["1"])
    assert (await store.aget_by_ids(["1"]))[0].metadata == {"n": 3, "new": True}


async def test_milvus_can_make_the_ids(make_store: MakeStore) -> None:
    """With auto_id rows are only inserted, and ids are Milvus's."""
    store = make_store(auto_id=True)
    ids = await store.aadd_texts(["kite", "kite"])
    assert len(set(ids)) == 2
    assert all(id_.isdecimal() for id_ in ids)
    assert [found.id for found in await store.aget_by_ids(ids)] == ids
    with pytest.raises(InvalidInputError, match="auto_id"):
        await store.aadd_texts(["kite"], ids=["1"])
    assert await store.adelete(ids=[ids[0]]) == DeleteResult(1)
    assert await store.acount() == 1


async def test_a_static_collection_has_the_first_document_s_fields(make_store: MakeStore) -> None:
    """Without dynamic field the first metadata make the schema, and nothing else is dropped."""
    store = make_store(
        enable_dynamic_field=False, metadata_schema={"n": {"dtype": DataType.INT32}}
    )
    await store.aadd_texts(["kite"], [{"n": 1, "name": "a", "ok": True, "x": 0.5}], ids=["1"])
    (found,) = await store.asearch_by_metadata("n == 1", fields=["name", "ok"])
    assert found.metadata == {"name": "a", "ok": True}
    with pytest.raises(InvalidInputError):
        await store.aadd_texts(["x"], [{"n": 2**40, "name": "a", "ok": True, "x": 0.5}])
    with pytest.raises(InvalidInputError, match="other"):
        await store.asearch_by_metadata("n == 1", fields=["other"])


async def test_metadata_can_stand_in_one_json_field(make_store: MakeStore) -> None:
    """`metadata_field` holds all of it, as langchain-milvus has it."""
    store = make_store(metadata_field="meta")
    await store.aadd_texts(["kite"], [{"n": 1, "deep": {"a": [1, None]}}], ids=["1"])
    (found,) = await store.asimilarity_search("kite", expr='meta["n"] == 1')
    assert found.metadata == {"n": 1, "deep": {"a": [1, None]}}
    with pytest.raises(InvalidInputError):
        await store.scoped(tenant="a").aadd_texts(["kite"])


async def test_metadata_searches_page_and_are_bounded(make_store: MakeStore) -> None:
    """Limits and offsets are checked before anything is sent; every row comes once."""
    store = make_store()
    await store.aadd_texts(["x"] * 5, [{"n": n} for n in range(5)], ids=list("abcde"))
    pages = [await store.asearch_by_metadata(limit=2, offset=offset) for offset in (0, 2, 4)]
    assert sorted(found.id for page in pages for found in page) == list("abcde")
    for wrong in (0, -1, 16_385, True, "3"):
        with pytest.raises(InvalidInputError):
            await store.asearch_by_metadata(limit=wrong)
        with pytest.raises(InvalidInputError):
            await store.asimilarity_search("x", k=wrong)
    with pytest.raises(InvalidInputError):
        await store.asearch_by_metadata(limit=10, offset=16_380)
    with pytest.raises(InvalidInputError, match="Write a filter as filter"):
        await store.asimilarity_search("x", where="n == 1")
    assert [found.id for found in await store.aget_by_ids(["e", "a", "z", "e"])] == ["e", "a"]


@ON_LITE
async def test_dense_and_full_text_search_are_fused(make_store: MakeStore) -> None:
    """BM25 beside the embedding: both are searched with the filter, fused by rank or weight."""
    store = make_store(
        builtin_function=BM25BuiltInFunction(output_field_names="sparse"),
        vector_field=["vector", "sparse"],
        metadata_schema={"n": {"dtype": DataType.INT64}},
    )
    texts = [f"text number {n}" for n in range(30)] + ["a red kite", "a blue kite"]
    await store.aadd_texts(texts, [{"n": n} for n in range(32)], ids=[str(n) for n in range(32)])
    found = await store.asimilarity_search("kite", k=25)
    assert len(found) == 25
    assert {"30", "31"} <= {document.id for document in found[:4]}
    (only,) = await store.asimilarity_search("kite", k=5, expr="n == 31")
    assert only.id == "31"
    for ranking in (
        {"ranker_type": "weighted", "ranker_params": {"weights": [0.1, 0.9]}},
        {"ranker_type": "rrf", "ranker_params": {"k": 10}, "fetch_k": 30},
        {
            "reranker": Function(
                name="rrf",
                input_field_names=[],
                function_type=FunctionType.RERANK,
                params={"reranker": "rrf", "k": 60},
            )
        },
    ):
        for _ in range(2):
            assert len(await store.asimilarity_search("kite", k=5, **ranking)) == 5
    for near in (30, 31):
        params = {"reranker": "decay", "function": "exp", "origin": near, "scale": 0.1}
        decay = Function("near", FunctionType.RERANK, ["n"], params=params)
        (found, *_) = await store.asimilarity_search("kite", reranker=decay)
        assert found.id == str(near)
    with pytest.raises(UnsupportedError):
        await store.asimilarity_search_with_relevance_scores("kite")
    (nearest, *_) = await store.amax_marginal_relevance_search("a red kite", k=2)
    assert nearest.id == "30"


@ON_LITE
async def test_full_text_search_needs_no_embedding(make_store: MakeStore, uri: str) -> None:
    """A store may have a function alone."""
    store = MilvusStore(
        None,
        collection_name=make_store().collection_name,
        connection_args={"uri": uri},
        builtin_function=BM25BuiltInFunction(output_field_names="sparse"),
        vector_field="sparse",
    )
    async with store:
        await store.aadd_texts(["a red kite", "a database"], ids=["1", "2"])
        assert [found.id for found in await store.asimilarity_search("kite", k=1)] == ["1"]


@ON_LITE
async def test_two_embeddings_fill_two_fields(make_store: MakeStore) -> None:
    """Each model has a field, and `add_embeddings` takes a vector per model."""
    store = make_store([embeddings(), embeddings(4)], vector_field=["small", "large"][::-1])
    await store.aadd_texts(["kite", "index"], ids=["1", "2"])
    vectors = [embeddings().embed_query("falcon"), embeddings(4).embed_query("falcon")]
    await store.aadd_embeddings(["falcon"], [vectors], ids=["3"])
    assert (await store.asimilarity_search("falcon", k=1))[0].id == "3"
    with pytest.raises(InvalidInputError):
        await store.asimilarity_search_by_vector(vectors[0])


@ON_SERVER
async def test_an_old_server_says_what_it_can_not_do(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Full-text and hybrid search on 2.3.5 are refused, before anything is made."""
    for arguments in (
        {"builtin_function": BM25BuiltInFunction(output_field_names="sparse")},
        {"embedding": [embeddings(), embeddings(4)], "vector_field": ["one", "two"]},
    ):
        if "builtin_function" in arguments:
            arguments["vector_field"] = ["vector", "sparse"]
        store = make_store(arguments.pop("embedding", None), **arguments)
        with pytest.raises(UnsupportedError):
            await store.aadd_texts(["kite"])
        assert not client.has_collection(store.collection_name)


async def test_langchain_s_index_keeps_the_store_in_step(make_store: MakeStore) -> None:
    """`index` and `aindex` add, skip and clean up with a record manager."""
    store = make_store()
    records = InMemoryRecordManager("test")
    records.create_schema()
    documents = [Document(page_content=text, metadata={"source": text}) for text in ("a", "b")]
    arguments = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    first = await asyncio.to_thread(index, documents, records, store, **arguments)
    again = await aindex(documents, records, store, **arguments)
    rest = await aindex(documents[:1], records, store, **arguments)
    assert [first["num_added"], again["num_skipped"], rest["num_deleted"]] == [2, 2, 1]
    assert await store.acount() == 1


async def test_many_first_writes_make_one_collection(make_store: MakeStore) -> None:
    """Ten writers at once, in two stores, on a collection that is not there: nothing is lost."""
    stores = [make_store(), make_store()]
    await asyncio.gather(
        *(stores[n % 2].aadd_texts([f"text {n}"], [{"n": n}], ids=[str(n)]) for n in range(10))
    )
    assert await stores[0].acount() == await stores[1].acount(consistency_level="Strong") == 10
