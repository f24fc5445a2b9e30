"""Milvus Lite's servers: one serves a file to all clients in this process.

This module alone uses what is private in Milvus Lite.
"""

import contextlib
import functools
import logging
import traceback
from collections.abc import Iterator
from typing import Any, Final

from milvus_tools.errors import UnavailableError, UnsupportedError
from milvus_tools.transport.grpc_errors import redacted
from milvus_tools.transport.importing import before_forks

_GRACE_SECONDS: Final = 2


class _Entry(tuple[Any, Any, int]):  # noqa: SLOT001 - it has an attribute
    """Milvus Lite's entry for a server, its database and its port; it notes who asks for it.

    Milvus Lite unpacks the entry for each client that opens the path. The store's own clients
    open the server's address.
    """

    joined = False

    def __iter__(self) -> Iterator[Any]:
        """Note that a client joins the server."""
        self.joined = True
        return super().__iter__()


class _Reason(logging.Filter):
    """Catches the exception that Milvus Lite logs and hides when it can't open a file."""

    error: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            self.error = record.exc_info[1]
        return record.levelno < logging.ERROR


class _Unasked(logging.Filter):
    """Drops the traceback of a request that pymilvus makes and Milvus Lite does not know.

    pymilvus handles the answer; the log alone looks like a failure. What the application's own
    servers log stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        kind, _, trace = record.exc_info or (None, None, None)
        if kind is None or not issubclass(kind, NotImplementedError):
            return True
        modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace)]
        return not modules[-1].startswith(("milvus_lite.", "pymilvus."))


logging.getLogger("grpc._server").addFilter(_Unasked())


def address_of(path: str) -> str | None:
    """Return the address of a file's server, or `None` if none runs in this process."""
    entry = _manager()._servers.get(path)  # noqa: SLF001 - no public way to ask
    return None if entry is None else f"http://127.0.0.1:{entry[2]}"


def start(path: str) -> str:
    """Start the server of a file and return its address.

    Raises:
        UnavailableError: If another process holds the file, or it can't be opened.
    """
    reason = _Reason()
    logger = logging.getLogger("milvus_lite.server_manager")
    logger.addFilter(reason)
    try:
        address: str | None = _manager().start_and_get_uri(path)
    finally:
        logger.removeFilter(reason)
    if address is None:
        raise _failure(reason.error or _error_of_opening(path))
    _watch(path)
    return address


def _failure(error: BaseException | None) -> UnavailableError:
    if type(error).__name__ == "DataDirLockedError":
        failure = UnavailableError(
            "The Milvus Lite file is open in another process; one process at a time can use it."
        )
    else:
        said = redacted(str(error)) if error else "its server did not start; try again"
        failure = UnavailableError(f"Milvus Lite can't open its file: {said}")
    failure.__cause__ = error
    return failure


def _error_of_opening(path: str) -> Exception | None:
    """Open the file without a server, for the error that is lost where logging is disabled."""
    from milvus_lite.db import MilvusLite  # noqa: PLC0415 - imported when it is needed, as below

    try:
        MilvusLite(path).close()
    except Exception as error:  # noqa: BLE001 - whichever it is, the caller raises it
        return error
    return None


def _watch(path: str) -> None:
    """Note from now on whether clients of the application join the server."""
    manager = _manager()
    with manager._lock:  # noqa: SLF001
        entry = manager._servers.get(path)  # noqa: SLF001
        if entry is not None:
            manager._servers[path] = _Entry(entry)  # noqa: SLF001


def forget_who_joined(path: str) -> None:
    """Note who joins from now on. Does not block, so a finalizer may call it."""
    entry = _manager()._servers.get(path)  # noqa: SLF001
    if isinstance(entry, _Entry):
        entry.joined = False


def stop(path: str, *, unless_joined: bool) -> None:
    """Stop the server of a file and free the file; a client that opens it meanwhile waits.

    Args:
        path: The file.
        unless_joined: Whether the server goes on if a client of the application has joined it.
    """
    manager = _manager()
    # Milvus Lite's own method lets clients open the file before it is free, which fails.
    with manager._lock, contextlib.ExitStack() as last_first:  # noqa: SLF001
        entry = manager._servers.get(path)  # noqa: SLF001
        if entry is None or (unless_joined and getattr(entry, "joined", True)):
            return
        last_first.callback(manager._servers.pop, path)  # noqa: SLF001
        last_first.callback(entry[1].close)
        last_first.callback(entry[0].stop, _GRACE_SECONDS)


def schema_now(path: str, database: str, collection_name: str) -> object | None:
    """Return the object that Milvus Lite keeps as a collection's schema; `None` if it has none.

    It is another object once the collection is made anew, or the alias moves. Milvus Lite itself
    answers requests that were made for the earlier schema, without an error.
    """
    entry = _manager()._servers.get(path)  # noqa: SLF001 - a request would cost 1 ms
    if entry is None:
        return None
    name = entry[1].resolve_collection_name(collection_name, database_name=database)
    collection = entry[1]._collections.get((database, name))  # noqa: SLF001
    return None if collection is None else collection.schema


@functools.cache
def _manager() -> Any:
    """Import Milvus Lite when it is needed: that takes longer than all of ours."""
    try:
        with before_forks():
            import milvus_lite.adapter.grpc.server  # noqa: F401, PLC0415 - for its first server
            from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedError("Milvus Lite is not installed: pip install milvus-lite") from error
    return server_manager_instance
