"""The backends that tests run on, and stores on them."""

import dataclasses
import gc
import itertools
import os
import pathlib
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from tests.helpers.lite_server import lite_over_tcp
from tests.helpers.milvus_server import MilvusServer, is_installed
from tests.helpers.support import embeddings, raw_client

_numbers = itertools.count(1)
_SHARED = pytest.StashKey[MilvusServer]()
_ON_SERVER = re.compile(r"[\[-]server[\]-]")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run be had without what is on by default."""
    parser.addoption("--no-batching", action="store_true", help="make stores that don't batch")


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach the processes of a run in the background; change the stores' default.

    And no HTTP client, of this process or another, reads the certificates of all authorities,
    which takes it longer than a test: none speaks to another machine.
    """
    os.environ.setdefault("SSL_CERT_DIR", os.devnull)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which processes would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--no-batching"):
        MilvusStore.__init__.__kwdefaults__["batching"] = False


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of the run where the server is to be that it shares with the others."""
    if _SHARED not in node.config.stash:
        node.config.stash[_SHARED] = MilvusServer(_new_folder(), quick=True)
    server = node.config.stash[_SHARED]
    node.workerinput["server"] = {"folder": str(server.folder), "ports": server.ports}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Start that server if the first process that knows its tests has some on the server."""
    server = node.config.stash[_SHARED]
    if server.process is None and _is_to_start() and any(map(_ON_SERVER.search, ids)):
        server.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop that server when the processes have ended."""
    if server := config.stash.get(_SHARED, None):
        server.clear()


def shared_uri(config: pytest.Config) -> str | None:
    """Return the address of the server that the run's processes share, if it was started."""
    given = getattr(config, "workerinput", {}).get("server")
    server = MilvusServer(pathlib.Path(given["folder"]), given["ports"]) if given else None
    return server.uri if server and server.was_started else None


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of the searches for garbage that tests make."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def lite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Milvus Lite file that all tests share."""
    return str(tmp_path_factory.mktemp("lite") / "shared.db")


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """The real server, started once, if a test asks for it in a run of one process."""
    server = MilvusServer(tmp_path_factory.mktemp("server"), quick=True)
    with server.running():
        yield server


@pytest.fixture(scope="session")
def server_uri(request: pytest.FixtureRequest) -> str:
    """The server that MILVUS_TEST_URI names, that the run's processes share, or a new one."""
    running = os.environ.get("MILVUS_TEST_URI") or shared_uri(request.config)
    return running or str(request.getfixturevalue("milvus_server").uri)


@pytest.fixture(scope="session")
def lite_tcp_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Milvus Lite over TCP: the store knows it as a server, of a newer version."""
    with lite_over_tcp(tmp_path_factory.mktemp("lite_tcp")) as uri:
        yield uri


@pytest.fixture(params=["lite", pytest.param("server", marks=pytest.mark.server)])
def backend(request: pytest.FixtureRequest) -> str:
    """Run the test on Milvus Lite, and again on the server."""
    return str(request.param)


@pytest.fixture
def uri(backend: str, request: pytest.FixtureRequest) -> str:
    """The backend's URI."""
    return str(request.getfixturevalue(f"{backend}_uri"))


@pytest.fixture
def client(uri: str) -> Iterator[MilvusClient]:
    """A raw client, to look past the store."""
    client = raw_client(uri)
    yield client
    client.close()


def _is_to_start() -> bool:
    return is_installed() and not os.environ.get("MILVUS_TEST_URI")


def _new_folder() -> pathlib.Path:
    return pathlib.Path(tempfile.mkdtemp(prefix="milvus_of_tests_"))


def new_name() -> str:
    """Return a collection name that no other test of this run has, nor another run's."""
    return f"test_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def collection_name(uri: str) -> Iterator[str]:
    """A collection name of the test's own; what is made under it is dropped."""
    name = new_name()
    yield name
    client = raw_client(uri)
    client.drop_collection(name)
    client.close()


@dataclasses.dataclass
class Stores:
    """Makes stores on the test's backend, and closes them."""

    uri: str
    collection_name: str
    made: list[MilvusStore] = dataclasses.field(default_factory=list)

    def __call__(self, embedding: Any = None, **arguments: Any) -> MilvusStore:
        """Make one."""
        arguments.setdefault("connection_args", {"uri": self.uri})
        arguments.setdefault("collection_name", self.collection_name)
        store = MilvusStore(embeddings() if embedding is None else embedding, **arguments)
        self.made.append(store)
        return store


@pytest.fixture
def make_store(uri: str, collection_name: str) -> Iterator[Callable[..., MilvusStore]]:
    """A function that makes stores as `MilvusStore` does, on this backend's own collection."""
    stores = Stores(uri, collection_name)
    yield stores
    for store in stores.made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., MilvusStore]) -> MilvusStore:
    """A store whose collection does not exist yet."""
    return make_store()
