"""Deadlines, cancellation, and a server that goes away and comes back."""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from milvus_tools import MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import DeadlineError, EmbeddingError, InvalidInputError, UnavailableError
from tests.helpers.fake_embeddings import Hanging
from tests.helpers.outage import require_errors, require_recovery
from tests.helpers.proxy import half_open_server, proxy_of
from tests.helpers.support import ON_SERVER, ctrl_c_interrupts, embeddings, texts
from tests.helpers.threads import BOUND, happens
from tests.helpers.transports import Made, Stuck

MakeStore = Callable[..., MilvusStore]


async def test_cancelling_a_search_reaches_the_transport(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The request that a cancelled caller waited for is cancelled, and the store goes on."""
    await shared.aadd_texts(["cancel"], ids=["cancel"])
    made = Made(Stuck)
    store = make_store(collection_name=shared.collection_name, transport=made)
    await store.aopen()
    search = asyncio.create_task(store.asimilarity_search("cancel"))
    assert await asyncio.to_thread(made.one.began.acquire, timeout=BOUND)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert await happens(made.one.cancelled)
    assert texts(await store.aget_by_ids(["cancel"])) == ["cancel"]


async def test_a_caller_that_gives_up_cancels_the_embedding(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """`asyncio.timeout` round a call ends what the model does for it."""
    await shared.aadd_texts(["cancel"], ids=["cancel"])
    model = Hanging()
    store = make_store(model, collection_name=shared.collection_name)
    await store.acount()  # opens it, for the time below to be the model's
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await store.asimilarity_search("cancel")
    assert await happens(model.cancelled)


class Failing(Embeddings):
    """A model whose client raises, and tells too much; it sees to its retries itself."""

    max_retries = 1

    def __init__(self, error: Exception) -> None:
        """Fail with an error."""
        self.error = error

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Fail."""
        raise self.error

    def embed_query(self, text: str) -> list[float]:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("POST http://10.0.0.5 key sk-1"), TimeoutError("10.0.0.5 is busy")]
)
async def test_a_model_that_fails_is_an_error_of_ours(
    make_store: MakeStore, shared: MilvusStore, error: Exception
) -> None:
    """Its own error, which may hold addresses and keys, is the cause, and no deadline passed."""
    await shared.aadd_texts(["failing"], ids=["failing"])
    store = make_store(Failing(error), collection_name=shared.collection_name)
    for call in (
        store.aopen(),
        store.asimilarity_search("failing"),
        store.amax_marginal_relevance_search("failing"),
        store.aadd_texts(["failing"]),
        asyncio.to_thread(store.add_texts, ["failing"]),
    ):
        with pytest.raises(EmbeddingError) as caught:
            await call
        assert repr(caught.value.__cause__) == repr(error)  # a copy may come from a thread
        assert "10.0.0.5" not in str(caught.value)
    assert texts(await store.aget_by_ids(["failing"])) == ["failing"]


class Wrapping(Hanging):
    """A model whose client makes an error of its own of a cancellation."""

    async def aembed_query(self, text: str) -> list[float]:
        """Wait until it is cancelled, and say it in other words."""
        try:
            return await super().aembed_query(text)
        except asyncio.CancelledError as error:
            raise RuntimeError("The request was aborted.") from error


async def test_a_deadline_that_a_model_puts_in_other_words_is_a_deadline(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A model that turns the cancellation of a late call into its own error changes nothing."""
    await shared.aadd_texts(["late"], ids=["late"])
    store = make_store(Wrapping(), collection_name=shared.collection_name)
    await store.acount()
    with pytest.raises(DeadlineError):
        await store.asimilarity_search("late", timeout=0.5)


def test_ctrl_c_reaches_the_request(make_store: MakeStore, shared: MilvusStore) -> None:
    """An interrupt ends a sync call, and the request that it waited for."""
    shared.add_texts(["cancel"], ids=["cancel"])
    made = Made(Stuck)
    store = make_store(collection_name=shared.collection_name, transport=made)
    store.open()

    def interrupt() -> None:
        made.one.began.acquire(timeout=BOUND)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with ctrl_c_interrupts():
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            store.similarity_search("cancel")
        thread.join()
    assert made.one.cancelled.wait(BOUND)
    assert texts(store.get_by_ids(["cancel"])) == ["cancel"]


@pytest.mark.parametrize(("stores", "calls"), [(0.5, None), (BOUND, 0.5)])
async def test_a_model_that_hangs_has_a_deadline(
    make_store: MakeStore, shared: MilvusStore, stores: float, calls: float | None
) -> None:
    """The store's deadline, or the call's, ends a call whose model does not answer."""
    await shared.aadd_texts(["hangs"], ids=["hangs"])
    model = Hanging()
    store = make_store(model, collection_name=shared.collection_name, timeout=stores)
    await store.acount(timeout=BOUND)
    with pytest.raises(DeadlineError, match=r"within 0\.5 s"):
        await store.asimilarity_search("hangs", timeout=calls)
    assert await happens(model.cancelled)


class Blocked(Embeddings):
    """A model without async methods, which blocks its thread until it is let go."""

    def __init__(self) -> None:
        """Block from the first call on."""
        self.thread: threading.Thread | None = None
        self.let_go = threading.Event()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Block, then embed."""
        self.thread = threading.current_thread()
        assert self.let_go.wait(BOUND)
        return embeddings().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Block, then embed."""
        (vector,) = self.embed_documents([text])
        return vector


async def test_a_model_that_blocks_holds_up_no_loop(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """It blocks a thread of its own: its call has a deadline, and other calls go on."""
    await shared.aadd_texts(["blocks"], ids=["blocks"])
    model = Blocked()
    store = make_store(model, collection_name=shared.collection_name)
    await store.acount()
    with pytest.raises(DeadlineError):
        await store.asimilarity_search("blocks", timeout=0.5)
    assert model.thread not in (None, threading.main_thread(), portal()._thread)
    assert texts(await store.aget_by_ids(["blocks"])) == ["blocks"]
    model.let_go.set()
    assert texts(await store.asimilarity_search("blocks", k=1)) == ["blocks"]


@pytest.mark.parametrize("timeout", [0, -1, True, "1", float("nan"), float("inf")])
async def test_a_deadline_is_a_number_of_seconds(shared: MilvusStore, timeout: Any) -> None:
    """Anything else is refused, before anything is sent."""
    with pytest.raises(InvalidInputError, match="timeout"):
        await shared.asimilarity_search("a", timeout=timeout)


async def test_a_server_that_never_answers_holds_up_nobody_else(shared: MilvusStore) -> None:
    """While one store waits for a half-open server, another one of the process works."""
    await shared.aadd_texts(["other"], ids=["other"])
    with half_open_server() as uri:
        store = MilvusStore(embeddings(), connection_args={"uri": uri}, timeout=BOUND)
        waiting = [asyncio.create_task(store.acount(timeout=2)) for _ in range(20)]
        for _ in range(5):
            assert texts(await shared.aget_by_ids(["other"])) == ["other"]
            assert texts(await shared.asimilarity_search("other", k=1)) == ["other"]
        for one in waiting:
            with pytest.raises(DeadlineError):
                await one
        await store.aclose()


@ON_SERVER
async def test_an_outage_is_an_error_and_passes(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Without the server calls fail in time, with it they work again, of the same store."""
    with proxy_of(shared._connection_args["uri"]) as proxy:
        store = make_store(
            collection_name=shared.collection_name, connection_args={"uri": proxy.uri}
        )
        await store.aadd_texts(["before"], [{"outage": True}], ids=["outage"])
        proxy.cut()
        await require_errors(store)
        proxy.restore()
        await require_recovery(store)


@ON_SERVER
async def test_an_outage_at_the_first_call_passes_too(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A store whose first call found no server connects at the next one."""
    await shared.aadd_texts(["before"], [{"outage": True}], ids=["outage"])
    with proxy_of(shared._connection_args["uri"]) as proxy:
        proxy.cut()
        store = make_store(
            collection_name=shared.collection_name, connection_args={"uri": proxy.uri}
        )
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await store.acount()
        proxy.restore()
        await require_recovery(store)
