"""Clients of Milvus: opening, closing, and the file lock of Milvus Lite.

All of it runs on the I/O loop; what blocks runs in that loop's threads.
"""

import asyncio
import contextlib
import functools
import logging
import os
import pathlib
import re
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from pymilvus import AsyncMilvusClient, MilvusClient

from milvus_tools._portal import portal
from milvus_tools.errors import (
    InvalidInputError,
    UnavailableError,
    UnsupportedError,
    translated,
)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LITE_VERSION = (3, 0)  # Milvus Lite does what current servers do
_VERSION = re.compile(r"(\d+)\.(\d+)")
# pymilvus pings every 10 s; Milvus Lite's gRPC server takes that for an attack after some 40 s,
# and breaks the connection under whichever call comes next.
_LITE_GRPC_OPTIONS = {"grpc.keepalive_time_ms": 2**31 - 1}


def is_lite(uri: str) -> bool:
    """Tell whether a URI names a database file of Milvus Lite."""
    return uri.endswith(".db") and "://" not in uri


class _LiteFiles:
    """The Milvus Lite files that this process has open, and who opened them.

    One process can open a file, and one server in it serves all clients. A file that was open
    before us stays open after us.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, int] = {}

    def open(self, path: str) -> None:
        """Start the file's server, or join the one that runs.

        Raises:
            UnavailableError: If another process holds the file, or it can't be opened.
        """
        with self._lock:
            if path not in self._holders and self._is_served(path):
                return
            if path not in self._holders:
                _start_server(path)
            self._holders[path] = self._holders.get(path, 0) + 1

    def close(self, path: str) -> None:
        """Let go of the file; the last one to do so frees its lock."""
        with self._lock:
            if path not in self._holders:
                return
            self._holders[path] -= 1
            if self._holders[path] == 0:
                del self._holders[path]
                _lite_servers().release_server(path)

    def forget(self) -> None:
        """Start anew after a fork: the servers are the parent's, and so may be the lock."""
        self._lock = threading.Lock()
        self._holders = {}

    @staticmethod
    def _is_served(path: str) -> bool:
        return path in _lite_servers()._servers  # noqa: SLF001 - no public way to ask


def _lite_servers() -> Any:
    """Import Milvus Lite when it is needed: that takes longer than all of ours."""
    try:
        from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedError("Milvus Lite is not installed: pip install milvus-lite") from error
    return server_manager_instance


class _Reason(logging.Filter):
    """Catches the exception that Milvus Lite logs and hides when it can't open a file."""

    error: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            self.error = record.exc_info[1]
        return record.levelno < logging.ERROR


class _Unasked(logging.Filter):
    """Drops the traceback of a request that pymilvus makes and Milvus Lite does not know.

    pymilvus handles the answer; the log alone looks like a failure.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return not (kind is not None and issubclass(kind, NotImplementedError))


logging.getLogger("grpc._server").addFilter(_Unasked())


def _start_server(path: str) -> None:
    parent = pathlib.Path(path).parent
    if not parent.is_dir():
        raise InvalidInputError(f"Milvus Lite can't open its file: there is no folder {parent}.")
    reason = _Reason()
    logger = logging.getLogger("milvus_lite.server_manager")
    logger.addFilter(reason)
    try:
        served = _lite_servers().start_and_get_uri(path)
    finally:
        logger.removeFilter(reason)
    if served is not None:
        return
    if type(reason.error).__name__ == "DataDirLockedError":
        raise UnavailableError(
            "The Milvus Lite file is open in another process; one process at a time can use it."
        ) from reason.error
    raise UnavailableError(f"Milvus Lite can't open its file: {reason.error}") from reason.error


_lite_files = _LiteFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lite_files.forget)


class _Threaded:
    """A blocking client with the methods of the async one, which run in threads.

    It serves a process that was forked while a channel of gRPC's asyncio was open: another such
    channel crashes there, a blocking one works.
    """

    def __init__(self, client: MilvusClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return functools.partial(asyncio.to_thread, getattr(self._client, name))


class Connection:
    """One store's way to Milvus, shared by its views.

    Attributes:
        lite: Whether Milvus Lite is at the other end.
        version: Major and minor version of the Milvus at the other end, once it is open.
        writing: To hold while writing: Milvus Lite takes one writer at a time.
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
            self._arguments["uri"] = os.path.realpath(uri)
            given = self._arguments.get("grpc_options") or {}
            self._arguments["grpc_options"] = {**_LITE_GRPC_OPTIONS, **given}
        self.version = LITE_VERSION
        self.writing = shared_lock(*self.identity) if self.lite else contextlib.nullcontext()
        self._client: AsyncMilvusClient | None = None
        self._file: asyncio.Task[None] | None = None
        self._administering: set[asyncio.Future[Any]] = set()

    @property
    def identity(self) -> tuple[str, str]:
        """What is at the other end: its URI and its database."""
        return self._arguments["uri"], str(self._arguments.get("db_name", ""))

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
                self._client = await self._new_client(timeout)
                version = await self._client.get_server_version(timeout=timeout)
        except BaseException:
            await self.close()
            raise
        self.version = LITE_VERSION if self.lite else _parse_version(version)

    async def _new_client(self, timeout: float) -> AsyncMilvusClient:
        if portal().forked_from_open:
            return _Threaded(await asyncio.to_thread(self.sync_client, timeout))
        return AsyncMilvusClient(**{**self._arguments, "dedicated": True, "timeout": timeout})

    async def _open_file(self) -> None:
        """Open the Lite file in a thread, which goes on if the call is cancelled.

        What it opened is then there for the next call, or for `close`.
        """
        if self._file is None:
            self._file = asyncio.create_task(
                asyncio.to_thread(_lite_files.open, self._arguments["uri"])
            )
        try:
            await asyncio.shield(self._file)
        except Exception:
            self._file = None
            raise

    async def close(self) -> None:
        """Close the channel, and free the Lite file if nobody else uses it."""
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
                    await asyncio.to_thread(_lite_files.close, self._arguments["uri"])

    async def settle(self) -> None:
        """Wait for what runs in threads: a cancelled call does not end it."""
        if self._administering:
            await asyncio.wait(self._administering)

    def sync_client(self, timeout: float | None = None) -> MilvusClient:
        """Return a new blocking client, with a channel of its own that its owner closes."""
        arguments = dict(self._arguments)
        if timeout is not None:
            arguments["timeout"] = timeout
        return MilvusClient(**{**arguments, "dedicated": True})

    def async_client(self) -> AsyncMilvusClient:
        """Return a new client for the loop that first awaits it; its owner closes it."""
        return AsyncMilvusClient(**{**self._arguments, "dedicated": True})

    async def administer(
        self,
        action: Callable[Concatenate[MilvusClient, Arguments], Result],
        timeout: float,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Run what defines data in a thread, with a blocking client.

        Milvus Lite lacks what the async client needs for it.
        """

        def act() -> Result:
            client = self.sync_client(timeout)
            try:
                return action(client, *args, **kwargs)
            finally:
                client.close()

        acting = asyncio.get_running_loop().run_in_executor(None, act)
        self._administering.add(acting)
        acting.add_done_callback(self._administering.discard)
        with translated():
            return await asyncio.shield(acting)


_locks: weakref.WeakValueDictionary[tuple[object, ...], asyncio.Lock] = (
    weakref.WeakValueDictionary()
)


def shared_lock(*key: object) -> asyncio.Lock:
    """Return the one lock that a key has in this process, for the I/O loop."""
    return _locks.setdefault((os.getpid(), *key), asyncio.Lock())


def _parse_version(version: str) -> tuple[int, int]:
    found = _VERSION.search(version)
    return (int(found[1]), int(found[2])) if found else LITE_VERSION
