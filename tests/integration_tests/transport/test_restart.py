"""A server that stops and starts again while a store is open."""

import asyncio
import contextlib
import pathlib
import subprocess

import pytest
from pymilvus import MilvusClient, MilvusException

from milvus_tools import MilvusStore
from milvus_tools.transport.grpc_errors import NOT_LOADED
from tests.conftest import new_name
from tests.helpers.milvus_server import MilvusServer
from tests.helpers.outage import require_errors, require_recovery
from tests.helpers.support import embeddings

TRIES = 60


def wait_for_collection(server: MilvusServer, name: str) -> None:
    """Return when the server can answer for a collection that it had loaded.

    It takes requests some seconds before it has its data back. That a collection is not loaded
    is an answer: what follows of it is the store's to do.
    """
    assert server.process is not None
    with contextlib.closing(MilvusClient(server.uri, dedicated=True)) as client:
        for _ in range(TRIES):
            try:
                client.query(name, filter='pk == "outage"', consistency_level="Strong", timeout=5)
            except MilvusException as error:
                if error.code == NOT_LOADED:
                    return
            else:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(timeout=1)
                pytest.fail("The server ended.")
    pytest.fail(f"The server did not bring the collection back in {TRIES} tries.")


@pytest.mark.server
@pytest.mark.timeout(600)
async def test_a_store_outlives_a_restart_of_its_server(tmp_path: pathlib.Path) -> None:
    """While the server is gone calls fail in time; when it is back the same store goes on."""
    with MilvusServer(tmp_path / "server", quick=True).running() as server:
        arguments = {"connection_args": {"uri": server.uri}, "timeout": 120}  # it loads slowly
        async with MilvusStore(embeddings(), new_name(), **arguments) as store:
            await store.aadd_texts(["before"], [{"outage": True}], ids=["outage"])
            server.stop()
            await require_errors(store)
            server.start()
            await asyncio.to_thread(wait_for_collection, server, store.collection_name)
            await require_recovery(store)
