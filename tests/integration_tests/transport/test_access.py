"""A server that asks its users for a password, and gives them privileges."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import AccessError, MilvusError
from tests.helpers.milvus_server import ROOT, MilvusServer
from tests.helpers.support import embeddings, texts

pytestmark = pytest.mark.server
NAME = "guarded"
PASSWORD = "Passw0rd"
READER, STRANGER = "reader", "stranger"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """The server, with one collection and two users."""
    folder = pathlib.Path(tmp_path_factory.mktemp("guarded"))
    with MilvusServer(folder, asks_users=True, quick=True).running() as server:
        with store_of(server, token=ROOT) as store:
            store.add_texts(["owl", "kite"], ids=["owl", "kite"])
        with root_of(server) as root:
            for user in (READER, STRANGER):
                root.create_user(user, PASSWORD)
            root.create_role("readers")
            root.grant_role(READER, "readers")
            for privilege in ("Search", "Query"):
                root.grant_privilege("readers", "Collection", privilege, "*")
        yield server


def store_of(server: MilvusServer, name: str = NAME, **arguments: Any) -> MilvusStore:
    """Return a store for a user."""
    return MilvusStore(embeddings(), name, connection_args={"uri": server.uri, **arguments})


def root_of(server: MilvusServer) -> contextlib.closing[MilvusClient]:
    """Return a raw client that may do everything."""
    return contextlib.closing(MilvusClient(server.uri, token=ROOT, dedicated=True))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"token": "root:wrong"},
        {"token": "no-token"},
        {"user": "nobody", "password": PASSWORD},
        {"user": READER},
        {"token": "root:wrong", "db_name": "default"},
    ],
)
async def test_r20_a_user_who_is_refused_is_told_so(
    server: MilvusServer, arguments: dict[str, Any]
) -> None:
    """A token that is missing or wrong is no failure of the server, at whichever call it shows."""
    for call in (
        lambda store: store.aopen(),
        lambda store: store.acount(),
        lambda store: store.asimilarity_search("owl"),
        lambda store: store.aadd_texts(["new"]),
        lambda store: store.adrop(),
    ):
        store = store_of(server, **arguments)
        with pytest.raises(AccessError, match="refused the user: the token, or the user"):
            await call(store)
        await store.aclose()


async def test_r20_a_missing_privilege_is_named(server: MilvusServer) -> None:
    """Each call names what its user lacks."""
    async with store_of(server, user=STRANGER, password=PASSWORD) as store:
        for call, privilege in (
            (store.asimilarity_search("owl"), "Search"),
            (store.acount(), "Query"),
            (store.aget_by_ids(["owl"]), "Query"),
            (store.aadd_texts(["new"], ids=["new"]), "Upsert"),
            (store.adelete(["owl"]), "Query"),
            (store.adrop(), "DropCollection"),
        ):
            with pytest.raises(AccessError, match=f"lacks the privilege {privilege}\\."):
                await call
    async with store_of(server, "not_there", user=STRANGER, password=PASSWORD) as store:
        with pytest.raises(AccessError, match="lacks the privilege CreateCollection"):
            await store.aadd_texts(["new"])


@pytest.mark.parametrize("more", [{}, {"partition_names": ["_default"]}])
async def test_r20_who_may_search_and_query_needs_no_privilege_to_load(
    server: MilvusServer, more: dict[str, Any]
) -> None:
    """A collection that another user has loaded is read; a write names what it needs."""
    arguments = {"uri": server.uri, "user": READER, "password": PASSWORD}
    async with MilvusStore(embeddings(), NAME, connection_args=arguments, **more) as store:
        assert texts(await store.asimilarity_search("owl", k=1)) == ["owl"]
        assert len(await store.amax_marginal_relevance_search("owl", k=2)) == 2
        assert texts(await store.aget_by_ids(["kite"])) == ["kite"]
        assert await store.acount() == 2
        with pytest.raises(AccessError, match=r"lacks the privilege Delete\."):
            await store.adelete(["owl"])
        assert await store.acount() == 2


async def test_r20_a_collection_that_no_one_loaded_names_the_privilege_to_load(
    server: MilvusServer,
) -> None:
    """The reader is told what is missing, and reads once another user has loaded it."""
    name = "released"
    async with store_of(server, name, token=ROOT) as owner:
        await owner.aadd_texts(["owl"], ids=["owl"])
        with root_of(server) as root:
            root.release_collection(name)
        reader = store_of(server, name, user=READER, password=PASSWORD)
        with pytest.raises(AccessError, match=r"lacks the privilege Load\."):
            await reader.aopen()
        assert await owner.acount() == 1
        assert await reader.acount() == 1
        await reader.aclose()
        await owner.adrop()


async def test_r11_a_missing_database_is_told_to_a_user_of_few_privileges(
    server: MilvusServer,
) -> None:
    """It needs no privilege but those that all users have."""
    store = store_of(server, user=READER, password=PASSWORD, db_name="typo")
    with pytest.raises(MilvusError, match="database does not exist"):
        await store.aopen()
    await store.aclose()
