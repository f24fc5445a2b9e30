"""Milvus Lite's database files: one process opens a file, and one server in it serves all."""

import logging
import os
import pathlib
import threading
import traceback
from typing import Any

from milvus_tools.errors import InvalidInputError, UnavailableError, UnsupportedError
from milvus_tools.transport.grpc_errors import redacted


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
            # By a client of the application, which closes what it opened.
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
        """Start empty after a fork: the servers are the parent's, and so may be the lock."""
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


def schema_now(path: str, database: str, collection_name: str) -> object | None:
    """Return the object that Milvus Lite keeps as a collection's schema; `None` if it has none.

    It is another object once the collection is made anew, or the alias moves. Milvus Lite itself
    answers requests that were made for the earlier schema, without an error.
    """
    served = _lite_servers()._servers.get(path)  # noqa: SLF001 - a request would cost 1 ms
    if served is None:
        return None
    name = served[1].resolve_collection_name(collection_name, database_name=database)
    collection = served[1]._collections.get((database, name))  # noqa: SLF001
    return None if collection is None else collection.schema


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


def _start_server(path: str) -> None:
    parent = pathlib.Path(path).parent
    if not parent.is_dir():
        raise InvalidInputError(
            f"Milvus Lite can't open its file: the folder {parent.name!r} is missing."
        )
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
    raise UnavailableError(
        f"Milvus Lite can't open its file: {redacted(str(reason.error))}"
    ) from reason.error


files = _LiteFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=files.forget)
