"""What several tests need: the real server as a process, and an embedding model to count."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from pymilvus import DataType, MilvusClient, MilvusException

from milvus_tools import MilvusStore

DIM = 8
ON_LITE = pytest.mark.parametrize("backend", ["lite"], indirect=True)
ON_SERVER = pytest.mark.parametrize(
    "backend", [pytest.param("server", marks=pytest.mark.server)], indirect=True
)
START_SECONDS = 120
STOP_SECONDS = 60  # to say goodbye, which 2.3.5 seldom ends
KILL_SECONDS = 5
# The launcher of the package `milvus`, made to take ports that a server had a minute ago.
_LAUNCHER = """
import socket, sys
from milvus import main

bind = socket.socket.bind

def bind_again(self, address):
    self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return bind(self, address)

socket.socket.bind = bind_again
sys.exit(main())
"""
# Its etcd takes a second port from this file alone, whose place it reads from the environment.
_ETCD = """
name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""
_PORTS = (
    "proxy",
    "etcd",
    "root-coord",
    "proxy-internal",
    "query-coord",
    "query-node",
    "index-coord",
    "index-node",
    "data-coord",
    "data-node",
)


def embeddings(dim: int = DIM) -> Embeddings:
    """Return a model whose vectors depend on the text alone."""
    return DeterministicFakeEmbedding(size=dim)


class CountingEmbeddings(Embeddings):
    """The same vectors, and a record of what was asked for."""

    def __init__(self, dim: int = DIM) -> None:
        self._model = embeddings(dim)
        self.documents: list[list[str]] = []
        self.queries: list[str] = []
        self.threads: set[str] = set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.threads.add(threading.current_thread().name)
        self.documents.append(texts)
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        self.threads.add(threading.current_thread().name)
        self.queries.append(text)
        return self._model.embed_query(text)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclasses.dataclass
class MilvusServer:
    """A Milvus server, with a folder and ports of its own: several can run at once."""

    folder: pathlib.Path
    ports: list[int] = dataclasses.field(default_factory=lambda: free_ports(len(_PORTS) + 1))
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [sys.executable, "-c", _LAUNCHER, "--data", str(self.folder)]
        *ports, peer = self.ports
        for name, port in zip(_PORTS, ports, strict=True):
            command += [f"--{name}-port", str(port)]
        self.folder.mkdir(parents=True, exist_ok=True)
        etcd = self.folder / "etcd.yaml"
        etcd.write_text(_ETCD.format(client=ports[_PORTS.index("etcd")], peer=peer))
        environment = {**os.environ, "ETCD_CONFIG_PATH": str(etcd)}
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        for _ in range(START_SECONDS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
                raise RuntimeError((self.folder / "output.log").read_text())
            if self._answers():
                return
        self.stop()
        raise TimeoutError(f"The Milvus server did not answer within {START_SECONDS} s.")

    def _answers(self) -> bool:
        try:
            client = MilvusClient(self.uri, timeout=5, dedicated=True)
        except MilvusException:
            return False
        with contextlib.closing(client):
            try:
                client.list_collections(timeout=5)
            except MilvusException:
                return False
        return True

    def stop(self, seconds: int = STOP_SECONDS) -> None:
        """Stop it; one that is to start again in its folder needs time to end well.

        The process is a launcher: SIGTERM would end it and leave the server. It ends when the
        server ends, and at SIGINT it kills the server.
        """
        if self.process is None:
            return
        pid = self.process.pid
        if self.process.poll() is None:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            for child in map(int, children.split()):
                os.kill(child, signal.SIGTERM)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=STOP_SECONDS)
        self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator["MilvusServer"]:
        self.start()
        try:
            yield self
        finally:
            self.stop(KILL_SECONDS)
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def ctrl_c_interrupts() -> Iterator[None]:
    """Hear the signal as in a terminal: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def quiet(uri: str) -> dict[str, Any]:
    """Return pymilvus's arguments for a connection without pings.

    Milvus Lite would break idle connections for them, and those that share the channel too.
    """
    options = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.use_local_subchannel_pool": 1}
    return {"uri": uri, "grpc_options": options}


def raw_client(uri: str) -> MilvusClient:
    """Return a client to look past the store."""
    return MilvusClient(dedicated=True, **quiet(uri))


def make_collection(
    client: MilvusClient,
    name: str,
    *,
    key: DataType = DataType.VARCHAR,
    metric: str = "COSINE",
    dynamic: bool = True,
    dim: int = DIM,
) -> None:
    """Make a collection as somebody else would have: what it is, its store must find out."""
    schema = MilvusClient.create_schema(enable_dynamic_field=dynamic)
    schema.add_field("pk", key, is_primary=True, max_length=500)
    schema.add_field("text", DataType.VARCHAR, max_length=1000)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type=metric)
    client.create_collection(name, schema=schema, index_params=indexes)


async def texts_of(store: MilvusStore, *ids: str) -> list[str]:
    """Return the texts of the ids that are there."""
    return [document.page_content for document in await store.aget_by_ids(list(ids))]
