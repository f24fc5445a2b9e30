"""What the tests of lifecycle, loops and deadlines look through: transports, models, sockets."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings
from milvus_lite.db import MilvusLite

from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import (
    DirectTransport,
)
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Hit,
    QueryRequest,
    Row,
    SearchRequest,
    WriteRequest,
)
from tests.helpers.support import DIM, embeddings

BOUND = 30.0  # seconds within which whatever ends at all has ended


async def happens(event: threading.Event) -> bool:
    """Tell whether an event of another thread happens, without blocking the loop."""
    return await asyncio.to_thread(event.wait, BOUND)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Make each call in a thread of its own, all at once; return or raise what they do."""
    results: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def call(number: int) -> None:
        barrier.wait(BOUND)
        try:
            results[number] = calls[number]()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@contextlib.contextmanager
def no_new_threads() -> Iterator[None]:
    """Demand that the threads which start inside have ended soon after."""
    before = set(threading.enumerate())
    yield
    gc.collect()  # gRPC's poller ends when its last object is gone
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("asyncio_"):
            continue  # of the test's own loop
        thread.join(BOUND)
        assert not thread.is_alive(), f"{thread.name} was left behind"


def run_python(program: str, *arguments: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def require_free(path: str) -> None:
    """Open a Milvus Lite file past all servers, which fails while anybody has it open."""
    MilvusLite(path).close()


class AsyncModel(Embeddings):
    """A model with async methods of its own, which notes the loops it is used on."""

    def __init__(self, dim: int = DIM) -> None:
        """Make vectors of a dimension."""
        self._model = embeddings(dim)
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.threads: set[threading.Thread] = set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, after a turn of the loop."""
        self.loops.append(asyncio.get_running_loop())
        self.threads.add(threading.current_thread())
        await asyncio.sleep(0)
        return self._model.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text."""
        (vector,) = await self.aembed_documents([text])
        return vector


class Hanging(AsyncModel):
    """A model that embeds documents, and never answers a query."""

    def __init__(self) -> None:
        """Have been asked nothing."""
        super().__init__()
        self.asked = threading.Event()
        self.cancelled = threading.Event()

    async def aembed_query(self, text: str) -> list[float]:
        """Wait until it is cancelled."""
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError(f"Nobody can have answered {text!r}.")


class Recording(DirectTransport):
    """Keeps what passes."""

    def __init__(self, connection: Connection) -> None:
        """Have sent nothing."""
        super().__init__(connection)
        self.sent: list[Any] = []
        self.deadlines: list[Deadline] = []

    def _keep(self, request: Any, deadline: Deadline) -> None:
        self.sent.append(request)
        self.deadlines.append(deadline)

    async def search(self, request: SearchRequest, deadline: Deadline) -> list[Hit]:
        """Search."""
        self._keep(request, deadline)
        return await super().search(request, deadline)

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Query."""
        self._keep(request, deadline)
        return await super().query(request, deadline)

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Upsert."""
        self._keep(request, deadline)
        return await super().upsert(request, deadline)

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete."""
        self._keep(request, deadline)
        return await super().delete(request, deadline)


class Stuck(DirectTransport):
    """Begins every search, and never ends one."""

    def __init__(self, connection: Connection) -> None:
        """Have begun none."""
        super().__init__(connection)
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Event()

    async def search(self, request: SearchRequest, deadline: Deadline) -> list[Hit]:
        """Wait until it is cancelled."""
        self.began.release()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError(f"Nobody can have answered {request} by {deadline}.")


class Made:
    """A `transport=` that remembers the one transport it made."""

    def __init__(self, kind: Callable[[Connection], Any]) -> None:
        """Make transports of a kind."""
        self._kind = kind
        self._made: list[Any] = []

    def __call__(self, connection: Connection) -> Any:
        """Make one."""
        self._made.append(self._kind(connection))
        return self._made[-1]

    @property
    def one(self) -> Any:
        """The transport."""
        (made,) = self._made
        return made


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


def texts(documents: Sequence[Any]) -> list[str]:
    """Return the Documents' texts."""
    return [document.page_content for document in documents]


class Lingering(DirectTransport):
    """Ends only when it is let go, or fails then."""

    def __init__(self, connection: Connection, error: Exception | None = None) -> None:
        """Have not begun to end."""
        super().__init__(connection)
        self.error = error
        self.ending = threading.Event()
        self.let_go = threading.Event()

    async def aclose(self) -> None:
        """Wait to be let go."""
        self.ending.set()
        assert await asyncio.to_thread(self.let_go.wait, BOUND)
        if self.error is not None:
            raise self.error
