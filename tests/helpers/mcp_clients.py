"""Clients of the MCP server: the SDK's own, plain HTTP, and a pipe to a process."""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self

import httpx
import uvicorn
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

from milvus_tools import MilvusStore
from milvus_tools.environment import PREFIX
from milvus_tools.mcp import http_app
from tests.helpers.threads import BOUND

ROOT = pathlib.Path(__file__).parents[2]
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": types.LATEST_PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def request(method: str, id_: int = 1, **params: Any) -> dict[str, Any]:
    """Return a request as the protocol has it."""
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def call(name: str, id_: int = 1, **arguments: Any) -> dict[str, Any]:
    """Return a request that calls a tool."""
    return request("tools/call", id_, name=name, arguments=arguments)


def texts(result: types.CallToolResult) -> list[str]:
    """Return the texts of an answer's Documents."""
    assert result.structuredContent is not None, result.content
    return [one["text"] for one in result.structuredContent["documents"]]


def sentence(result: types.CallToolResult) -> str:
    """Return the sentence of a result that is an error."""
    assert result.isError
    assert result.structuredContent is None
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


@contextlib.asynccontextmanager
async def served(store: MilvusStore, **options: Any) -> AsyncIterator[str]:
    """Serve by HTTP on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = http_app(store, **options)
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextlib.asynccontextmanager
async def over_http(url: str, token: str = "") -> AsyncIterator[ClientSession]:
    """Open a session, with a token if there is one."""
    async with (
        httpx.AsyncClient(headers=_bearer(token)) as http,
        streamable_http_client(url, http_client=http) as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        yield session


class PlainClient:
    """Sends whatever it is told to by HTTP, and waits for the answer as long as it takes."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str = "") -> None:
        """Keep what each request needs."""
        self._http = http
        self._url = url
        self.headers = HEADERS | _bearer(token)

    async def open(self) -> Self:
        """Open a session."""
        opened = await self.post(INITIALIZE)
        self.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        await self.post(INITIALIZED)
        return self

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """Post JSON, or text as it is."""
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return await self._http.post(
            self._url, content=content, headers={**self.headers, **headers}
        )

    async def ask(self, body: Any) -> dict[str, Any]:
        """Post JSON, and return the answer out of its stream."""
        answer = await self.post(body)
        data = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        parsed: dict[str, Any] = json.loads(data[-1].removeprefix("data: "))
        return parsed


def environment(uri: str, **variables: str) -> dict[str, str]:
    """Return the tests' own environment, with these settings of a deployment alone."""
    outside = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return {
        **outside,
        "PYTHONPATH": str(ROOT),
        f"{PREFIX}URI": uri,
        **{f"{PREFIX}{name}": text for name, text in variables.items()},
    }


@contextlib.contextmanager
def started(
    uri: str,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "milvus_tools.mcp"),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, warnings being errors, with pipes to it; end it in any case."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *program, *arguments],
        env=environment(uri, **(variables or {})),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[bytes], *messages: Any) -> None:
    """Write messages to a process: JSON, each on a line, or bytes as they are."""
    assert process.stdin is not None
    for one in messages:
        process.stdin.write(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[bytes], id_: int) -> dict[str, Any]:
    """Read what a process writes until it answers a request, each line being JSON."""
    assert process.stdout is not None
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if message.get("id") == id_:
            return message
    raise AssertionError("The process ended before it answered.")


def open_session(process: subprocess.Popen[bytes]) -> None:
    """Open a session with a process."""
    send(process, INITIALIZE)
    answer(process, 0)
    send(process, INITIALIZED)


def end_of(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait until a process has ended by itself; return its status and what it said to people."""
    assert process.stderr is not None
    return process.wait(4 * BOUND), process.stderr.read().decode()
