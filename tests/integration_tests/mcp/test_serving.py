"""The tools over HTTP: tokens, tenants, and requests that no client should send."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from mcp import types

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError
from milvus_tools.mcp import http_app, serve, serving
from tests.helpers.fake_embeddings import FakeModel, Held
from tests.helpers.mcp_clients import INITIALIZE, PlainClient, call, over_http, served, texts

only_lite = pytest.mark.parametrize("backend", ["lite"], indirect=True)
ANN, GUS = "a" * 16, "g" * 16
TOKENS = {ANN: {"tenant": "acme"}, GUS: {"tenant": "globex"}}
SEARCH = call("milvus_search", query="owls")
NESTED = call("milvus_search", query="owls", filters="…")
HOSTILE: dict[str, tuple[Any, int]] = {
    "deep": ("[" * 100_000, 500),  # the SDK's answer to what its parser raises
    "bytes": (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}', 500),
    "cut": ("{", 400),
    "batch": ([SEARCH, SEARCH], 400),
    "version": ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, 400),
    "huge": (call("milvus_search", query="x" * 5_000_000), 413),
    "long": (call("milvus_search", query="x" * 3_000_000), 200),
    "nested": (json.dumps(NESTED).replace('"\\u2026"', "[" * 900 + "]" * 900), 200),
    "list": ({**SEARCH, "params": {"name": "milvus_search", "arguments": ["owls"]}}, 200),
    "name": ({**SEARCH, "params": {"name": {"a": 1}}}, 200),
    "method": ({**SEARCH, "method": "collection/drop"}, 200),
}


@pytest.fixture
async def ann(store: MilvusStore) -> AsyncIterator[PlainClient]:
    """A session of Ann's, whose tenant has a document."""
    await store.scoped(tenant="acme").aadd_documents([Document("Owls hunt.", id="owl")])
    async with served(store, tokens=TOKENS) as url, httpx.AsyncClient(timeout=60) as http:
        yield await PlainClient(http, url, ANN).open()


def other(client: PlainClient, token: str) -> PlainClient:
    """Return a client with another token, and no session."""
    return PlainClient(client._http, client._url, token)


async def test_two_tenants_never_see_each_other(store: MilvusStore) -> None:
    """At the same time, through all four tools, the resource and the prompt."""

    async def work(url: str, token: str, tenant: str) -> None:
        async with over_http(url, token) as client:
            text = f"A secret of {tenant}."
            documents = [{"id": tenant, "text": text, "metadata": f'{{"of": "{tenant}"}}'}]
            wrote = await client.call_tool("milvus_upsert", {"documents": documents})
            assert not wrote.isError, wrote.content
            found = await client.call_tool("milvus_search", {"query": "secret", "k": 20})
            listed = await client.call_tool("milvus_search_by_metadata", {"limit": 50})
            assert texts(found) == texts(listed) == [text]
            foreign = {"ids": ["acme", "globex"], "dry_run": True}
            tried = await client.call_tool("milvus_delete", foreign)
            assert (tried.structuredContent or {})["ids"] == [tenant]
            read = await client.read_resource((await client.list_resources()).resources[0].uri)
            assert isinstance(read.contents[0], types.TextResourceContents)
            assert "It has 1 document." in read.contents[0].text

    settings = {"tokens": TOKENS, "allow_writes": True, "allow_dynamic": True}
    async with served(store, **settings) as url:
        await asyncio.gather(work(url, ANN, "acme"), work(url, GUS, "globex"))


@only_lite
async def test_a_session_is_its_tokens_own(ann: PlainClient) -> None:
    """To another token it is as absent as one that never was: for calls, and to end it."""
    gus = other(ann, GUS)
    gus.headers["mcp-session-id"] = ann.headers["mcp-session-id"]
    foreign = await gus.post(SEARCH)
    ended = await ann._http.delete(ann._url, headers=gus.headers)
    gus.headers["mcp-session-id"] = "0" * 32
    absent = await gus.post(SEARCH)
    assert foreign.status_code == ended.status_code == absent.status_code == 404
    assert foreign.content == ended.content == absent.content
    assert "Owls hunt." in (await ann.post(SEARCH)).text


@only_lite
async def test_no_holder_uses_up_anothers_sessions(
    store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of sessions is bounded for each token."""
    monkeypatch.setattr(serving, "_MAX_SESSIONS", 1)
    async with served(store, tokens=TOKENS) as url, httpx.AsyncClient() as http:
        ann = await PlainClient(http, url, ANN).open()
        assert (await other(ann, ANN).post(INITIALIZE)).status_code == 503
        assert (await other(ann, GUS).post(INITIALIZE)).status_code == 200


@only_lite
async def test_without_a_right_token_all_are_refused_alike(ann: PlainClient) -> None:
    """A missing, a wrong, a foreign and an empty one have one answer, whatever is sent."""
    given = [{}, *({"Authorization": one} for one in ("Bearer " + "z" * 16, "Bearer", ANN))]
    given += [{"Authorization": f"Bearer {ANN[:-1]}"}, {"Authorization": f"Basic {ANN}"}]
    refused = [
        await ann._http.post(ann._url, content=body, headers=headers)
        for headers in given
        for body in ("[" * 1_000, b"\xff" * 5_000_000)
    ]
    assert {one.status_code for one in refused} == {401}
    assert len({one.content for one in refused}) == 1
    assert len({one.headers["www-authenticate"] for one in refused}) == 1
    assert ANN not in refused[0].text


@only_lite
async def test_a_session_survives_hostile_requests(ann: PlainClient) -> None:
    """Each is refused without a trace of the program, and the next one is answered."""
    for name, (body, status) in HOSTILE.items():
        refused = await ann.post(body)
        assert refused.status_code == status, name
        assert "Traceback" not in refused.text, name
        assert status != 200 or "error" in refused.text.lower(), name
        assert "Owls hunt." in (await ann.post(SEARCH)).text, name


@contextlib.asynccontextmanager
async def waiting_model(
    make_store: Callable[..., MilvusStore],
) -> AsyncIterator[tuple[Held, PlainClient]]:
    """Serve a store with an owl, whose embedding model waits; with a client's session."""
    await make_store(FakeModel()).aadd_documents([Document("An owl", id="owl")])
    model = Held()
    store = make_store(model)
    async with served(store, filter_fields={}) as url, httpx.AsyncClient(timeout=60) as http:
        yield model, await PlainClient(http, url).open()


@only_lite
async def test_a_call_is_cancelled_over_http(
    make_store: Callable[..., MilvusStore],
) -> None:
    """So is the request that it waits for, and its stream ends with an error."""
    async with waiting_model(make_store) as (model, client):
        calling = asyncio.create_task(client.ask(call("milvus_search", 7, query="owl 01")))
        assert await asyncio.to_thread(model.begun.acquire, timeout=60)
        params = {"requestId": 7}
        notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        assert (await client.post(notice)).status_code == 202
        assert await asyncio.to_thread(model.cancelled.wait, 60)
        assert (await calling)["error"]["message"] == "Request cancelled"


@only_lite
async def test_a_client_that_is_gone_leaves_the_server_as_it_was(
    make_store: Callable[..., MilvusStore],
) -> None:
    """Its call goes on to its end; others are served, in the same session too."""
    async with waiting_model(make_store) as (model, client):
        calling = asyncio.create_task(client.post(call("milvus_search", query="owl 01")))
        assert await asyncio.to_thread(model.begun.acquire, timeout=60)
        calling.cancel()  # which closes the connection
        await asyncio.wait([calling])
        model.let_go()
        again = await client.post(call("milvus_search", 2, query="owl 02"))
    assert "An owl" in again.text


@only_lite
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "docs.example"}, 200),
        ({"Host": "docs.example:8000"}, 200),
        ({"Host": "docs.example.evil.example"}, 421),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "docs.example", "Origin": "http://docs.example"}, 403),
        ({"Host": "docs.example", "Origin": "null"}, 403),
    ],
)
async def test_only_a_named_host_is_served_and_no_page(
    store: MilvusStore, headers: dict[str, str], status: int
) -> None:
    """As DNS rebinding, and any page in a browser, would send them."""
    app = http_app(store, hosts=["docs.example"])
    transport: Any = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://docs.example") as http,
    ):
        client = PlainClient(http, "/mcp")
        assert (await client.post(INITIALIZE, **headers)).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_no_other_host_is_served_without_a_token(host: str) -> None:
    """It is refused before anything listens."""
    with pytest.raises(InvalidInputError, match="bearer token"):
        serve(MilvusStore(FakeModel(), connection_args={"uri": "x.db"}), http=True, host=host)


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ({}, "There is no bearer token; None serves without one."),
        ({"": {}}, "A bearer token needs at least 16 characters."),
        ({ANN: {}, ANN[1:]: {}}, "A bearer token needs at least 16 characters."),
    ],
)
def test_a_token_that_admits_all_is_refused(tokens: dict[str, Any], sentence: str) -> None:
    """No token at all is None, so that an empty list of users opens nothing."""
    store = MilvusStore(FakeModel(), connection_args={"uri": "x.db"})
    with pytest.raises(InvalidInputError) as raised:
        http_app(store, tokens=tokens)
    assert str(raised.value) == sentence


def test_a_server_of_all_addresses_needs_a_name() -> None:
    """Without one, it could not tell a foreign Host from its own."""
    store = MilvusStore(FakeModel(), connection_args={"uri": "x.db"})
    with pytest.raises(InvalidInputError, match="--allow-host NAME"):
        serve(store, http=True, host="0.0.0.0", tokens=TOKENS)
