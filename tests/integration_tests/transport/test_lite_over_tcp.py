"""Milvus Lite over TCP: a server to the store, which has what servers from 2.4 on have."""

from collections.abc import Callable

import pytest
from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import ScopeError
from tests.helpers.support import ON_LITE_TCP, texts

MakeStore = Callable[..., MilvusStore]
WORDS = {
    "builtin_function": BM25BuiltInFunction(output_field_names="words"),
    "vector_field": ["vector", "words"],
}


@ON_LITE_TCP
async def test_it_is_no_file_to_the_store(store: MilvusStore) -> None:
    """The requests are those to a server."""
    await store.aopen()
    collection = store._lifecycle.resource
    assert collection is not None
    assert not collection.connection.lite
    assert collection.connection.engine_is_lite


@ON_LITE_TCP
async def test_a_scope_is_written_read_iterated_and_deleted(store: MilvusStore) -> None:
    """By the requests to a server; a page of an iteration is read by keys, as in a file."""
    mine, other = store.scoped(tenant=1), store.scoped(tenant="other")
    ids = [f"{n:02}" for n in range(10)]
    documents = [Document(f"text {id_}", id=id_, metadata={"n": int(id_)}) for id_ in ids]
    assert await mine.aadd_documents(documents) == ids
    await other.aadd_texts(["other"], [{"n": 1}], ids=["other"])
    with pytest.raises(ScopeError, match="use strings"):
        await store.scoped(tenant=True).aadd_texts(["text"])
    assert (await mine.acount("n > 3"), await other.acount()) == (6, 1)
    assert texts(await mine.asearch_by_metadata(order_by="n", descending=True, limit=1)) == [
        "text 09"
    ]
    assert len(await mine.amax_marginal_relevance_search("text", k=3)) == 3
    assert sorted([one.id async for one in mine.aiterate("n > 3", batch_size=4)]) == ids[4:]
    assert await mine.aget_by_ids(["other"]) == []
    assert (await mine.adelete(expr="n > 3")).count == 6
    assert (await mine.acount(), await other.acount()) == (4, 1)


@ON_LITE_TCP
async def test_a_new_row_replaces_the_old_one(store: MilvusStore) -> None:
    """Milvus Lite's upsert would merge them: a key that the new row lacks would stay."""
    await store.aadd_texts(["old"], [{"a": 1, "b": 1}], ids=["1"])
    await store.aadd_texts(["new"], [{"b": 2}], ids=["1"])
    (found,) = await store.aget_by_ids(["1"])
    assert (found.page_content, found.metadata) == ("new", {"b": 2})


@ON_LITE_TCP
async def test_dense_words_and_both_are_searched(make_store: MakeStore) -> None:
    """By a store with BM25, alone and in the multi-query retriever, within a scope."""
    store = make_store(**WORDS)
    view = store.scoped(tenant="a")
    await view.aadd_texts(["a red kite", "a barn owl", "a swift"])
    await store.scoped(tenant="b").aadd_texts(["another kite"])
    assert texts(await view.asimilarity_search("kite", k=1, search_mode="sparse")) == [
        "a red kite"
    ]
    dense = await view.asimilarity_search("a barn owl", k=1, search_mode="dense")
    assert texts(dense) == ["a barn owl"]
    assert len(await view.asimilarity_search("kite", k=4)) == 3
    hybrid = MilvusMultiQueryRetriever(view, mode="hybrid", queries=["owl"], k=3)
    assert set(texts(await hybrid.ainvoke("kite"))) == {"a red kite", "a barn owl", "a swift"}


@ON_LITE_TCP
async def test_groups_are_found(make_store: MakeStore) -> None:
    """`k` of them."""
    store = make_store(metadata_schema={"doc": {"dtype": DataType.VARCHAR, "max_length": 9}})
    await store.aadd_texts(
        [f"text {n}" for n in range(9)], [{"doc": f"d{n % 3}"} for n in range(9)]
    )
    found = await store.asimilarity_search("q", k=2, group_by_field="doc")
    assert len({one.metadata["doc"] for one in found}) == len(found) == 2


@ON_LITE_TCP
async def test_a_nullable_field_may_be_left_out(
    make_store: MakeStore, client: MilvusClient, collection_name: str
) -> None:
    """It is no metadata then, and `exists` tells."""
    year = {"dtype": DataType.INT64, "nullable": True}
    store = make_store(metadata_schema={"year": year}, collection_name=collection_name)
    await store.aadd_texts(["with", "without"], [{"year": 1}, {}], ids=["1", "2"])
    fields = client.describe_collection(collection_name)["fields"]
    assert [field["nullable"] for field in fields if field["name"] == "year"] == [True]
    assert [one.metadata for one in await store.aget_by_ids(["1", "2"])] == [{"year": 1}, {}]
    assert await store.aget_pks(filter={"field": "year", "operator": "exists"}) == ["1"]
