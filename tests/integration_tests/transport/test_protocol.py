"""Wrappers of a transport, above the batching and below it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from milvus_tools import MilvusStore
from milvus_tools.store import BatchedTransport, DirectTransport, Transport
from milvus_tools.store.session import Session
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.protocol import StoreStats
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Hit,
    QueryRequest,
    Row,
    SearchRequest,
    WriteRequest,
)

MakeStore = Callable[..., MilvusStore]
CALLS = 12


class Wrapper:
    """Counts what passes, and delays it by a turn of the loop: no more than the protocol."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.searches: list[int] = []  # how many each call carried
        self.passed = {"query": 0, "upsert": 0, "delete": 0}
        self.closed = False

    @property
    def stats(self) -> StoreStats:
        return self.inner.stats

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        self.searches.append(len(requests))
        await asyncio.sleep(0)
        return await self.inner.search(requests, deadline)

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        self.passed["query"] += 1
        return await self.inner.query(request, deadline)

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        self.passed["upsert"] += 1
        return await self.inner.upsert(request, deadline)

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        self.passed["delete"] += 1
        return await self.inner.delete(request, deadline)

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class Both:
    """A `transport=` with a wrapper above the batching and one below it."""

    above: Wrapper
    below: Wrapper

    def __call__(self, connection: Connection) -> Transport:
        self.below = Wrapper(DirectTransport(connection))
        self.above = Wrapper(BatchedTransport(self.below, lite=connection.lite))
        return self.above


async def test_a_wrapper_fits_above_and_below_the_batching(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Above it sees what the store asks, below it what is sent, and the store's stats are both."""
    both = Both()
    store = make_store(collection_name=shared.collection_name, transport=both)
    await store.aopen()
    ids = [f"wrapped-{number}" for number in range(CALLS)]
    await asyncio.gather(*(store.aadd_texts([id_], ids=[id_]) for id_ in ids))
    found = await asyncio.gather(*(store.asimilarity_search(id_, k=1) for id_ in ids))
    got = await asyncio.gather(*(store.aget_by_ids([id_]) for id_ in ids))
    await asyncio.gather(*(store.adelete([id_]) for id_ in ids))

    assert [one.id for (one,) in found] == [one.id for (one,) in got] == ids
    assert both.above.searches == [1] * CALLS
    assert sum(both.below.searches) == CALLS
    assert len(both.below.searches) < CALLS
    assert both.above.passed == {"query": 2 * CALLS, "upsert": CALLS, "delete": CALLS}
    stats = store.stats
    assert (stats.search.calls, stats.search.batches) == (CALLS, len(both.below.searches))
    for kind, sent in both.below.passed.items():
        one = getattr(stats, kind)
        assert (one.calls, one.batches) == (both.above.passed[kind], sent)
        assert sent < one.calls
    await store.aclose()
    assert both.above.closed
    assert both.below.closed
    assert store.stats == stats  # of a store that is closed, too


async def test_a_list_of_searches_is_answered_search_by_search(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """With batching and without, in one request: the hits of each are those it has alone."""
    both = Both()
    store = make_store(collection_name=shared.collection_name, transport=both)
    view = store.scoped(case="a list of searches")
    texts = ["kite", "owl", "stork"]
    await view.aadd_texts(texts, ids=texts)
    asked: list[SearchRequest] = []
    search = both.above.search

    async def noted(requests: Sequence[SearchRequest], deadline: Deadline) -> list[list[Hit]]:
        asked.extend(requests)
        return await search(requests, deadline)

    both.above.search = noted  # type: ignore[method-assign]
    for text in texts:  # one after the other, so that the requests are in the texts' order
        await view.asimilarity_search(text, k=1)

    async def all_three(session: Session) -> None:
        requests = list(asked)
        for transport in (both.above, both.below):
            both.below.searches.clear()
            answers = await transport.search(requests, session.deadline)
            assert [hits[0][0]["text"] for hits in answers] == texts
            assert both.below.searches == [3]

    await view._run(all_three, None)


async def test_the_stats_of_what_shares_nothing_are_zero(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A wrapper alone, without batching below it, is told so by the transport."""
    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: Wrapper(DirectTransport(connection)),
    )
    await asyncio.gather(*(store.asimilarity_search("x") for _ in range(3)))
    assert store.stats == StoreStats()


async def test_what_a_wrapper_raises_reaches_the_callers(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Whoever shares a request that fails gets its error."""

    class Failing(Wrapper):
        async def search(
            self, requests: Sequence[SearchRequest], deadline: Deadline
        ) -> list[list[Hit]]:
            raise OSError(f"{len(requests)} fail")

    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: BatchedTransport(
            Failing(DirectTransport(connection)), lite=connection.lite
        ),
    )
    await shared.aadd_texts(["there"], ids=["failing wrapper"])
    await store.aopen()
    calls = (store.asimilarity_search(f"q{number}") for number in range(3))
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in failed] == [OSError] * 3
    with pytest.raises(OSError, match="1 fail"):
        await store.asimilarity_search("q")
