"""Closing a store: calls, threads, connections and files."""

import asyncio
import gc
import pathlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pymilvus import MilvusClient, MilvusException

from milvus_tools import MilvusStore
from milvus_tools._io.lifecycle import Lifecycle
from milvus_tools._io.loop import portal
from milvus_tools.errors import DeadlineError, DimensionError, StoreClosedError
from milvus_tools.transport.connection import Connection
from tests.helpers.fake_embeddings import Hanging
from tests.helpers.proxy import half_open_server, proxy_of
from tests.helpers.support import DIM, ON_LITE, ON_SERVER, embeddings, require_free, texts
from tests.helpers.threads import BOUND, happens, in_threads, no_new_threads
from tests.helpers.transports import Lingering, Made, Stuck

MakeStore = Callable[..., MilvusStore]
CALLS: dict[str, Callable[[Any], Coroutine[Any, Any, Any]]] = {
    "open": lambda store: store.aopen(),
    "add": lambda store: store.aadd_texts(["a"]),
    "search": lambda store: store.asimilarity_search("a"),
    "get": lambda store: store.aget_by_ids(["a"]),
    "delete": lambda store: store.adelete(["a"]),
    "drop": lambda store: store.adrop(),
}


def tasks_on_the_io_loop() -> list[str]:
    """Return what still runs on the I/O loop."""
    return [str(task) for task in asyncio.all_tasks(portal()._loop) if not task.done()]


async def test_a_closed_store_says_so(shared: MilvusStore) -> None:
    """Every call of a closed store, or of a view of it, raises StoreClosedError."""
    view = shared.scoped(tenant="a")
    await shared.acount()
    await shared.aclose()
    for call in CALLS.values():
        with pytest.raises(StoreClosedError, match="closed"):
            await call(shared)
    for call in (
        view.count,
        shared.open,
        lambda: shared.client,
        lambda: shared.aclient,
        shared.__enter__,
    ):
        with pytest.raises(StoreClosedError, match="closed"):
            call()


def test_threads_share_the_client_that_the_store_closes(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """There is one blocking client for all callers, and it ends with the store."""
    store = make_store(collection_name=shared.collection_name)
    first, *others = in_threads(*[lambda: store.client] * 4)
    assert all(other is first for other in others)
    assert isinstance(first.list_collections(), list)
    store.close()
    with pytest.raises(MilvusException, match="connection"):
        first.list_collections()


async def test_an_async_client_opens_the_store(own_uri: str, collection_name: str) -> None:
    """It serves its caller's loop, is the caller's to close, and holds no file by itself."""
    arguments = {"collection_name": collection_name, "connection_args": {"uri": own_uri}}
    store = MilvusStore(embeddings(), **arguments)
    client = await asyncio.to_thread(lambda: store.aclient)
    assert client is not store.aclient
    assert collection_name not in await client.list_collections()
    await client.close()
    assert await store.acount() == 0
    await store.aclose()
    if own_uri.endswith(".db"):
        require_free(own_uri)


async def test_closing_twice_is_fine(make_store: MakeStore, shared: MilvusStore) -> None:
    """A store can be closed again, by either face, by many at once, or without being opened."""
    await shared.acount()
    await shared.aclose()
    await shared.aclose()
    shared.close()
    stores = [make_store(collection_name=shared.collection_name) for _ in range(3)]
    stores[0].close()
    stores[0].close()
    await stores[1].aclose()
    await stores[2].acount()
    await asyncio.to_thread(in_threads, *[stores[2].close] * 4)


async def test_calls_under_way_hear_that_the_store_was_closed(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Searches of this loop, another loop, a plain thread and a view get StoreClosedError."""
    made = Made(Stuck)
    await shared.aadd_texts(["closing"], ids=["closing"])
    store = make_store(collection_name=shared.collection_name, transport=made)
    view = store.scoped(tenant="a")
    await store.aopen()
    calls = [
        asyncio.create_task(store.asimilarity_search("closing")),
        asyncio.create_task(view.asimilarity_search("closing")),
        asyncio.create_task(asyncio.to_thread(store.similarity_search, "closing")),
        asyncio.create_task(
            asyncio.to_thread(lambda: asyncio.run(store.asimilarity_search("closing")))
        ),
    ]
    for _ in calls:
        assert await asyncio.to_thread(made.one.began.acquire, timeout=BOUND)
    await store.aclose()
    for call in calls:
        with pytest.raises(StoreClosedError, match="closed during the call"):
            await call
    assert tasks_on_the_io_loop() == []


async def test_a_call_that_waits_for_its_model_hears_it_too(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Closing ends a call whose embedding model does not answer."""
    await shared.aadd_texts(["closing"], ids=["closing"])
    model = Hanging()
    store = make_store(model, collection_name=shared.collection_name)
    search = asyncio.create_task(store.asimilarity_search("closing"))
    assert await happens(model.asked)
    await asyncio.to_thread(store.close)
    with pytest.raises(StoreClosedError):
        await search
    assert model.cancelled.is_set()


async def test_a_store_can_be_closed_while_it_opens() -> None:
    """A call that still waits for the connection hears it, and nothing is left."""
    with half_open_server() as uri, no_new_threads():
        store = MilvusStore(embeddings(), connection_args={"uri": uri})
        opening = asyncio.create_task(store.aopen())
        await asyncio.sleep(0)  # it has begun
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await opening
        del opening
        assert tasks_on_the_io_loop() == []


def test_closing_leaves_nothing_behind(own_uri: str, collection_name: str) -> None:
    """No thread, no task and no lock is left of a store that wrote, searched and gave clients."""

    async def use(store: MilvusStore) -> None:
        async with store:
            await asyncio.gather(*(store.asimilarity_search("a") for _ in range(20)))
            assert len(store.client.list_collections()) >= 1

    with no_new_threads():
        arguments: dict[str, Any] = {
            "collection_name": collection_name,
            "connection_args": {"uri": own_uri},
        }
        with MilvusStore(embeddings(), **arguments) as store:
            store.add_texts(["a", "b"])
            store.scoped(tenant="a").count()
        asyncio.run(use(MilvusStore(embeddings(), **arguments)))
        assert tasks_on_the_io_loop() == []
    if own_uri.endswith(".db"):
        require_free(own_uri)


@ON_SERVER
async def test_closing_ends_the_connections(make_store: MakeStore, shared: MilvusStore) -> None:
    """The server sees every connection end, also after calls that failed."""
    with proxy_of(shared._connection_args["uri"]) as proxy:
        store = make_store(
            collection_name=shared.collection_name, connection_args={"uri": proxy.uri}
        )
        async with store:
            await store.aadd_texts(["closing"], ids=["closing"])
            with pytest.raises(DeadlineError):
                await store.asimilarity_search("closing", timeout=1e-6)
            await store.acount()
        assert proxy.connections
        proxy.require_no_connection()


async def test_a_store_that_could_not_be_entered_is_closed(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """When `with` raises the caller can't close the store: it has closed itself."""
    await shared.aadd_texts(["closing"], ids=["closing"])
    one, two = (
        make_store(embeddings(DIM + 1), collection_name=shared.collection_name) for _ in range(2)
    )
    with pytest.raises(DimensionError):
        async with one:
            pytest.fail("The model does not fit.")
    with pytest.raises(DimensionError), two:
        pytest.fail("The model does not fit.")
    for store in (one, two):
        with pytest.raises(StoreClosedError):
            await store.acount()


@ON_LITE
def test_a_first_call_that_ran_out_of_time_leaves_no_lock(own_uri: str) -> None:
    """Closing frees the file also if the deadline passed while it was being opened."""
    store = MilvusStore(embeddings(), connection_args={"uri": own_uri})
    for _ in range(3):
        with pytest.raises(DeadlineError):
            store.count(timeout=1e-6)
    store.close()
    require_free(own_uri)


@ON_LITE
async def test_closing_while_the_file_opens_leaves_no_lock(own_uri: str) -> None:
    """A file that was being opened when the store was closed is freed."""
    store = MilvusStore(embeddings(), connection_args={"uri": own_uri})
    counting = asyncio.create_task(store.acount())
    await asyncio.sleep(0)  # it has begun
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await counting
    require_free(own_uri)


@ON_LITE
async def test_of_two_stores_on_a_file_one_can_close(make_store: MakeStore, own_uri: str) -> None:
    """The file stays open for the other store, and is freed when that one closes too."""
    one = make_store(connection_args={"uri": own_uri})
    two = make_store(connection_args={"uri": own_uri}, collection_name="two")
    await asyncio.gather(
        one.aadd_texts(["one"], ids=["1"]),
        two.aadd_texts(["two"], ids=["2"]),
    )
    await one.aclose()
    assert texts(await two.asimilarity_search("two")) == ["two"]
    await two.aadd_texts(["three"], ids=["3"])
    await two.aclose()
    require_free(own_uri)


@ON_LITE
async def test_a_file_that_was_open_before_stays_open(make_store: MakeStore, own_uri: str) -> None:
    """A raw client's file goes on after a store in the same process used it and was closed."""
    client = MilvusClient(own_uri)
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["raw"], ids=["1"])
    await store.aclose()
    rows = client.query(store.collection_name, ids=["1"], output_fields=["text"])
    assert [row["text"] for row in rows] == ["raw"]
    client.close()


async def test_closing_a_view_leaves_the_store_open(shared: MilvusStore) -> None:
    """A view that was closed refuses calls; its parent, its siblings and its children go on."""
    await shared.aadd_texts(["view"], ids=["view"])
    view, sibling = shared.scoped(tenant="a"), shared.scoped(tenant="b")
    child = view.scoped(user="u")
    await view.acount()
    await view.aclose()
    sibling.close()
    for closed in (view, sibling):
        with pytest.raises(StoreClosedError):
            await closed.acount()
    assert await child.acount() == 0
    assert texts(await shared.aget_by_ids(["view"])) == ["view"]


def test_a_forgotten_store_closes_itself(tmp_path: pathlib.Path) -> None:
    """A store without references leaves no thread and no lock."""
    path = str(tmp_path / "forgotten.db")
    with no_new_threads():
        store = MilvusStore(embeddings(), connection_args={"uri": path})
        store.add_texts(["a"])
        view = store.scoped(tenant="a")
        del store
        gc.collect()
        assert view.count() == 0
        del view
    require_free(path)


async def test_a_call_that_another_thread_overtakes_with_close_ends(
    make_store: MakeStore, shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that has begun, and not reached the I/O loop when that stops, is not left waiting."""
    await shared.acount()
    await shared.aclose()
    store = make_store(collection_name=shared.collection_name)
    await store.aopen()
    entered, closed = threading.Event(), threading.Event()
    enter = Lifecycle._enter

    def enter_slowly(lifecycle: Lifecycle[Any], *, hold: bool) -> Any:
        collection = enter(lifecycle, hold=hold)
        entered.set()
        assert closed.wait(BOUND)
        return collection

    monkeypatch.setattr(Lifecycle, "_enter", enter_slowly)
    counting = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(store.acount())))
    assert await happens(entered)
    await store.aclose()
    closed.set()
    with pytest.raises(StoreClosedError):
        await asyncio.wait_for(counting, BOUND)


async def test_closing_waits_for_what_can_not_be_cancelled(
    own_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that was about to open the file when the store closed does not do so later."""
    starting, go_on = threading.Event(), threading.Event()
    connect = Connection.sync_client

    def slow(*args: Any, **kwargs: Any) -> MilvusClient:
        starting.set()
        assert go_on.wait(BOUND)
        return connect(*args, **kwargs)

    monkeypatch.setattr(Connection, "sync_client", slow)
    with no_new_threads():
        store = MilvusStore(embeddings(), connection_args={"uri": own_uri})
        counting = asyncio.create_task(store.acount())
        assert await happens(starting)
        closing = asyncio.create_task(store.aclose())
        with pytest.raises(StoreClosedError):
            await counting
        go_on.set()
        await closing
        del counting, closing
    if own_uri.endswith(".db"):
        require_free(own_uri)


def test_other_threads_calls_end_when_the_store_closes(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Threads that go on calling while a store is closed all come back."""
    shared.add_texts(["ends"], ids=["ends"])
    store = make_store(collection_name=shared.collection_name)
    store.open()
    going = threading.Barrier(5)

    def call_until_closed() -> int:
        going.wait(BOUND)
        for number in range(10_000):
            try:
                store.get_by_ids(["ends"])
            except StoreClosedError:
                return number
        raise AssertionError("The store was never closed.")

    async def acall_until_closed() -> int:
        going.wait(BOUND)
        for number in range(10_000):
            try:
                await store.aget_by_ids(["ends"])
            except StoreClosedError:
                return number
        raise AssertionError("The store was never closed.")

    def close() -> int:
        going.wait(BOUND)
        store.get_by_ids(["ends"])
        store.close()
        return 0

    run_there = [lambda: asyncio.run(acall_until_closed())] * 2
    in_threads(close, *[call_until_closed] * 2, *run_there)


async def test_closing_goes_on_when_its_caller_gives_up(
    own_uri: str, collection_name: str
) -> None:
    """A cancelled `aclose` still frees all, and the next one waits for it."""
    made = Made(Lingering)
    arguments = {"collection_name": collection_name, "connection_args": {"uri": own_uri}}
    store = MilvusStore(embeddings(), transport=made, **arguments)
    await store.acount()
    closing = asyncio.create_task(store.aclose())
    assert await happens(made.one.ending)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(StoreClosedError):
        await store.acount()
    again = [
        asyncio.create_task(store.aclose()),
        asyncio.create_task(asyncio.to_thread(store.close)),
    ]
    made.one.let_go.set()
    await asyncio.gather(*again)
    assert tasks_on_the_io_loop() == []
    if own_uri.endswith(".db"):
        require_free(own_uri)


async def test_a_failed_end_leaves_nothing_open(own_uri: str, collection_name: str) -> None:
    """An error of the transport's `aclose` reaches the caller, and the file is free."""
    made = Made(lambda connection: Lingering(connection, OSError("no end")))
    arguments = {"collection_name": collection_name, "connection_args": {"uri": own_uri}}
    store = MilvusStore(embeddings(), transport=made, **arguments)
    await store.acount()
    made.one.let_go.set()
    for _ in range(2):
        with pytest.raises(OSError, match="no end"):
            await store.aclose()
    if own_uri.endswith(".db"):
        require_free(own_uri)
