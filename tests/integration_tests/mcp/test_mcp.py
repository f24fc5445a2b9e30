"""The tools over MCP, by the SDK's own client."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.documents import Document
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_connected_server_and_client_session as connected

from milvus_tools import MilvusStore, MilvusToolkit
from milvus_tools.errors import InvalidInputError
from milvus_tools.mcp import build_server, http_app, serve
from milvus_tools.mcp.server import COLLECTION_URI, PROMPT
from tests.helpers.fake_embeddings import Held

ANN, GUS = "a" * 16, "g" * 16


def texts(result: types.CallToolResult) -> list[str]:
    """Return the texts of an answer's Documents."""
    assert result.structuredContent is not None
    return [one["text"] for one in result.structuredContent["documents"]]


@contextlib.asynccontextmanager
async def served(store: MilvusStore, **options: Any) -> AsyncIterator[str]:
    """Serve by HTTP on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        http_app(store, **options), log_level="warning", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def over_http(url: str, token: str) -> AsyncIterator[ClientSession]:
    """Open a session with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(headers=headers) as http,
        streamable_http_client(url, http_client=http) as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        yield session


async def test_the_tools_have_schemas_and_hints(store: MilvusStore) -> None:
    """The toolkit is read-only unless writes are allowed."""
    async with connected(build_server(MilvusToolkit(store))) as client:
        hints = {one.name: one.annotations for one in (await client.list_tools()).tools}
    assert list(hints) == ["milvus_search", "milvus_search_by_metadata"]
    assert all(one is not None and one.readOnlyHint for one in hints.values())
    async with connected(build_server(MilvusToolkit(store, allow_writes=True))) as client:
        tools = {one.name: one for one in (await client.list_tools()).tools}
    delete = tools["milvus_delete"].annotations
    assert delete is not None
    assert delete.destructiveHint
    assert delete.idempotentHint


async def test_wrong_arguments_have_the_tools_sentence(store: MilvusStore) -> None:
    """Null counts as left out; an unknown name is refused (R43)."""
    await store.aadd_documents([Document("Owls hunt.", id="owl")])
    async with connected(build_server(MilvusToolkit(store))) as client:
        found = await client.call_tool("milvus_search", {"query": "owls", "k": None})
        wrong = await client.call_tool("milvus_search", {"query": "owls", "top_k": 1})
        missing = await client.call_tool("milvus_drop", {})
    assert texts(found) == ["Owls hunt."]
    assert wrong.isError
    assert isinstance(wrong.content[0], types.TextContent)
    assert "unknown name 'top_k'" in wrong.content[0].text
    assert missing.isError


async def test_concurrent_calls_share_requests(store: MilvusStore) -> None:
    """Fifty searches need far fewer requests."""
    await store.aadd_documents([Document("Owls hunt.", id="owl")])
    async with connected(build_server(MilvusToolkit(store))) as client:
        await client.call_tool("milvus_search", {"query": "owl"})
        before = store.stats.search.batches
        answers = await asyncio.gather(
            *(client.call_tool("milvus_search", {"query": f"owl {n}"}) for n in range(50))
        )
    assert store.stats.search.batches - before < 50
    assert [texts(one) for one in answers] == [["Owls hunt."]] * 50


async def test_each_token_has_its_scope(store: MilvusStore) -> None:
    """A tenant finds nothing of another's; without a token, the server refuses."""
    for tenant in ("acme", "globex"):
        await store.scoped(tenant=tenant).aadd_documents([Document(f"Of {tenant}.", id=tenant)])
    tokens = {ANN: {"tenant": "acme"}, GUS: {"tenant": "globex"}}
    async with served(store, tokens=tokens) as url:
        for token, tenant in ((ANN, "acme"), (GUS, "globex")):
            async with over_http(url, token) as client:
                found = await client.call_tool("milvus_search", {"query": "of"})
                assert texts(found) == [f"Of {tenant}."]
        async with httpx.AsyncClient() as client:
            assert (await client.post(url, json={})).status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)],
)
async def test_a_foreign_host_or_origin_is_refused(
    store: MilvusStore, header: dict[str, str], status: int
) -> None:
    """As DNS rebinding would send them."""
    async with served(store) as url, httpx.AsyncClient() as client:
        assert (await client.post(url, json={}, headers=header)).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_other_host_is_served_without_a_token(store: MilvusStore, host: str) -> None:
    """It is refused before anything listens."""
    with pytest.raises(InvalidInputError, match="bearer token"):
        serve(store, http=True, host=host)


async def test_a_cancelled_call_ends(make_store: Callable[..., MilvusStore]) -> None:
    """The embedding that it waits for is cancelled."""
    await make_store().aadd_documents([Document("Owls hunt.", id="owl")])
    model = Held()
    store = make_store(model)
    async with connected(build_server(MilvusToolkit(store, filter_fields={}))) as client:
        await client.list_tools()
        calling = asyncio.create_task(client.call_tool("milvus_search", {"query": "owls"}))
        assert await asyncio.to_thread(model.begun.acquire, timeout=60)
        notice = types.CancelledNotification(
            params=types.CancelledNotificationParams(requestId=client._request_id - 1)
        )
        await client.send_notification(types.ClientNotification(notice))
        assert await asyncio.to_thread(model.cancelled.wait, 60)
        calling.cancel()


async def test_the_collection_is_described(store: MilvusStore) -> None:
    """By the resource, and in the prompt."""
    await store.aadd_documents([Document("Owls hunt.", id="owl")])
    async with connected(build_server(MilvusToolkit(store))) as client:
        read = await client.read_resource((await client.list_resources()).resources[0].uri)
        asked = await client.get_prompt(PROMPT, {"question": "Who hunts?"})
    assert str(read.contents[0].uri).rstrip("/") == COLLECTION_URI
    assert "It has 1 document." in str(read.contents[0])
    assert "Who hunts?" in str(asked.messages[0].content)


async def test_stdio_carries_the_protocol_alone(tmp_path: Any) -> None:
    """The SDK's client starts the command, and reads its answers."""
    variables = {
        **os.environ,
        "MILVUS_TOOLS_URI": str(tmp_path / "own.db"),
        "MILVUS_TOOLS_ALLOW_WRITES": "true",
    }
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "milvus_tools.mcp"], env=variables
    )
    async with stdio_client(command) as (reading, writing), ClientSession(reading, writing) as one:
        await one.initialize()
        wrote = await one.call_tool("milvus_upsert", {"documents": [{"text": "Owls hunt."}]})
        found = await one.call_tool("milvus_search", {"query": "owls"})
    assert not wrote.isError
    assert texts(found) == ["Owls hunt."]


def test_a_wrong_setting_is_one_sentence() -> None:
    """Nothing is on stdout."""
    run = subprocess.run(
        [sys.executable, "-m", "milvus_tools.mcp"],
        env={**os.environ, "MILVUS_TOOLS_URI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("Set MILVUS_TOOLS_URI")
