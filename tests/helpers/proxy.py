"""Servers that a test can take away: a forwarder, and a port that never answers."""

import contextlib
import gc
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.helpers.threads import BOUND


@contextlib.contextmanager
def half_open_server() -> Iterator[str]:
    """Listen on a port where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Proxy:
    """A forwarder in front of a server, to count connections, and to take the server away."""

    def __init__(self, uri: str) -> None:
        """Forward to a server from now on."""
        target = urlsplit(uri)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept)
        self.connections: list[threading.Thread] = []
        self._acceptor.start()

    @property
    def uri(self) -> str:
        """Where to connect."""
        return f"http://127.0.0.1:{self._address[1]}"

    def restore(self) -> None:
        """Let the server be reached again, at the same address."""
        self._listener = socket.create_server(self._address)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(BOUND)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.require_no_connection()

    def require_no_connection(self) -> None:
        """Wait until the connections have ended, and fail if one has not."""
        gc.collect()  # some gRPCs end a channel that was closed when its last object is gone
        for thread in self.connections:
            thread.join(BOUND)
            assert not thread.is_alive(), "A connection was left open."

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                thread = threading.Thread(target=_forward_both, args=(near, far))
                self.connections.append(thread)
                thread.start()


def _forward_both(near: socket.socket, far: socket.socket) -> None:
    back = threading.Thread(target=_forward, args=(far, near))
    back.start()
    _forward(near, far)
    back.join()
    near.close()
    far.close()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_of(uri: str) -> Iterator[Proxy]:
    """Put a forwarder in front of a server."""
    proxy = Proxy(uri)
    try:
        yield proxy
    finally:
        with contextlib.suppress(OSError):
            proxy.cut()
