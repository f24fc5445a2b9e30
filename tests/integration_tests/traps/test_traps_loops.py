"""Event loops, threads and time: traps T31 to T41 and T58, and what the store does instead."""

import asyncio
import contextlib
import functools
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from milvus_lite.adapter.grpc import server as lite_server
from pymilvus import MilvusClient, MilvusException

from milvus_tools import MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import DeadlineError, UnavailableError
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, WriteRequest
from tests.helpers.fake_embeddings import AsyncModel
from tests.helpers.milvus_server import free_ports
from tests.helpers.proxy import half_open_server, proxy_of
from tests.helpers.support import ON_SERVER, embeddings, texts
from tests.helpers.threads import BOUND, happens, in_threads
from tests.helpers.transports import Made, Recording

MakeStore = Callable[..., MilvusStore]
OPERATIONS: dict[str, Callable[..., Any]] = {
    "open": lambda store: store.aopen(),
    "add": lambda store: store.aadd_texts(["a"], ids=["a"]),
    "search": lambda store: store.asimilarity_search("a"),
    "diverse": lambda store: store.amax_marginal_relevance_search("a"),
    "query": lambda store: store.asearch_by_metadata("n == 1"),
    "get": lambda store: store.aget_by_ids(["a"]),
    "count": lambda store: store.acount(),
    "keys": lambda store: store.aget_pks("n == 1"),
    "delete": lambda store: store.adelete(["a"]),
    "drop": lambda store: store.adrop(),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def store_at(timeout: float = 30, **arguments: str) -> contextlib.aclosing[MilvusStore]:
    """Return a store on whatever is at an address, to be closed after use."""
    store = MilvusStore(embeddings(), connection_args=arguments, timeout=timeout)
    return contextlib.aclosing(store)


def test_t31_a_store_outlives_the_loops_that_call_it(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Sync calls and one `asyncio.run` after another share one I/O loop; theirs are freed."""
    model = AsyncModel()
    store = make_store(model, collection_name=shared.collection_name)
    store.add_texts(["t31"], ids=["t31"])
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def search() -> list[str]:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        return texts(await store.asimilarity_search("t31", k=1))

    assert [asyncio.run(search()) for _ in range(3)] == [["t31"]] * 3
    assert in_threads(*[lambda: asyncio.run(search())] * 3) == [["t31"]] * 3
    assert texts(store.similarity_search("t31", k=1)) == ["t31"]
    assert len(set(model.loops)) == len(model.threads) == 1
    gc.collect()
    assert [loop() for loop in loops] == [None] * 6


async def test_t32_no_loop_waits_while_milvus_works(
    make_store: MakeStore, own_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's loop and the I/O loop turn while Milvus is opened, created and loaded."""
    loops = (asyncio.get_running_loop(), portal()._loop)
    blocking: list[str] = []

    def watch(owner: Any, name: str) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            for loop in loops:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(BOUND)
            blocking.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    names = ["__init__", "has_collection", "create_collection", "load_collection"]
    for name in names:
        watch(MilvusClient, name)
    watch(lite_server, "start_server_in_thread")
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["t32"], ids=["1"])
    assert texts(await store.asimilarity_search("t32")) == ["t32"]
    await store.aclose()
    names += ["start_server_in_thread"] if own_uri.endswith(".db") else []
    assert set(blocking) == set(names)


@every_operation
async def test_t33_every_operation_has_a_deadline(operation: Callable[..., Any]) -> None:
    """A server that takes the connection and never answers is a DeadlineError, not a hang."""
    with half_open_server() as uri:
        async with store_at(timeout=0.2, uri=uri) as store:
            with pytest.raises(DeadlineError):
                await operation(store)


async def test_t33_creating_a_collection_has_a_deadline(
    make_store: MakeStore, client: MilvusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation that takes too long is a DeadlineError, and the next write comes through."""
    creating, go_on = threading.Event(), threading.Event()
    create = MilvusClient.create_collection

    def slow(*args: Any, **kwargs: Any) -> Any:
        creating.set()
        assert go_on.wait(BOUND)
        return create(*args, **kwargs)

    monkeypatch.setattr(MilvusClient, "create_collection", slow)
    store = make_store(timeout=BOUND)
    await store.aopen()
    with pytest.raises(DeadlineError):
        await store.aadd_texts(["t33"], ids=["1"], timeout=1)
    assert creating.is_set()
    go_on.set()
    assert await store.aadd_texts(["t33"], ids=["1"]) == ["1"]
    assert await store.acount(consistency_level="Strong") == 1
    assert client.list_indexes(store.collection_name) == ["vector"]


async def test_t33_a_creation_that_goes_on_is_waited_for(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus Lite makes the folder, and refuses the next one, before it knows the collection."""
    create, has, asked = MilvusClient.create_collection, MilvusClient.has_collection, []

    def refused(*args: Any, **kwargs: Any) -> None:
        create(*args, **kwargs)
        raise MilvusException(1, "[Errno 17] File exists: 'collections/t33'")

    def later(*args: Any, **kwargs: Any) -> bool:
        asked.append(args)
        return len(asked) > 3 and bool(has(*args, **kwargs))

    store = make_store()
    await store.aopen()
    monkeypatch.setattr(MilvusClient, "create_collection", refused)
    monkeypatch.setattr(MilvusClient, "has_collection", later)
    assert await store.aadd_texts(["t33"], ids=["1"]) == ["1"]


@pytest.mark.parametrize(("stores", "calls"), [(500, 50), (5, 50)])
async def test_t33_a_calls_deadline_counts_and_not_the_stores(
    make_store: MakeStore, shared: MilvusStore, stores: float, calls: float
) -> None:
    """A `timeout` given with a call replaces the store's, whether it is shorter or longer."""
    made = Made(Recording)
    store = make_store(collection_name=shared.collection_name, timeout=stores, transport=made)
    await store.aadd_texts(["t33"], ids=["t33"], timeout=calls)
    await store.asimilarity_search("t33", timeout=calls)
    await store.aget_by_ids(["t33"])
    *with_call, without = made.one.deadlines
    assert all(calls - BOUND < deadline.remaining <= calls for deadline in with_call)
    assert stores - BOUND < without.remaining <= stores


class Halting(DirectTransport):
    """Writes the first batch, and lets the others wait until they are cancelled."""

    def __init__(self, connection: Any) -> None:
        """Have written nothing."""
        super().__init__(connection)
        self.begun = 0
        self.first_ended = asyncio.Event()
        self.halted, self.cancelled = threading.Event(), threading.Event()

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write, if it is the first batch, or others were cancelled."""
        self.begun += 1
        if self.begun == 1:
            keys = await super().upsert(request, deadline)
            self.first_ended.set()
            return keys
        if not self.cancelled.is_set():
            await self.first_ended.wait()
            self.halted.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled.set()
        return await super().upsert(request, deadline)


async def test_t34_repeating_a_cancelled_write_is_harmless(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A write that was cancelled half-way is completed by the same call with the same ids."""
    made = Made(Halting)
    store = make_store(collection_name=shared.collection_name, transport=made)
    ids = [f"t34-{number}" for number in range(3)]
    metadatas = [{"t34": True} for _ in ids]

    async def write() -> list[str]:
        return await store.aadd_texts(ids, metadatas, ids=ids, batch_size=1)

    await store.aopen()
    writing = asyncio.create_task(write())
    assert await happens(made.one.halted)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await happens(made.one.cancelled)
    assert texts(await store.aget_by_ids(ids)) == ids[:1]
    assert await write() == ids
    assert texts(await store.aget_by_ids(ids)) == ids
    assert await store.acount("t34 == true") == 3


@every_operation
async def test_t35_a_refused_connection_is_one_error(operation: Callable[..., Any]) -> None:
    """Whatever is called, it says UnavailableError, without address or token, with the cause."""
    (port,) = free_ports(1)
    async with store_at(uri=f"http://127.0.0.1:{port}", token="root:hunter2") as store:
        with pytest.raises(UnavailableError) as caught:
            await operation(store)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.__cause__ is not None
    for text in (str(caught.value), repr(caught.value)):
        assert "unavailable" in text
        for secret in ("127.0.0.1", str(port), "root", "hunter2"):
            assert secret not in text


async def test_t36_closing_a_store_leaves_other_clients_alone(
    make_store: MakeStore, shared: MilvusStore, client: MilvusClient
) -> None:
    """A raw client and a second store of the same address go on after a store is closed."""
    other = make_store(collection_name=shared.collection_name)
    await shared.aadd_texts(["t36"], ids=["t36"])
    assert texts(await other.aget_by_ids(["t36"])) == ["t36"]
    await shared.aclose()
    assert client.has_collection(other.collection_name)
    assert texts(await other.aget_by_ids(["t36"])) == ["t36"]


@ON_SERVER
async def test_t36_closing_a_store_closes_its_connections(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """No connection of a closed store is left, although the I/O loop still serves another."""
    await shared.aopen()
    with proxy_of(shared._connection_args["uri"]) as proxy:
        store = make_store(
            collection_name=shared.collection_name, connection_args={"uri": proxy.uri}
        )
        await store.acount()
        store.client.list_collections()
        assert len(proxy.connections) >= 2
        await store.aclose()
        proxy.require_no_connection()
    assert await shared.acount() >= 0
