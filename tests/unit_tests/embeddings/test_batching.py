"""`BatchingEmbeddings` round models without a network."""

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_openai import AzureOpenAIEmbeddings, OpenAIEmbeddings
from pydantic import SecretStr

from milvus_tools import BatchingEmbeddings
from milvus_tools._io.loop import THREAD_NAME, join, portal
from milvus_tools.batching import BatcherClosedError, BatcherStats, MicroBatcher
from milvus_tools.embeddings import LocalEmbeddings
from milvus_tools.embeddings.models import document_method, query_method
from milvus_tools.errors import DimensionError
from tests.helpers.batching import nothing_left, turns
from tests.helpers.fake_embeddings import (
    BAD,
    QUERY,
    FakeModel,
    Held,
    QueriesModel,
    StatusError,
    SyncModel,
    SyncQueriesModel,
    TaskModel,
    document_vector,
    outcomes,
    query_vector,
    too_many,
)

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")

MANY = 100
SECONDS = 30.0  # within which whatever ends at all has ended
TEXTS = [f"text {number}" for number in range(MANY)]
Make = Callable[..., BatchingEmbeddings]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make embeddings as `BatchingEmbeddings` does; they are closed, and no thread is left."""
    made: list[BatchingEmbeddings] = []

    def one(model: Embeddings, **arguments: Any) -> BatchingEmbeddings:
        made.append(BatchingEmbeddings(model, **arguments))
        return made[-1]

    yield one
    for embeddings in made:
        embeddings.close()
    assert not io_threads()


def io_threads() -> list[threading.Thread]:
    """Return the threads of the I/O loop that don't end now."""
    ours = [one for one in threading.enumerate() if one.name.startswith(THREAD_NAME)]
    if portal()._thread is None:
        for thread in ours:
            thread.join(SECONDS)
    return [thread for thread in ours if thread.is_alive()]


async def queries(embeddings: Embeddings, texts: list[str]) -> list[list[float]]:
    """Embed queries at the same time."""
    return await asyncio.gather(*map(embeddings.aembed_query, texts))


# Which model shares what.


@pytest.mark.parametrize("alike", [True, None, False])
async def test_queries_are_never_taken_for_documents_unasked(make: Make, alike: bool) -> None:
    """An unknown model embeds each query by itself, unless the caller declares it."""
    model = FakeModel()
    vectors = await queries(make(model, embeds_alike=alike), TEXTS)
    expected = document_vector if alike else query_vector
    assert vectors == [expected(text) for text in TEXTS]
    assert model.requests == (1 if alike else MANY)


async def test_a_models_own_method_for_queries_is_used(make: Make) -> None:
    """Queries share a request, and stay queries."""
    model = QueriesModel()
    assert await queries(make(model), TEXTS) == [query_vector(text) for text in TEXTS]
    assert model.queries == [TEXTS]


async def test_a_sync_method_for_queries_runs_in_a_thread(make: Make) -> None:
    """It blocks no loop."""
    model = SyncQueriesModel()
    assert await queries(make(model), TEXTS) == [document_vector(text) for text in TEXTS]
    assert model.documents == [TEXTS]
    assert threading.current_thread() not in model.threads


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize(
    "embed_queries",
    [
        lambda model: functools.partial(model.embed_as, QUERY),
        lambda model: lambda texts: model.embed_as(QUERY, texts),
        lambda model: lambda texts: asyncio.ensure_future(model.embed_as(QUERY, texts)),
    ],
    ids=["partial", "lambda", "future"],
)
async def test_the_caller_can_say_how_to_embed_queries(
    make: Make, embed_queries: Callable[..., Any], retries: int
) -> None:
    """Any function that returns an awaitable will do, with retries and without."""
    model = TaskModel()
    embeddings = make(model, embed_queries=embed_queries(model), retries=retries)
    assert await queries(embeddings, TEXTS) == [query_vector(text) for text in TEXTS]
    assert model.queries == [TEXTS]


async def test_several_queries_of_one_call_share_a_request(make: Make) -> None:
    """Vectors of queries come in the order of their texts."""
    model = QueriesModel()
    vectors = await make(model).avectors(TEXTS, query=True)
    assert vectors == [query_vector(text) for text in TEXTS]
    assert model.queries == [TEXTS]


def test_both_ways_to_declare_are_refused() -> None:
    """One of them would be ignored."""
    model = QueriesModel()
    with pytest.raises(ValueError, match="not both"):
        BatchingEmbeddings(model, embeds_alike=True, embed_queries=model.aembed_queries)


class Plain(OpenAIEmbeddings):
    """A subclass that leaves the methods alone."""


class Prefixed(OpenAIEmbeddings):
    """A subclass that does not."""

    async def aembed_query(self, text: str, **kwargs: Any) -> list[float]:
        return await super().aembed_query(f"query: {text}", **kwargs)


class PrefixedLocal(LocalEmbeddings):
    """Another."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(f"query: {text}")


KEY: dict[str, Any] = {"api_key": SecretStr("sk-test")}
AZURE: dict[str, Any] = {"azure_endpoint": "http://service.test", "api_version": "1", **KEY}


@pytest.mark.parametrize(
    ("model", "alike"),
    [
        (OpenAIEmbeddings(**KEY), True),
        (AzureOpenAIEmbeddings(**AZURE), True),
        (Plain(**KEY), True),
        (Prefixed(**KEY), False),
        (LocalEmbeddings.__new__(LocalEmbeddings), True),
        (PrefixedLocal.__new__(PrefixedLocal), False),
        (FakeModel(), False),
        (SyncModel(), False),
        (BatchingEmbeddings(FakeModel()), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_known_models_embed_queries_as_documents(model: Embeddings, alike: bool) -> None:
    """A subclass is known as long as it embeds queries as its parent does."""
    assert query_method(model, None, None).shared == alike
    assert not query_method(model, embeds_alike=False, embed_queries=None).shared


class PrefixedDocuments(OpenAIEmbeddings):
    """A subclass that embeds documents in its own way."""

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        texts = [f"document: {text}" for text in texts]
        return await super().aembed_documents(texts, chunk_size, **kwargs)


AS_THEY_ARE: dict[str, Any] = {"check_embedding_ctx_length": False, **KEY}


@pytest.mark.parametrize(
    ("model", "arrays"),
    [
        (OpenAIEmbeddings(**AS_THEY_ARE), True),
        (AzureOpenAIEmbeddings(**{**AZURE, **AS_THEY_ARE}), True),
        (Plain(**AS_THEY_ARE), True),
        (OpenAIEmbeddings(**KEY), False),
        (OpenAIEmbeddings(model_kwargs={"encoding_format": "float"}, **AS_THEY_ARE), False),
        (PrefixedDocuments(**AS_THEY_ARE), False),
        (FakeModel(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrays_are_read_where_it_changes_nothing_else(model: Embeddings, arrays: bool) -> None:
    """A model that cuts long texts, or embeds documents in its own way, is left to do so."""
    own = document_method(model) == model.aembed_documents
    assert own != arrays


# Queries.


async def test_identical_queries_in_flight_are_embedded_once(make: Make) -> None:
    """Each caller gets a vector of its own, which it may change."""
    model = FakeModel()
    embeddings = make(model)
    one, other, third = await queries(embeddings, ["a", "a", "b"])
    assert sorted(map(tuple, model.queries)) == [("a",), ("b",)]
    one.clear()
    assert other == query_vector("a")
    assert third == query_vector("b")
    assert embeddings.stats == BatcherStats(calls=3, shared=1, batches=2, largest_batch=1)


@pytest.mark.parametrize("alike", [True, False])
async def test_requests_are_bounded(make: Make, alike: bool) -> None:
    """In number, and in texts each."""
    model = FakeModel()
    embeddings = make(model, embeds_alike=alike, max_batch_size=7, max_in_flight=3)
    assert len(await queries(embeddings, TEXTS)) == MANY
    assert model.most_at_work == 3
    assert max(map(len, model.documents + model.queries)) == (7 if alike else 1)


async def test_a_bad_query_fails_alone(make: Make) -> None:
    """The batch that it was in is sent one by one, once."""
    model = FakeModel()
    embeddings = make(model, embeds_alike=True)
    first, bad, last = await outcomes(*map(embeddings.aembed_query, ["a", BAD, "c"]))
    assert (first, last) == (document_vector("a"), document_vector("c"))
    assert isinstance(bad, StatusError)
    assert bad.response.status_code == 400
    assert sorted(map(len, model.documents)) == [1, 1, 1, 3]


@pytest.mark.parametrize(
    "error", [StatusError(429), StatusError(500), StatusError(401), TimeoutError("late")], ids=repr
)
async def test_a_batch_is_sent_one_by_one_only_if_a_text_is_to_blame(
    make: Make, error: Exception
) -> None:
    """An overloaded service is not asked more often: all callers get the error, as it is."""
    model = FakeModel(error)
    embeddings = make(model, embeds_alike=True, retries=0)
    for outcome in await outcomes(*map(embeddings.aembed_query, "abc")):
        assert type(outcome) is type(error)
        assert str(outcome) == str(error)
    assert model.requests == 1


@pytest.mark.parametrize("change", [1, -1])
async def test_a_wrong_number_of_vectors_is_an_error(make: Make, change: int) -> None:
    """No caller gets another's vectors; a sentence names the model and both numbers."""

    class Miscounting(FakeModel):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors = await super().aembed_documents(texts)
            return [*vectors, vectors[0]] if change > 0 else vectors[:-1]

    model = Miscounting()
    embeddings = make(model, embeds_alike=True)
    sentence = f"The embedding model Miscounting made {3 + change} vectors of 3 texts."
    for outcome in await outcomes(*map(embeddings.aembed_query, "abc")):
        assert isinstance(outcome, DimensionError)
        assert str(outcome) == sentence
    with pytest.raises(DimensionError, match=f"made {1 + change} vectors of 1 text\\."):
        await embeddings.aembed_documents(["a"])
    assert model.requests == 2


async def test_a_cancelled_query_leaves_the_others_alone(make: Make) -> None:
    """The request is cancelled only when all of its callers have gone."""
    model = Held()
    embeddings = make(model, embeds_alike=True)
    calls = [asyncio.create_task(embeddings.aembed_query(text)) for text in "ab"]
    assert await asyncio.to_thread(model.begun.acquire, timeout=SECONDS)
    calls[0].cancel()
    model.let_go()
    assert await calls[1] == document_vector("b")
    assert calls[0].cancelled()


async def test_a_request_that_nobody_waits_for_is_cancelled(make: Make) -> None:
    """Cancelling reaches the model."""
    model = Held()
    call = asyncio.create_task(make(model).aembed_query("a"))
    assert await asyncio.to_thread(model.begun.acquire, timeout=SECONDS)
    call.cancel()
    assert await asyncio.to_thread(model.cancelled.wait, SECONDS)


# Documents.


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 35])
async def test_documents_go_in_bounded_batches_in_order(make: Make, count: int) -> None:
    """As many requests as it needs, so many at once as allowed."""
    model = FakeModel()
    embeddings = make(model, max_batch_size=10, max_in_flight=2)
    texts = TEXTS[:count]
    assert await embeddings.aembed_documents(texts) == [document_vector(text) for text in texts]
    assert [len(batch) for batch in model.documents] == [10] * (count // 10) + (
        [count % 10] if count % 10 else []
    )
    assert model.most_at_work == min(2, len(model.documents))
    assert model.queries == []


async def test_documents_of_calls_at_the_same_time_share_requests(make: Make) -> None:
    """Each caller gets its own vectors, and a bad text fails the call that brought it."""
    model = FakeModel()
    embeddings = make(model, max_batch_size=10)
    parts = [TEXTS[:3], ["x", BAD], TEXTS[3:5], TEXTS[5:13]]
    first, bad, third, last = await outcomes(*map(embeddings.aembed_documents, parts))
    vectors = [*first, *third, *last]
    assert vectors == [document_vector(text) for text in TEXTS[:13]]
    assert isinstance(bad, StatusError)
    assert [len(batch) for batch in model.documents] == [7, 8, 3, 2, 2]


async def test_when_one_batch_fails_the_rest_is_not_sent(make: Make) -> None:
    """The call is lost; what it would still have asked for is not worth it."""
    model = FakeModel(StatusError(401))
    embeddings = make(model, max_batch_size=1, max_in_flight=1)
    with pytest.raises(StatusError, match="401"):
        await embeddings.aembed_documents(TEXTS)
    assert await embeddings.aembed_documents(["next"]) == [document_vector("next")]
    assert model.requests <= 3


async def test_queries_do_not_wait_behind_documents(make: Make) -> None:
    """While a load keeps all its slots busy, a query is sent."""
    model = Held()
    embeddings = make(model, max_batch_size=1, max_in_flight=1, embeds_alike=True)
    load = asyncio.create_task(embeddings.aembed_documents(["a", "b"]))
    query = asyncio.create_task(embeddings.aembed_query("q"))
    for _ in range(2):
        assert await asyncio.to_thread(model.begun.acquire, timeout=SECONDS)
    assert sorted(model.documents) == [["a"], ["q"]]
    model.let_go()
    assert await query == document_vector("q")
    assert len(await load) == 2


# Trying again.


async def test_what_may_pass_is_tried_again(make: Make) -> None:
    """A batch is sent again as it was, by default."""
    model = FakeModel(too_many(), StatusError(503, {"retry-after-ms": "0"}))
    assert await queries(make(model, embeds_alike=True), ["a", "b"]) == [
        document_vector("a"),
        document_vector("b"),
    ]
    assert model.documents == [["a", "b"]] * 3
    model.failures.append(too_many())
    assert await make(model).aembed_documents(["c"]) == [document_vector("c")]
    assert model.documents[3:] == [["c"]] * 2


@pytest.mark.parametrize(
    ("max_retries", "retries", "attempts"),
    [(2, None, 1), (2, 3, 4), (0, None, 5), (0, 1, 2), (None, None, 5), (0, 0, 1)],
)
async def test_the_models_own_retries_are_not_multiplied(
    make: Make, max_retries: int | None, retries: int | None, attempts: int
) -> None:
    """A model that tries again by itself is asked once, unless the caller wants more."""
    model = FakeModel(*[too_many() for _ in range(9)])
    model.max_retries = max_retries  # type: ignore[attr-defined]
    with pytest.raises(StatusError):
        await make(model, retries=retries).aembed_query("a")
    assert model.requests == attempts


async def test_the_wait_can_be_replaced(make: Make) -> None:
    """It is told the seconds."""
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    model = FakeModel(StatusError(500), StatusError(429, {"retry-after": "9"}))
    await make(model, sleep=sleep).aembed_query("a")
    assert 0 <= waits[0] <= 1
    assert waits[1] == 9


# Loops and threads.


def test_t58_a_wrapped_model_sees_one_loop(make: Make) -> None:
    """One `asyncio.run` after another, threads and sync calls all end up on the I/O loop."""
    model = QueriesModel()
    embeddings = make(model)
    for number in range(3):
        assert asyncio.run(embeddings.aembed_query(f"{number}")) == query_vector(f"{number}")
    assert embeddings.embed_query("sync") == query_vector("sync")
    assert embeddings.embed_documents(["a", "b"]) == [document_vector("a"), document_vector("b")]
    threads = [threading.Thread(target=embeddings.embed_query, args=(text,)) for text in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(model.loops) == 1


async def test_t59_models_that_run_in_threads_keep_their_callers_together(make: Make) -> None:
    """A sync model gets one batch, and what its callers do next is one batch too."""
    model = SyncModel()
    embeddings = make(model, embeds_alike=True)
    batches = []

    async def search(vectors: Any) -> Any:
        batches.append(len(vectors))
        return vectors

    async def rounds() -> None:
        searches: MicroBatcher[list[float], list[float]] = MicroBatcher(search)

        async def call(text: str) -> None:
            await searches.submit(await embeddings.aembed_query(text))

        for _ in range(10):
            await asyncio.gather(*map(call, TEXTS[:8]))

    await rounds()
    portal().acquire()
    try:
        await portal().run(rounds())
    finally:
        portal().release()
    assert [len(texts) for texts in model.documents] == [8] * 20
    assert batches == [8] * 20
    assert all(thread.name.startswith(THREAD_NAME) for thread in model.threads)


def test_threads_share_requests(make: Make) -> None:
    """Sync calls that pile up while a request is under way go out together."""
    model = Held()
    embeddings = make(model, embeds_alike=True, max_in_flight=1)
    results: dict[str, list[float]] = {}

    def call(text: str) -> None:
        results[text] = embeddings.embed_query(text)

    threads = [threading.Thread(target=call, args=(text,)) for text in "abcdefgh"]
    threads[0].start()
    assert model.begun.acquire(timeout=SECONDS)
    for thread in threads[1:]:
        thread.start()

    async def all_wait() -> None:
        while embeddings.stats.queued < 7:  # noqa: ASYNC110 - stats tell no event
            await asyncio.sleep(0)

    portal().run_sync(asyncio.wait_for(all_wait(), SECONDS))
    model.let_go()
    for thread in threads:
        thread.join(SECONDS)
    assert results == {text: document_vector(text) for text in "abcdefgh"}
    assert [len(texts) for texts in model.documents] == [1, 7]


async def test_on_the_io_loop_it_is_awaited_directly() -> None:
    """A store calls it there, and it holds no thread for that."""
    model = FakeModel()
    embeddings = BatchingEmbeddings(model)
    portal().acquire()
    try:
        assert await portal().run(embeddings.aembed_query("a")) == query_vector("a")
        with pytest.raises(RuntimeError, match="async twin"):
            await portal().run(sync_call(embeddings))
    finally:
        await asyncio.to_thread(join, portal().release())
    assert not io_threads()
    await embeddings.aclose()
    assert not io_threads()


async def sync_call(embeddings: Embeddings) -> Any:
    """Call a sync method on a loop."""
    return embeddings.embed_query("a")


# The end.


@pytest.mark.parametrize("used", [True, False])
async def test_closed_embeddings_say_so(used: bool) -> None:
    """By either way of closing, which may come twice; the thread has ended."""
    for way in ("aclose", "close"):
        embeddings = BatchingEmbeddings(FakeModel())
        if used:
            await embeddings.aembed_query("a")
            assert io_threads()
        for _ in range(2):
            await embeddings.aclose() if way == "aclose" else embeddings.close()
        assert not io_threads()
        with pytest.raises(BatcherClosedError, match="make new ones"):
            await embeddings.aembed_query("a")
        with pytest.raises(BatcherClosedError, match="make new ones"):
            embeddings.embed_documents(["a"])
        assert embeddings.stats.calls == int(used)


async def test_closing_finishes_what_is_under_way() -> None:
    """Queries and documents, those that wait for a slot too."""
    model = Held()
    embeddings = BatchingEmbeddings(model, max_in_flight=1)
    calls = [asyncio.create_task(embeddings.aembed_query(text)) for text in "ab"]
    calls += [asyncio.create_task(embeddings.aembed_documents(["c"]))]  # type: ignore[list-item]
    for _ in range(2):
        assert await asyncio.to_thread(model.begun.acquire, timeout=SECONDS)
    closing = asyncio.create_task(embeddings.aclose())
    await turns()
    model.let_go()
    await closing
    vectors = [query_vector("a"), query_vector("b"), [document_vector("c")]]
    assert await asyncio.gather(*calls) == vectors


async def test_embeddings_that_are_forgotten_leave_nothing_behind() -> None:
    """The garbage collector is enough; the model goes with them."""
    model = FakeModel()
    embeddings = BatchingEmbeddings(model, embeds_alike=True)
    await queries(embeddings, TEXTS)
    seen = weakref.ref(model)
    del model, embeddings
    gc.collect()
    stopping = portal()._thread
    await asyncio.to_thread(join, stopping)
    assert not io_threads()
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    "arguments",
    [{"max_batch_size": 0}, {"max_in_flight": 0}, {"retries": -1}, {"retry_seconds": 0}],
    ids=str,
)
def test_bounds_that_can_not_be_meant_are_refused(arguments: dict[str, Any]) -> None:
    """The sentence names the argument, and nothing is left of the attempt."""
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        BatchingEmbeddings(FakeModel(), **arguments)
