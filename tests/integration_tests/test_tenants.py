"""Tenants of one process: none takes an id over from another, or fails because of another."""

import asyncio
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import ScopeError
from tests.probes import texts

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
