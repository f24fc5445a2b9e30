"""Where a store connects: `connection_args`, and the database in them."""

import pathlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from milvus_tools import MilvusStore
from milvus_tools.errors import MilvusError, MilvusToolsError
from tests.conftest import new_name
from tests.helpers.support import ON_SERVER, embeddings, raw_client, texts

MakeStore = Callable[..., MilvusStore]


async def test_r11_a_database_that_is_missing_is_told(make_store: MakeStore, uri: str) -> None:
    """No call takes it for a database without the collection."""
    for call in (
        lambda store: store.aopen(),
        lambda store: store.acount(),
        lambda store: store.asimilarity_search("q"),
        lambda store: store.aget_by_ids(["1"]),
        lambda store: store.aadd_texts(["a"]),
        lambda store: store.adelete(["1"]),
        lambda store: store.adrop(),
    ):
        store = make_store(connection_args={"uri": uri, "db_name": "typo"})
        with pytest.raises(
            MilvusError, match="database does not exist: correct db_name"
        ) as raised:
            await call(store)
        assert "typo" not in str(raised.value)


@ON_SERVER
async def test_r11_a_database_in_the_uri_is_looked_for_too(
    make_store: MakeStore, uri: str
) -> None:
    """`http://…/typo` names one as `db_name` does."""
    with pytest.raises(MilvusError, match="database does not exist"):
        await make_store(connection_args={"uri": f"{uri}/typo"}).acount()
    assert await make_store(connection_args={"uri": f"{uri}/default"}).acount() == 0


async def test_r11_a_database_comes_and_goes_under_an_open_store(
    make_store: MakeStore, uri: str
) -> None:
    """A store goes on once its database is made, and says so when it is gone."""
    name = new_name()
    store = make_store(connection_args={"uri": uri, "db_name": name})
    with pytest.raises(MilvusError, match="database does not exist"):
        await store.aopen()
    client = raw_client(uri)
    client.create_database(name)
    try:
        assert await store.acount() == 0
        await store.aadd_texts(["there"], ids=["1"])
        assert texts(await store.aget_by_ids(["1"])) == ["there"]
        await store.adrop()
    finally:
        client.drop_database(name)
        client.close()
    with pytest.raises(MilvusError, match="database does not exist"):
        await store.acount()


@ON_SERVER
@pytest.mark.parametrize("form", ["host", "address", "none"])
async def test_r21_a_server_is_found_by_host_and_port(
    make_store: MakeStore, shared: MilvusStore, uri: str, form: str
) -> None:
    """In each form that pymilvus has had, the server is asked that is named."""
    await shared.aadd_texts([f"by {form}"], ids=[f"r21 {form}"])
    place = urlsplit(uri)
    arguments: dict[str, Any] = {
        "host": {"host": place.hostname, "port": place.port},
        "address": {"address": f"{place.hostname}:{place.port}", "token": None},
        "none": {"uri": None, "host": place.hostname, "port": str(place.port), "db_name": None},
    }[form]
    store = make_store(collection_name=shared.collection_name, connection_args=arguments)
    assert texts(await store.aget_by_ids([f"r21 {form}"])) == [f"by {form}"]


async def test_r21_a_proxy_for_other_machines_is_not_used(
    make_store: MakeStore,
    shared: MilvusStore,
    own_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`http_proxy` breaks neither Milvus Lite nor a server on this machine."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    store = make_store(
        collection_name=shared.collection_name, connection_args={"uri": own_uri}, timeout=20
    )
    await store.aadd_texts(["direct"], ids=["r21 proxy"])
    assert texts(await store.aget_by_ids(["r21 proxy"])) == ["direct"]
    assert store.client.has_collection(store.collection_name)


def test_r21_a_path_object_opens_milvus_lite(tmp_path: pathlib.Path) -> None:
    """It is taken as its text."""
    with MilvusStore(embeddings(), connection_args={"uri": tmp_path / "path.db"}) as store:
        store.add_texts(["a"])
        assert store.count() == 1
    assert (tmp_path / "path.db").exists()


async def test_r21_an_argument_of_the_wrong_type_is_an_error_of_ours(uri: str) -> None:
    """Also where pymilvus checks it."""
    store = MilvusStore(embeddings(), connection_args={"uri": uri, "secure": "yes"})
    with pytest.raises(MilvusToolsError):
        await store.aopen()
    await store.aclose()
