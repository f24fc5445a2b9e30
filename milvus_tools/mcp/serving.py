"""The transports: stdio, and HTTP with bearer tokens and checks of Host and Origin."""

import asyncio
import contextlib
import io
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import anyio
import uvicorn
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.literals import Scalar
from milvus_tools.mcp.server import build_server
from milvus_tools.toolkit import MilvusToolkit
from milvus_tools.tools.settings import AnyStore
from milvus_tools.users import MIN_TOKEN, is_same_token

PATH: Final = "/mcp"
LOOPBACK: Final = "127.0.0.1"
PORT: Final = 8000
Tokens = Mapping[str, Mapping[str, Scalar]]
_LOOPBACK_NAMES: Final = (LOOPBACK, "localhost", "[::1]")
_MAX_SESSIONS: Final = 1_000
_SHUTDOWN_SECONDS: Final = 3
# Longer than clients keep an idle connection (httpx: 5 s, as uvicorn by default), so that no
# request is sent on one that the server closes at that moment.
_KEEP_ALIVE_SECONDS: Final = 75
_MAX_PORT: Final = 65_535
_CHUNK: Final = 1 << 16

_log = logging.getLogger(__name__)


class _Verifier:
    """Knows a token's holder, by the token's place."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = list(tokens)

    async def verify_token(self, token: str) -> AccessToken | None:
        places = [n for n, one in enumerate(self._tokens) if is_same_token(token, one)]
        if not places:
            return None
        return AccessToken(token=token, client_id=str(places[0]), scopes=[])


class _ByToken:
    """Hands a request to the session manager of its token."""

    def __init__(self, managers: Sequence[StreamableHTTPSessionManager]) -> None:
        self._managers = managers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = int(scope["user"].username)
        await self._managers[place].asgi_app(scope, receive, send)


def serve(
    store: AnyStore,
    *,
    http: bool = False,
    host: str = LOOPBACK,
    port: int = PORT,
    tokens: Tokens | None = None,
    hosts: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Serve a store's tools until the client leaves or the process is interrupted. Blocks.

    Args:
        store: The store, or a scoped view of it.
        http: Whether to serve by HTTP; by default, by stdio.
        host: The address to listen on.
        port: The port; 0 for a free one.
        tokens: Bearer tokens, each with the scope that it gives; an empty scope is all of the
            store's. Needed where `host` is not loopback.
        hosts: Further names by which clients reach the server.
        **settings: Settings of `MilvusToolkit`, such as `allow_writes`.

    Raises:
        InvalidInputError: If the server would be open to others, a token is short, or it can't
            listen there.
    """
    if not http:
        asyncio.run(_serve_stdio(MilvusToolkit(store, **settings)))
        return
    names = [*_names(host), *hosts]
    _require_guarded(host, tokens, names)
    app = http_app(store, tokens=tokens, hosts=names, **settings)
    asyncio.run(_serve_http(app, host, port))


def _require_guarded(host: str, tokens: Tokens | None, names: Sequence[str]) -> None:
    if not _is_loopback(host) and tokens is None:
        raise InvalidInputError(
            "Only loopback is served without a bearer token: name users in MILVUS_TOOLS_USERS, "
            "or serve on 127.0.0.1."
        )
    if not names:
        raise InvalidInputError(
            "Name the hosts by which clients reach the server: --allow-host NAME."
        )


def _require_long(tokens: Tokens | None) -> None:
    if tokens is not None and not tokens:
        raise InvalidInputError("There is no bearer token; None serves without one.")
    if any(len(token) < MIN_TOKEN for token in tokens or ()):
        raise InvalidInputError(f"A bearer token needs at least {MIN_TOKEN} characters.")


def http_app(
    store: AnyStore,
    *,
    tokens: Tokens | None = None,
    hosts: Sequence[str] = _LOOPBACK_NAMES,
    **settings: Any,
) -> Starlette:
    """Make the ASGI application that serves a store's tools at `/mcp`, and closes the store.

    Without tokens, serve it on loopback alone. Requests that carry an `Origin` are refused, so
    no web page can send any.

    Args:
        store: The store, or a scoped view of it.
        tokens: Bearer tokens, each with the scope that it gives.
        hosts: The names that the `Host` of a request may have.
        **settings: Settings of `MilvusToolkit`.

    Raises:
        InvalidInputError: If there are tokens, and one is short or there is none.
    """
    _require_long(tokens)
    scopes = [{}] if tokens is None else [*tokens.values()]
    views = [store.scoped(scope) if scope else store for scope in scopes]
    security = TransportSecuritySettings(
        allowed_hosts=[form for name in hosts for form in (name, f"{name}:*")]
    )
    # One for each token, so that no holder can use up the sessions of another, or join one.
    managers = [
        StreamableHTTPSessionManager(
            build_server(MilvusToolkit(view, **settings)),
            security_settings=security,
            max_sessions=_MAX_SESSIONS,
        )
        for view in views
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with _open(store), contextlib.AsyncExitStack() as running:
            for manager in managers:
                await running.enter_async_context(manager.run())
            yield

    app, middleware = _guarded(managers, tokens)
    return Starlette(routes=[Route(PATH, app)], middleware=middleware, lifespan=lifespan)


def _guarded(
    managers: Sequence[StreamableHTTPSessionManager], tokens: Tokens | None
) -> tuple[Any, list[Middleware]]:
    """Return the application behind the tokens, and the middleware that reads them."""
    if tokens is None:
        return managers[0].asgi_app, []
    reading = Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_Verifier(tokens)))
    return RequireAuthMiddleware(_ByToken(managers), []), [reading]


@contextlib.asynccontextmanager
async def _open(store: AnyStore) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await store.aclose()


async def _serve_stdio(toolkit: MilvusToolkit) -> None:
    server = build_server(toolkit)
    lines: Any = _protocol_input()
    try:
        async with (
            _open(toolkit.store),
            stdio_server(lines, _protocol_output()) as (reading, writing),
        ):
            await server.run(reading, writing, server.create_initialization_options())
    except* (BrokenPipeError, anyio.BrokenResourceError):
        _log.info("The client ended before an answer, or Ctrl-C came with a message.")
    task = asyncio.current_task()
    if task is not None and task.cancelling():  # by Ctrl-C, which the SDK's error has replaced
        raise asyncio.CancelledError


async def _protocol_input() -> AsyncIterator[str]:
    """Take stdin for the protocol, and yield its lines; all else that reads it finds its end."""
    reader = asyncio.StreamReader(limit=sys.maxsize)
    # Nothing waits for this thread at the end; the SDK's would hold up Ctrl-C until a line came.
    reading = (_take_stdin(), reader, asyncio.get_running_loop())
    threading.Thread(target=_feed, args=reading, daemon=True).start()
    async for line in reader:
        yield line.decode(errors="replace")


def _take_stdin() -> int:
    taken, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken


def _feed(descriptor: int, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        while data := os.read(descriptor, _CHUNK):
            loop.call_soon_threadsafe(reader.feed_data, data)
        loop.call_soon_threadsafe(reader.feed_eof)


def _protocol_output() -> anyio.AsyncFile[str]:
    """Take stdout for the protocol; all else that is printed goes to stderr."""
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "wb", closefd=False)
    os.dup2(2, 1)
    return anyio.wrap_file(io.TextIOWrapper(output, encoding="utf-8"))


async def _serve_http(app: Starlette, host: str, port: int) -> None:
    listening = _listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}{PATH}"
    print(f"Serving MCP at {address}", file=sys.stderr, flush=True)  # noqa: T201 - for its user
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _MAX_PORT:
        raise InvalidInputError(f"A port is a number from 0 to {_MAX_PORT}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidInputError(
            "The server can't listen there: the port is in use, or the host is not this "
            "machine's. Choose others with --port and --host."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(host: str) -> tuple[str, ...]:
    """Return the names by which clients reach a host; none of one that means all addresses."""
    try:
        wild = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        wild = not host
    own = () if wild else (f"[{host}]" if ":" in host else host,)
    return (*_LOOPBACK_NAMES, *own) if _is_loopback(host) else own
