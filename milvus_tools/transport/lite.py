"""Milvus Lite's database files: one process opens a file, and one server in it serves all."""

import os
import pathlib
import threading

from milvus_tools.errors import InvalidInputError
from milvus_tools.transport import lite_servers


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

    def open(self, path: str) -> str:
        """Start the file's server, or join the one that runs, and return its address.

        Raises:
            UnavailableError: If another process holds the file, or it can't be opened.
        """
        with self._lock:
            address = lite_servers.address_of(path)
            if address is not None and path not in self._holders:
                return address  # of a client of the application, which closes what it opened
            if address is None:
                _require_folder(path)
                address = lite_servers.start(path)
            self._holders[path] = self._holders.get(path, 0) + 1
            return address

    def close(self, path: str, *, forgotten: bool = False) -> None:
        """Let go of the file; the last one to do so frees its lock.

        Args:
            path: The file.
            forgotten: Whether its holder did not close it. A client of the application that
                joined the server since `lite_servers.forget_who_joined` then keeps it.
        """
        with self._lock:
            if path not in self._holders:
                return
            self._holders[path] -= 1
            if self._holders[path] == 0:
                del self._holders[path]
                lite_servers.stop(path, unless_joined=forgotten)

    def forget(self) -> None:
        """Start empty after a fork: the servers are the parent's, and so may be the lock."""
        self._lock = threading.Lock()
        self._holders = {}


def _require_folder(path: str) -> None:
    parent = pathlib.Path(path).parent
    if not parent.is_dir():
        raise InvalidInputError(
            f"Milvus Lite can't open its file: the folder {parent.name!r} is missing."
        )


files = _LiteFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=files.forget)
