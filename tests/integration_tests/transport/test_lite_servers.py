"""Milvus Lite's files: why one can't be opened, and who has it while it is freed."""

import gc
import logging
import pathlib
import threading
from collections.abc import Iterator

import pytest
from milvus_lite.db import MilvusLite
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import UnavailableError
from tests.helpers.support import embeddings, raw_client, require_free
from tests.helpers.threads import BOUND

TRIES = 8


@pytest.fixture(params=["logging", "no logging"])
def disabled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test as the application logs, and again with logging disabled."""
    if request.param == "no logging":
        logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file that no other test opens."""
    return str(tmp_path / "own.db")


def opening(path: str) -> str:
    """Return what is said of a file that can't be opened."""
    store = MilvusStore(embeddings(), connection_args={"uri": path})
    with pytest.raises(UnavailableError) as raised:
        store.open()
    store.close()
    assert raised.value.__cause__ is not None
    return str(raised.value)


def test_r24_the_reason_is_told_whether_or_not_it_is_logged(path: str, disabled: None) -> None:
    """A file of another kind, without its path."""
    pathlib.Path(path).write_text("no database")
    said = opening(path)
    assert said.startswith("Milvus Lite can't open its file: ")
    assert "File exists" in said
    assert "None" not in said
    assert path not in said


def test_r24_a_file_that_another_process_has_is_told_apart(path: str, disabled: None) -> None:
    """It is open past all servers here, which is the same to Milvus Lite."""
    elsewhere = MilvusLite(path)
    assert "is open in another process" in opening(path)
    elsewhere.close()
    with MilvusStore(embeddings(), connection_args={"uri": path}) as store:
        assert store.count() == 0


def forget_a_store(path: str) -> None:
    """Write a row, and leave the store to the garbage collector."""
    store = MilvusStore(embeddings(), "kept", connection_args={"uri": path})
    store.add_texts(["a"])
    del store
    gc.collect()


def rows(client: MilvusClient) -> int:
    """Count the rows, in a server that may be new."""
    client.load_collection("kept")
    return len(client.query("kept", filter="", limit=9))


def test_r26_a_client_that_opens_the_file_of_a_forgotten_store_works(path: str) -> None:
    """It joins the server, which goes on, or waits until the file is free."""
    for number in range(TRIES):
        forget_a_store(path)
        client = raw_client(path)
        assert rows(client) == number + 1
        client.close()


def test_r26_a_client_that_opens_the_file_while_a_store_closes_works(path: str) -> None:
    """It waits until the file is free, and has a server of its own then."""
    for number in range(TRIES):
        store = MilvusStore(embeddings(), "kept", connection_args={"uri": f"{path}{number}.db"})
        store.add_texts(["a"])
        closing = threading.Thread(target=store.close)
        closing.start()
        closing.join()
        client = raw_client(f"{path}{number}.db")
        assert rows(client) == 1
        client.close()


def test_r26_a_store_that_opens_the_file_of_a_forgotten_store_works(path: str) -> None:
    """It finds the server that runs, or waits."""
    for number in range(TRIES):
        forget_a_store(path)
        with MilvusStore(embeddings(), "kept", connection_args={"uri": path}) as store:
            assert store.count() == number + 1


def test_r26_the_file_of_a_forgotten_store_is_freed(path: str) -> None:
    """If no client opens it meanwhile; one that did so before does not count."""
    store = MilvusStore(embeddings(), "kept", connection_args={"uri": path})
    store.add_texts(["a"])
    before = raw_client(path)
    assert rows(before) == 1
    before.close()
    threads = {thread for thread in threading.enumerate() if thread.name == "milvus-tools"}
    del store
    gc.collect()
    for thread in threads:
        thread.join(BOUND)
    require_free(path)
