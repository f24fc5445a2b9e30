"""Clients of Milvus: opening, closing, and the file lock of Milvus Lite.

All of it runs on the I/O loop; what blocks runs in that loop's threads.
"""

import asyncio
import contextlib
import functools
import os
import re
import threading
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from pymilvus import AsyncMilvusClient, MilvusClient
from pymilvus.client.cache import GlobalCache
from pymilvus.client.utils import SciPyHelper

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import seen, shielded
from milvus_tools.errors import StoreClosedError
from milvus_tools.transport import lite_servers
from milvus_tools.transport.grpc_errors import translated
from milvus_tools.transport.importing import before_forks
from milvus_tools.transport.lite import files, is_lite
from milvus_tools.transport.requests import Deadline

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_DEFAULT_DATABASE = "default"
LITE_VERSION = (3, 0)  # Milvus Lite does what current servers do
# pymilvus writes it in two ways. The package `milvus`, a server, has "2.3.5-lite".
_LITE_VERSIONS = ("milvus-lite", "milvus_lite")
_VERSION = re.compile(r"(?<!\d)(\d++)\.(\d+)")
# Channels with the same address share connections, and after an outage the pause before the next
# attempt to connect, which grows to two minutes. One of its own connects at once.
_GRPC_OPTIONS = {"grpc.use_local_subchannel_pool": 1}
# pymilvus pings every 10 s; Milvus Lite's gRPC server takes that for an attack after some 40 s,
# and breaks the connection under whichever call comes next.
_LITE_GRPC_OPTIONS = {**_GRPC_OPTIONS, "grpc.keepalive_time_ms": 2**31 - 1}
_PATIENCE = 3_600.0  # seconds


class _Threaded:
    """A blocking client with the methods of the async one, which run in threads.

    It serves a process that was forked while a channel of gRPC's asyncio was open: another such
    channel crashes there, a blocking one works.
    """

    def __init__(self, client: MilvusClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            # Cancelling does not reach a thread, so each request must end by itself.
            if kwargs.get("timeout", _PATIENCE) is None:
                kwargs["timeout"] = _PATIENCE
            return portal().waiting.run(method, *args, **kwargs)

        return call


class Connection:
    """One store's way to Milvus, shared by its views.

    Attributes:
        lite: Whether Milvus Lite is at the other end, in a file that this process opens.
        engine_is_lite: Whether Milvus Lite is at the other end, over TCP too, once it is open.
        version: Major and minor version of the Milvus at the other end, once it is open.
        writing: To hold while writing: Milvus Lite takes one writer at a time.
        identity: What is at the other end: its URI and its database.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of pymilvus's clients; nothing is opened yet.

        Args:
            arguments: `uri`, and `token`, `user`, `password`, `db_name` … as pymilvus has them.
        """
        self._arguments = dict(arguments)
        uri = str(self._arguments.setdefault("uri", "http://localhost:19530"))
        self.lite = is_lite(uri)
        if self.lite:
            # A symbolic link to an open file must find the server that has it open.
            self._arguments["uri"] = uri = os.path.realpath(uri)
        options = _LITE_GRPC_OPTIONS if self.lite else _GRPC_OPTIONS
        if self.lite or _is_loopback(uri):
            options = {**options, "grpc.enable_http_proxy": 0}  # http_proxy is for other machines
        given = self._arguments.get("grpc_options") or {}
        self._arguments["grpc_options"] = {**options, **given}
        self.version = LITE_VERSION
        self.engine_is_lite = self.lite
        self.writing = shared_lock("writing", uri) if self.lite else contextlib.nullcontext()
        self._client: AsyncMilvusClient | None = None
        self._file: asyncio.Task[str] | None = None
        self._forgotten = False
        self._administering: set[asyncio.Future[Any]] = set()
        self._given: MilvusClient | None = None
        self._gives = True
        self._giving = threading.Lock()
        self.identity = (uri, str(self._arguments.get("db_name") or _DEFAULT_DATABASE))

    @property
    def client(self) -> AsyncMilvusClient:
        """The client that belongs to the I/O loop."""
        if self._client is None:
            raise RuntimeError("The connection is not open.")
        return self._client

    async def open(self, timeout: float) -> None:
        """Open the connection, unless it is open.

        Args:
            timeout: Seconds to wait for Milvus.

        Raises:
            UnavailableError: If Milvus can't be reached, or the Lite file not be opened.
            AccessError: If Milvus refuses the token.
        """
        if self._client is not None:
            return
        if self.lite:
            await self._open_file()
        try:
            with translated():
                await portal().waiting.run(_import_parts)
                self._client = await self._new_client(timeout)
                version = await self._client.get_server_version(timeout=timeout)
        except BaseException:
            await self.close()
            raise
        self.engine_is_lite = self.lite or version.startswith(_LITE_VERSIONS)
        self.version = LITE_VERSION if self.engine_is_lite else _parse_version(version)

    async def _new_client(self, timeout: float) -> AsyncMilvusClient:
        if portal().forked_from_open:
            return _Threaded(await portal().waiting.run(self.sync_client, timeout))
        return AsyncMilvusClient(**{**self._arguments, "dedicated": True, "timeout": timeout})

    async def _open_file(self) -> None:
        """Open the Lite file in a thread, which goes on if the call is cancelled.

        What it opened is then there for the next call, or for `close`.
        """
        if self._file is None:
            opening = portal().waiting.run(files.open, self.identity[0])
            self._file = asyncio.create_task(opening)
        try:
            # By its address, so that a client that opens the path is the application's.
            self._arguments["uri"] = await shielded(self._file)
        except Exception:
            self._file = None
            raise

    async def close(self) -> None:
        """Close the channel, and free the Lite file unless another store uses it."""
        client, self._client = self._client, None
        file, self._file = self._file, None
        try:
            if client is not None:
                await client.close()
        finally:
            if file is not None:
                await self.settle()  # or a thread might open the file again
                await asyncio.wait([file])
                if file.exception() is None:
                    path, _ = self.identity
                    await portal().waiting.run(files.close, path, forgotten=self._forgotten)

    def forget(self) -> None:
        """Note, without blocking, that it is closed soon, though its owner did not say so."""
        if self._file is not None:
            self._forgotten = True
            lite_servers.forget_who_joined(self.identity[0])

    async def settle(self) -> None:
        """Wait for what runs in threads: a cancelled call does not end it."""
        if self._administering:
            await asyncio.wait(self._administering)

    def release_when_settled(self, held: contextlib.AsyncExitStack) -> None:
        """Release locks, in the background, once what runs in threads now has ended."""
        acting = [*self._administering]

        async def release() -> None:
            async with held:
                if acting:
                    await asyncio.wait(acting)

        self._keep(seen(asyncio.create_task(release())))

    def _keep(self, acting: asyncio.Future[Any]) -> None:
        self._administering.add(acting)
        acting.add_done_callback(self._administering.discard)

    def sync_client(self, timeout: float | None = None) -> MilvusClient:
        """Return a new blocking client, with a channel of its own that its owner closes.

        Raises:
            MilvusToolsError: If Milvus can't be reached, or refuses.
        """
        arguments = dict(self._arguments)
        if timeout is not None:
            arguments["timeout"] = timeout
        with translated():
            return MilvusClient(**{**arguments, "dedicated": True})

    def async_client(self) -> AsyncMilvusClient:
        """Return a new client for the loop that first awaits it; its owner closes it."""
        return AsyncMilvusClient(**{**self._arguments, "dedicated": True})

    def given_client(self) -> MilvusClient:
        """Return the one blocking client that is given away. Blocks, and may be called anywhere.

        Raises:
            StoreClosedError: If the given client was taken back.
        """
        with self._giving:
            if not self._gives:
                raise StoreClosedError("The store is closed; make a new one.")
            if self._given is None:
                self._given = self.sync_client()
            return self._given

    def take_back(self) -> None:
        """Close the client that was given away, and give no other. Blocks."""
        with self._giving:
            self._gives = False
            if self._given is not None:
                self._given.close()

    async def administer(
        self,
        action: Callable[Concatenate[MilvusClient, Deadline, Arguments], Result],
        deadline: Deadline,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Run what defines data in a thread, with a blocking client.

        Milvus Lite lacks what the async client needs for it.
        """

        def act() -> Result:
            client = self.sync_client(deadline.remaining)
            try:
                return action(client, deadline, *args, **kwargs)
            finally:
                client.close()

        acting = portal().waiting.submit(act)
        acted = asyncio.wrap_future(acting)
        self._keep(acted)
        try:
            with translated():
                return await shielded(acted)
        except asyncio.CancelledError:
            acting.cancel()  # it never begins, if it has not begun
            raise


_locks: weakref.WeakValueDictionary[tuple[object, ...], asyncio.Lock] = (
    weakref.WeakValueDictionary()
)


def shared_lock(*key: object) -> asyncio.Lock:
    """Return the one lock that a key has in this process, for the I/O loop."""
    return _locks.setdefault((os.getpid(), *key), asyncio.Lock())


def forget_schemas() -> None:
    """Empty pymilvus's cache of schemas: it outlives connections, and Lite reuses ports."""
    GlobalCache.schema.clear()


@functools.cache
def _import_parts() -> None:
    """Let pymilvus import SciPy now, and not on the I/O loop in the first search or write."""
    with before_forks():
        SciPyHelper.is_scipy_sparse(None)


def _is_loopback(uri: str) -> bool:
    host = urllib.parse.urlsplit(uri).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _parse_version(version: str) -> tuple[int, int]:
    found = _VERSION.search(version)
    return (int(found[1]), int(found[2])) if found else LITE_VERSION
