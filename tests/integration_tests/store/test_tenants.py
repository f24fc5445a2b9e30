"""Tenants of one process: none takes an id over from another, or fails because of another."""

import asyncio
import concurrent.futures
import functools
import itertools
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import DeadlineError, InvalidInputError, ScopeError
from milvus_tools.transport.batching import MAX_SHARED_KEYS, BatchedTransport
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.requests import MAX_KEY_WEIGHT, DeleteRequest, QueryRequest
from tests.helpers.support import ON_LITE, embeddings, make_collection, texts
from tests.helpers.threads import BOUND
from tests.helpers.transports import Made, Recording

MakeStore = Callable[..., MilvusStore]


def spellings(uri: str, folder: pathlib.Path) -> list[str]:
    """Return other ways to write the address of a server, or of a Milvus Lite file."""
    if "://" in uri:
        port = urlsplit(uri).port
        names = ["http://127.0.0.1", "http://localhost", "tcp://LocalHost"]
        return [*(f"{name}:{port}" for name in names), f"http://127.0.0.1:{port}/"]
    link = folder / "link.db"
    link.symlink_to(uri)
    parent, name = os.path.split(uri)
    served = server_manager_instance.start_and_get_uri(uri)
    assert served is not None
    return [str(link), os.path.relpath(uri), f"{parent}/./x/../{name}", served]


async def winners_of(id_: str, tenants: Sequence[MilvusStore]) -> list[str]:
    """Add one id as all tenants at the same time; return the texts of those who succeed."""

    async def add(text: str, tenant: MilvusStore) -> list[str]:
        try:
            await tenant.aadd_texts([text], ids=[id_])
        except ScopeError:
            return []
        return [text]

    calls = [add(f"of tenant {number}", tenant) for number, tenant in enumerate(tenants)]
    return list(itertools.chain.from_iterable(await asyncio.gather(*calls)))


async def require_one_winner(
    shared: MilvusStore, test: str, stores: Sequence[MilvusStore], count: int = 100
) -> None:
    """Demand that of tenants who add one new id at the same time exactly one succeeds."""
    for store in stores:
        await store.aopen()
    tenants = [store.scoped(test=test, tenant=str(one)) for one, store in enumerate(stores)]
    ids = [f"{test} {number}" for number in range(count)]
    winners = await asyncio.gather(*(winners_of(id_, tenants) for id_ in ids))
    assert [len(one) for one in winners] == [1] * count
    stored = texts(await shared.aget_by_ids(ids))
    assert stored == [one for (one,) in winners]


async def test_r04_an_id_has_one_owner_however_the_address_is_written(
    make_store: MakeStore, shared: MilvusStore, uri: str, tmp_path: pathlib.Path
) -> None:
    """Stores of one process, with several spellings of one address, share the lock of an id."""
    await shared.aadd_texts(["r04"], ids=["r04"])
    stores = [
        make_store(connection_args={"uri": one}, collection_name=shared.collection_name)
        for one in spellings(uri, tmp_path)
    ]
    await require_one_winner(shared, "r04", stores)


async def test_r04_an_id_has_one_owner_under_every_name_of_the_collection(
    make_store: MakeStore, shared: MilvusStore, client: MilvusClient
) -> None:
    """An alias of the collection is a further spelling of it."""
    await shared.aadd_texts(["r04"], ids=["r04"])
    alias = f"{shared.collection_name}_alias"
    client.create_alias(shared.collection_name, alias)
    try:
        stores = [shared, make_store(collection_name=alias)]
        await require_one_winner(shared, "r04 alias", stores)
    finally:
        client.drop_alias(alias)


async def test_views_within_scoped_ids_take_no_id_over(shared: MilvusStore) -> None:
    """Views that are narrowed from one scope share its keys; each id has one owner there, too."""
    outer = shared.scoped(test="within scoped ids", scoped_ids=True)
    first, second = (outer.scoped(tenant=tenant) for tenant in ("first", "second"))
    await first.aadd_texts(["of the first"], ids=["1"])
    await outer.aadd_texts(["of the outer one"], ids=["2"])
    for id_ in ("1", "2"):
        with pytest.raises(ScopeError, match="taken"):
            await second.aupsert(documents=[Document("of the second", id=id_)])
    assert await second.acount() == 0
    assert texts(await outer.aget_by_ids(["1", "2"])) == ["of the first", "of the outer one"]
    await first.aupsert(documents=[Document("again of the first", id="1")])
    assert texts(await first.aget_by_ids(["1"])) == ["again of the first"]


def batching(connection: Connection) -> BatchedTransport:
    """Return a transport that batches what a recording one sends."""
    return BatchedTransport(Recording(connection), lite=connection.lite)


def key_requests(sent: Sequence[object]) -> list[QueryRequest | DeleteRequest]:
    """Return the requests that are by key."""
    requests = [one for one in sent if isinstance(one, QueryRequest | DeleteRequest)]
    return [one for one in requests if one.keys is not None]


def size_of(request: QueryRequest | DeleteRequest) -> int:
    """Return how many bytes the request's expression has."""
    assert request.keys is not None
    return len(request.keys.within(request.filter).encode())


def long_ids(prefix: str, count: int) -> list[str]:
    """Return ids of 60 kB."""
    return [f"{prefix}{number:04}".ljust(60_000, "x") for number in range(count)]


@pytest.mark.parametrize("rules", [{}, {"partition_key_field": "tenant", "num_partitions": 2}])
async def test_r05_requests_by_key_are_bounded_in_bytes(
    make_store: MakeStore, rules: dict[str, Any]
) -> None:
    """Whatever reads or deletes by key sends a few long ids per request."""
    made = Made(Recording)
    store = make_store(transport=made, **rules).scoped(tenant="a")
    ids = long_ids("r05", 8)
    for _ in range(2):
        await store.aadd_texts(["text"] * len(ids), ids=ids)
    assert [found.id for found in await store.aget_by_ids(ids)] == ids
    assert (await store.adelete(ids)).count == len(ids)
    requests = key_requests(made.one.sent)
    assert {type(one) for one in requests} == {QueryRequest, DeleteRequest}
    assert max(map(size_of, requests)) <= MAX_KEY_WEIGHT + len('(tenant == "a") and (pk in [])')


async def test_r05_long_ids_of_one_tenant_do_not_fail_another(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Requests that tenants share are bounded in bytes, so one can't make another's fail."""
    await shared.aadd_texts(["r05"], ids=["r05"])
    made = Made(batching)
    store = make_store(transport=made, collection_name=shared.collection_name)
    await store.aopen()
    a, b = store.scoped(test="r05", tenant="a"), store.scoped(test="r05", tenant="b")
    ids = long_ids("r05 a", 24)
    calls = (b.aadd_texts(["b"], ids=[f"r05 b {number}"]) for number in range(20))
    await asyncio.gather(a.aadd_texts(["a"] * len(ids), ids=ids), *calls)
    assert (await a.acount(), await b.acount()) == (len(ids), 20)
    await asyncio.gather(a.adelete(ids), b.adelete(expr="test == 'r05'"))
    assert (await a.acount(), await b.acount()) == (0, 0)
    requests = key_requests(made.one._below.sent)
    assert max(map(size_of, requests)) <= MAX_SHARED_KEYS + len("pk in []")


async def test_r05_an_id_that_does_not_fit_is_refused_before_anything_is_sent(
    make_store: MakeStore, client: MilvusClient, collection_name: str
) -> None:
    """Milvus is not asked about an id that is longer than the primary key may be."""
    make_collection(client, collection_name)
    made = Made(Recording)
    store = make_store(transport=made)
    await store.aopen()
    for scoped in (store, store.scoped(tenant="a")):
        add = functools.partial(scoped.aadd_texts, ["text"])
        for call in (scoped.aget_by_ids, scoped.adelete, lambda ids, add=add: add(ids=ids)):
            with pytest.raises(InvalidInputError, match="501 bytes"):
                await call(["x" * 501])
    assert made.one.sent == []


class Blocked(Embeddings):
    """A model without async methods, whose queries block their threads until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embeddings().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        assert self.let_go.wait(2 * BOUND)
        return embeddings().embed_query(text)


class BlockedInside(Blocked):
    """A model whose async method uses the threads of the loop that it runs on."""

    async def aembed_query(self, text: str) -> list[float]:
        return await asyncio.to_thread(self.embed_query, text)


@pytest.fixture(params=[Blocked, BlockedInside])
def blocked(request: pytest.FixtureRequest) -> Iterator[Blocked]:
    """A model that hangs until the test is over."""
    model = request.param()
    yield model
    model.let_go.set()


@ON_LITE
@pytest.mark.parametrize("rules", [{}, {"batching": False}])
async def test_r09_a_model_that_hangs_holds_up_no_other_store(
    make_store: MakeStore,
    shared: MilvusStore,
    own_uri: str,
    blocked: Blocked,
    rules: dict[str, Any],
) -> None:
    """Calls that were given up keep threads of that model alone: all else goes on."""
    await shared.aadd_texts(["r09", "other"], ids=["r09", "other"])
    hanging = make_store(blocked, collection_name=shared.collection_name, **rules)
    await hanging.acount()
    searches = (hanging.asimilarity_search(f"{number}", timeout=0.5) for number in range(64))
    answers = await asyncio.gather(*searches, return_exceptions=True)
    assert {type(answer) for answer in answers} == {DeadlineError}

    other = make_store(connection_args={"uri": own_uri}, **rules)
    assert await other.aadd_texts(["first", "second"], ids=["1", "2"]) == ["1", "2"]
    assert len(await other.amax_marginal_relevance_search("first", k=2)) == 2
    assert texts(await other.aget_by_ids(["1"])) == ["first"]
    await other.adrop(timeout=10)
    vector = embeddings().embed_query("r09")
    assert len(await hanging.amax_marginal_relevance_search_by_vector(vector, k=2)) == 2
    assert texts(await hanging.aget_by_ids(["r09"])) == ["r09"]
    await hanging.aclose()


async def test_r09_what_makes_a_model_and_hangs_holds_up_no_other_store(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The function that makes a model runs in threads of its own, too."""
    let_go = threading.Event()

    def make() -> Embeddings:
        assert let_go.wait(2 * BOUND)
        return embeddings()

    hanging = [make_store(make, collection_name=shared.collection_name) for _ in range(40)]
    searches = (store.asimilarity_search("made", timeout=5) for store in hanging)
    try:
        answers = await asyncio.gather(*searches, return_exceptions=True)
        assert {type(answer) for answer in answers} == {DeadlineError}
        other = make_store(embeddings, collection_name=shared.collection_name)
        assert await other.aadd_texts(["made"], ids=["r09 made"]) == ["r09 made"]
    finally:
        let_go.set()


async def test_r09_a_drop_ends_by_its_deadline(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread may go on; what is written after that waits for it, and stays."""
    dropping, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    drop = MilvusClient.drop_collection

    def slow(*args: Any, **kwargs: Any) -> Any:
        dropping.set()
        go_on.wait(BOUND)
        ended.set()
        return drop(*args, **{**kwargs, "timeout": BOUND})

    store = make_store()
    await store.aadd_texts(["old"], ids=["1"])
    with monkeypatch.context() as patched:
        patched.setattr(MilvusClient, "drop_collection", slow)
        with pytest.raises(DeadlineError):
            await store.adrop(timeout=0.5)
    assert dropping.is_set()
    assert not ended.is_set()
    go_on.set()
    await store.adrop()
    await store.aadd_texts(["new"], ids=["2"])
    assert texts(await store.aget_by_ids(["1", "2"])) == ["new"]


async def test_r09_a_drop_that_could_not_begin_never_comes(make_store: MakeStore) -> None:
    """A drop that waits for a thread until its deadline leaves the collection as it is."""
    store = make_store()
    await store.aadd_texts(["kept"], ids=["1"])
    let_go = threading.Event()
    threads = portal().waiting
    hanging = [threads.submit(let_go.wait) for _ in range(threads.executor._max_workers)]
    try:
        with pytest.raises(DeadlineError):
            await store.adrop(timeout=0.5)
    finally:
        let_go.set()
    await asyncio.to_thread(concurrent.futures.wait, hanging)
    await store.aclose()
    again = make_store()
    assert texts(await again.aget_by_ids(["1"])) == ["kept"]


async def test_r25_tenants_that_milvus_lite_takes_for_one_lock_no_one_out(
    make_store: MakeStore, backend: str
) -> None:
    """The first to write keeps working, the other is refused with a reason; a server has both."""
    store = make_store()
    await store.aadd_texts(["of no tenant"], ids=["r25"])
    yes, one = store.scoped(r25=True), store.scoped(r25=1)

    async def write(view: ScopedMilvusStore) -> str:
        try:
            (id_,) = await view.aadd_texts(["text"], ids=[f"r25 {view.scope['r25']}"])
        except ScopeError as error:
            return str(error)
        return id_

    written = await asyncio.gather(write(yes), write(one))
    assert written[0] == "r25 True"
    if backend == "server":
        assert written[1] == "r25 1"
        assert [found.id for found in await one.asimilarity_search("text")] == ["r25 1"]
    else:
        assert "use strings" in written[1]
        with pytest.raises(ScopeError, match="use strings"):
            await make_store().scoped(r25=1).aadd_texts(["text"])
        with pytest.raises(ScopeError, match="use strings"):
            await one.asimilarity_search("text")
    assert [found.id for found in await yes.asimilarity_search("text")] == ["r25 True"]
    assert (await yes.acount(), (await yes.adelete(["r25 True"])).count) == (1, 1)
    assert await write(one) == "r25 1"
