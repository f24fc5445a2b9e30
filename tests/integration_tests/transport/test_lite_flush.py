"""Flushes of Milvus Lite beside drops, reads and other processes."""

import asyncio
from collections.abc import Callable

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore
from milvus_tools.transport.connection import Connection
from tests.helpers.support import ON_LITE

MakeStore = Callable[..., MilvusStore]
MANY = [Document(str(number)) for number in range(3_000)]  # enough to flush in the background


@ON_LITE
async def test_a_collection_can_be_made_again_though_it_was_dropped_beside_a_flush(
    make_store: MakeStore, own_uri: str
) -> None:
    """Milvus Lite would flush into the folder that is being removed, and leave it there."""
    store = make_store(connection_args={"uri": own_uri})
    for _ in range(2):
        await store.aadd_documents(MANY)
        await asyncio.gather(store.adrop(), store.aflush())
        await store.aadd_texts(["again"])
        assert await store.acount() == 1
        await store.adrop()


@ON_LITE
@pytest.mark.parametrize("close_first", [True, False])
async def test_a_program_that_starts_anew_can_be_run_again_at_once(
    make_store: MakeStore, own_uri: str, *, close_first: bool
) -> None:
    """As in a notebook: `drop_old=True` meets the flush of the store before."""
    for _ in range(3):
        store = make_store(connection_args={"uri": own_uri}, drop_old=True)
        await store.aadd_documents(MANY)
        assert await store.acount() == len(MANY)
        if close_first:
            await store.aclose()


@ON_LITE
@pytest.mark.parametrize("index_type", [None, "AUTOINDEX", "HNSW"])
async def test_a_filtered_search_finds_after_flushes_what_it_found_before(
    make_store: MakeStore, own_uri: str, index_type: str | None
) -> None:
    """With an approximate index Milvus Lite would find a few of 60 rows among thousands."""
    index = {"index_type": index_type, "metric_type": "COSINE", "params": {}}
    store = make_store(
        connection_args={"uri": own_uri}, index_params=index if index_type else None
    )
    await store.aadd_documents([Document(f"other {n}") for n in range(2_000)])
    view = store.scoped(case="mine")
    await view.aadd_documents([Document(f"mine {n}") for n in range(60)])
    for turn in range(4):
        await store.aflush()
        found = await asyncio.gather(*(view.asimilarity_search(f"q{n}", k=10) for n in range(20)))
        assert [len(hits) for hits in found] == [10] * 20
        await store.aadd_documents([Document(f"other {turn} {n}") for n in range(500)])


@ON_LITE
def test_one_milvus_lite_file_has_one_writer(own_uri: str) -> None:
    """However its database is named: there is but one."""
    named, unnamed = (
        Connection({"uri": own_uri, "db_name": "default"}),
        Connection({"uri": own_uri}),
    )
    assert named.identity == unnamed.identity
    assert named.writing is unnamed.writing
