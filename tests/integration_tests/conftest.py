"""A collection that tests share, because making one takes the server seconds."""

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from milvus_tools import MilvusStore
from tests.helpers.agents import Birds, birds_of
from tests.helpers.support import raw_client

_NAME = "shared_by_tests"


def _fresh(uri: str) -> Iterator[str]:
    client = raw_client(uri)
    name = f"{_NAME}_{os.getpid()}"
    yield name
    client.drop_collection(name)
    client.close()


@pytest.fixture(scope="session")
def lite_shared_name(lite_uri: str) -> Iterator[str]:
    """The shared collection's name on Milvus Lite."""
    yield from _fresh(lite_uri)


@pytest.fixture(scope="session")
def server_shared_name(server_uri: str) -> Iterator[str]:
    """The shared collection's name on the server."""
    yield from _fresh(server_uri)


@pytest.fixture
def shared(
    make_store: Callable[..., MilvusStore], backend: str, request: pytest.FixtureRequest
) -> MilvusStore:
    """A store on the shared collection: each test keeps to ids and values of its own."""
    return make_store(collection_name=request.getfixturevalue(f"{backend}_shared_name"))


@pytest.fixture
def birds(shared: MilvusStore, request: pytest.FixtureRequest) -> Birds:
    """Three Documents on the shared collection, in a scope of the test's own."""
    return birds_of(shared, request.node.nodeid)


@pytest.fixture
def own_uri(backend: str, uri: str, tmp_path: pathlib.Path) -> str:
    """The server, or a file of the test's own on Milvus Lite, which is open nowhere else."""
    return str(tmp_path / "own.db") if backend == "lite" else uri
