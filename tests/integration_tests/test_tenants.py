"""Tenants of one process: none takes an id over from another, or fails because of another."""

import asyncio
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.connection import Connection
from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.store.batched import MAX_SHARED_KEYS, BatchedTransport
from milvus_tools.store.requests import MAX_KEY_WEIGHT, DeleteRequest, QueryRequest
from tests.probes import Made, Recording, texts
from tests.support import make_collection

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
    requests = key_requests(made.one._direct.sent)
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
