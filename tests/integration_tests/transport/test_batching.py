"""Calls that share requests: each gets what a lone call would have got."""

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.batching import BatchInfo
from milvus_tools.errors import InvalidInputError, MilvusError, StoreClosedError
from milvus_tools.transport.batching import BatchedTransport
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, SearchRequest, WriteRequest
from tests.helpers.support import ON_LITE, embeddings, texts_of
from tests.helpers.threads import BOUND

MakeStore = Callable[..., MilvusStore]
ROWS = 60
COUNTS = [250, pytest.param(1000, marks=pytest.mark.exhaustive)]
WORDS = ["kite", "owl", "swift", "hobby", "merlin", "stork", "crane", "heron", "gull", "tern"]


@pytest.fixture
def pair(
    make_store: MakeStore, shared: MilvusStore, request: pytest.FixtureRequest
) -> tuple[ScopedMilvusStore, ScopedMilvusStore]:
    """The same rows behind a store that batches, and one that does not."""
    case = {"case": request.node.nodeid}
    lone = make_store(collection_name=shared.collection_name, batching=False)
    batched = make_store(collection_name=shared.collection_name)
    views = [store.scoped(case, scoped_ids=True) for store in (batched, lone)]
    views[0].add_documents(rows())
    return views[0], views[1]


def rows() -> list[Document]:
    """Return Documents with numbers, lists and dictionaries in their metadata."""
    return [
        Document(
            id=f"batching-{n}",
            page_content=f"{WORDS[n % 10]} {n}",
            metadata={"n": n, "list": [n, {"deep": [n]}], "even": n % 2 == 0},
        )
        for n in range(ROWS)
    ]


def mixed(count: int, seed: int) -> list[dict[str, Any]]:
    """Return the arguments of searches that differ in all ways, each five times, shuffled."""
    random_ = random.Random(seed)
    different = [
        {
            "query": f"{random_.choice(WORDS)} {random_.randrange(40)}",
            "k": random_.choice([1, 3, 10]),
            "expr": random_.choice([None, "n < 30", "even == true", "n in [1, 2, 3] or n > 50"]),
            **random_.choice([{}, {"offset": 2}, {"consistency_level": "Strong"}]),
        }
        for _ in range(count // 5)
    ]
    return random_.sample(different * 5, count)


@pytest.mark.parametrize("count", COUNTS)
async def test_batched_searches_equal_lone_ones(
    pair: tuple[ScopedMilvusStore, ScopedMilvusStore], count: int
) -> None:
    """Ids, order, distances and metadata of many mixed searches are those of lone calls."""
    batched, lone = pair
    asked = mixed(count, seed=1)
    got = await asyncio.gather(*(batched.asimilarity_search_with_score(**one) for one in asked))
    different = {repr(sorted(one.items(), key=str)): one for one in asked}
    answers = {
        key: await lone.asimilarity_search_with_score(**one) for key, one in different.items()
    }
    for one, hits in zip(asked, got, strict=True):
        expected = answers[repr(sorted(one.items(), key=str))]
        assert [document for document, _ in hits] == [document for document, _ in expected]
        assert [distance for _, distance in hits] == pytest.approx(
            [distance for _, distance in expected], abs=1e-6
        )


async def test_all_kinds_of_search_at_once_equal_lone_ones(
    pair: tuple[ScopedMilvusStore, ScopedMilvusStore],
) -> None:
    """By vector, for diversity, by id, in several scopes: no call gets another's answer."""
    batched, lone = pair
    vector = embeddings().embed_query("owl 3")

    def calls(view: ScopedMilvusStore) -> list[Any]:
        odd = view.scoped(even=False)
        return [
            *(one.asimilarity_search("kite", k=5) for one in (view, odd)),
            *(one.asimilarity_search_by_vector(vector, k=5) for one in (view, odd)),
            *(one.amax_marginal_relevance_search("kite", k=5) for one in (view, odd)),
            *(one.asimilarity_search_with_relevance_scores("kite") for one in (view, odd)),
            *(
                one.aget_by_ids([f"batching-{n}", "batching-1"])
                for n in range(9)
                for one in (view, odd)
            ),
        ]

    assert await asyncio.gather(*calls(batched)) == [await call for call in calls(lone)]


@ON_LITE
async def test_batched_hybrid_searches_equal_lone_ones(make_store: MakeStore) -> None:
    """Several queries over vectors and words in one request are answered each on its own."""
    words = BM25BuiltInFunction(output_field_names="words")
    batched = make_store(builtin_function=words)
    lone = make_store(builtin_function=words, batching=False)
    await batched.aadd_documents(rows())
    queries = [f"{word} {n}" for n, word in enumerate(WORDS)]
    got = await asyncio.gather(*(batched.asimilarity_search_with_score(q) for q in queries))
    assert batched.stats.search.batches < len(queries)
    for query, hits in zip(queries, got, strict=True):
        expected = await lone.asimilarity_search_with_score(query)
        assert [one.id for one, _ in hits] == [one.id for one, _ in expected]
        assert [score for _, score in hits] == pytest.approx([score for _, score in expected])


async def test_calls_share_requests_and_the_stats_say_so(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A hundred searches, writes, reads and deletes at once are a few requests each."""
    seen: list[tuple[str, BatchInfo]] = []
    store = make_store(
        collection_name=shared.collection_name,
        on_batch=lambda kind, info: seen.append((kind, info)),
    )
    await store.aopen()
    ids = [f"stats-{n}" for n in range(100)]
    await asyncio.gather(*(store.aadd_texts([id_], ids=[id_]) for id_ in ids))
    assert [
        len(found) for found in await asyncio.gather(*(store.aget_by_ids([i]) for i in ids))
    ] == [1] * 100
    await asyncio.gather(*(store.asimilarity_search(id_) for id_ in ids))
    deleted = await asyncio.gather(*(store.adelete([id_]) for id_ in ids))
    assert sum(result.count for result in deleted) == 100
    stats = store.stats
    for kind, calls in (("search", 100), ("query", 200), ("upsert", 100), ("delete", 100)):
        one = getattr(stats, kind)
        assert one.calls == calls
        assert one.batches <= calls / 4
        assert sum(info.size for name, info in seen if name == kind) == calls
    assert all(info.error is None for _, info in seen)


def test_threads_share_requests_too(make_store: MakeStore, shared: MilvusStore) -> None:
    """Sync calls of many threads meet on the I/O loop."""
    store = make_store(collection_name=shared.collection_name, transport=held_back)
    store.open()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store.similarity_search, [f"q{n}" for n in range(8)]))
    assert store.stats.search.calls == 8
    assert store.stats.search.batches < 8


def held_back(connection: Any) -> BatchedTransport:
    """Return a transport whose first search waits until others wait for it."""
    return BatchedTransport(HeldBack(connection), lite=True)


class HeldBack(DirectTransport):
    """Lets others come while the first search is under way."""

    first = True

    async def search(self, requests: Any, deadline: Deadline) -> Any:
        """Search, the first time after a while of the loop's turns."""
        if self.first:
            self.first = False
            await asyncio.to_thread(lambda: [sum(range(1000)) for _ in range(2000)])
        return await super().search(requests, deadline)


async def test_one_id_written_at_once_keeps_the_last_row(shared: MilvusStore) -> None:
    """Of calls that share a request the later one wins, and each gets its id back."""
    vector = embeddings().embed_documents(["made before, as models answer in any order"])
    ids = await asyncio.gather(
        *(
            shared.aadd_embeddings([f"text {n}"], vector, [{"n": n}], ids=["batched-same"])
            for n in range(20)
        )
    )
    assert ids == [["batched-same"]] * 20
    (row,) = await shared.aget_by_ids(["batched-same"])
    assert (row.page_content, row.metadata["n"]) == ("text 19", 19)


async def test_a_write_does_not_overtake_one_of_the_same_id(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """While a row is on its way, a later one waits; writes of other ids go on."""
    sent: list[str] = []
    gate, begun = asyncio.Event(), asyncio.Event()

    class Gated(DirectTransport):
        async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
            sent.extend(row["text"] for row in request.rows)
            if not begun.is_set():
                begun.set()
                await gate.wait()
            return await super().upsert(request, deadline)

    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: BatchedTransport(Gated(connection), lite=False),
    )
    await store.aopen()

    async def story() -> list[str]:
        first = asyncio.create_task(store.aadd_texts(["first"], ids=["overtake"]))
        await begun.wait()
        await store.aadd_texts(["other"], ids=["overtake other"])
        vector = embeddings().embed_documents(["second"])
        second = asyncio.create_task(store.aadd_embeddings(["second"], vector, ids=["overtake"]))
        await store.aget_by_ids(["overtake"])  # many turns of the loop
        before = list(sent)
        gate.set()
        await asyncio.gather(first, second)
        return before

    assert await store._run(lambda _: story(), None) == ["first", "other"]
    assert await texts_of(store, "overtake") == ["second"]


async def test_a_bad_row_fails_alone(shared: MilvusStore) -> None:
    """A row that Milvus would refuse fails its own caller; the others' rows are there."""
    good = [shared.aadd_texts([f"good {n}"], ids=[f"good-{n}"]) for n in range(5)]
    bad = shared.aadd_texts(["x"], [{"pk": "other"}], ids=["bad"])
    *written, refused = await asyncio.gather(*good, bad, return_exceptions=True)
    assert written == [[f"good-{n}"] for n in range(5)]
    assert isinstance(refused, InvalidInputError)


async def test_an_expression_that_milvus_refuses_fails_alone(shared: MilvusStore) -> None:
    """A search with a malformed filter shares no request with others."""
    calls = [shared.asimilarity_search("q", expr=expr) for expr in (None, "n ==", None)]
    first, refused, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, MilvusError)
    assert first == third


class Unavailable(DirectTransport):
    """Fails the first batch as a request that Milvus refused, and counts all."""

    sizes: list[int]

    async def search(self, requests: Any, deadline: Deadline) -> Any:
        """Refuse more than one at a time."""
        self.sizes = [*getattr(self, "sizes", []), len(requests)]
        if len(requests) > 1:
            raise MilvusError("Milvus refused the request: topk is too large", 65535)
        return await super().search(requests, deadline)


async def test_a_batch_that_milvus_refuses_goes_one_by_one(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """If it is for one of them, the others do not suffer."""
    made: list[Unavailable] = []

    def transport(connection: Any) -> BatchedTransport:
        made.append(Unavailable(connection))
        return BatchedTransport(made[0], lite=False)

    await shared.aadd_texts(["one"], ids=["one-by-one"])
    store = make_store(collection_name=shared.collection_name, transport=transport)
    found = await asyncio.gather(*(store.asimilarity_search(f"q{n}", k=1) for n in range(4)))
    assert [len(hits) for hits in found] == [1] * 4
    assert max(made[0].sizes) > 1
    assert made[0].sizes.count(1) == 4  # each alone once, at first or after a refusal


async def test_reads_see_writes_although_an_older_read_is_under_way(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A search does not join an equal one that began before the caller's write."""
    gate = asyncio.Event()
    begun = asyncio.Event()

    class Gated(DirectTransport):
        async def search(self, requests: Any, deadline: Deadline) -> Any:
            answer = await super().search(requests, deadline)
            if not begun.is_set():
                begun.set()
                await gate.wait()
            return answer

    def transport(connection: Any) -> BatchedTransport:
        return BatchedTransport(Gated(connection), lite=False)

    store = make_store(collection_name=shared.collection_name, transport=transport)
    view = store.scoped(case="older read")
    await view.aadd_texts(["first"], ids=["older-1"])

    async def story() -> list[Any]:
        older = asyncio.create_task(view.asimilarity_search("first", k=9))
        await begun.wait()
        await view.aadd_texts(["second"], ids=["older-2"])
        newer = await view.asimilarity_search("first", k=9)
        gate.set()
        return [len(await older), len(newer)]

    # On the I/O loop, where the events are.
    assert await store._run(lambda _: story(), None) == [1, 2]


async def test_documents_of_one_answer_are_nobody_elses(
    pair: tuple[ScopedMilvusStore, ScopedMilvusStore],
) -> None:
    """Who changes what he got changes nothing of others."""
    batched, _ = pair
    one, other = await asyncio.gather(*(batched.asimilarity_search("kite", k=1) for _ in range(2)))
    one[0].metadata["list"][1]["deep"].append("mine")
    assert other[0].metadata["list"][1]["deep"] != one[0].metadata["list"][1]["deep"]
    got, again = await asyncio.gather(*(batched.aget_by_ids(["batching-1"]) for _ in range(2)))
    got[0].metadata["list"].clear()
    assert again[0].metadata["list"] == [1, {"deep": [1]}]


async def test_a_cancelled_caller_does_not_harm_the_others(
    pair: tuple[ScopedMilvusStore, ScopedMilvusStore],
) -> None:
    """The rest of a batch is answered."""
    batched, _ = pair
    tasks = [asyncio.create_task(batched.asimilarity_search("kite", k=2)) for _ in range(6)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in results[::2])
    assert [len(one) for one in results[1::2]] == [2] * 3


class Stuck(DirectTransport):
    """Never answers."""

    began = threading.Semaphore(0)

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Wait for ever."""
        self.began.release()
        return await asyncio.get_running_loop().create_future()

    async def search(self, requests: list[SearchRequest], deadline: Deadline) -> Any:
        """Wait for ever."""
        self.began.release()
        return await asyncio.get_running_loop().create_future()


async def test_closing_ends_what_waits(make_store: MakeStore, shared: MilvusStore) -> None:
    """Callers that still wait for a batch hear that the store was closed."""
    await shared.aadd_texts(["one"], ids=["closing"])
    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: BatchedTransport(Stuck(connection), lite=True),
    )
    await store.aopen()
    calls = [store.asimilarity_search(f"q{n}") for n in range(3)]
    calls += [store.aadd_texts(["x"], ids=[f"closing-{n}"]) for n in range(3)]
    tasks = [asyncio.create_task(call) for call in calls]
    for _ in range(2):  # a search and a write
        assert await asyncio.to_thread(Stuck.began.acquire, timeout=BOUND)
    await store.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results] == [StoreClosedError] * 6


async def test_without_batching_each_call_is_a_request(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The switch works, and the stats stay at 0."""
    store = make_store(collection_name=shared.collection_name, batching=False)
    await store.aadd_texts(["one"], ids=["unbatched"])
    assert await texts_of(store, "unbatched") == ["one"]
    await asyncio.gather(*(store.asimilarity_search("x") for _ in range(3)))
    assert store.stats.search.calls == 0
