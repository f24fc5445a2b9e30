"""What goes on when the caller has left, or while the process forks."""

import asyncio
import gc
from typing import Any

from milvus_tools._io.loop import portal
from milvus_tools.spec import CollectionSpec
from milvus_tools.transport import ddl
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.requests import Deadline
from tests.helpers.proxy import half_open_server
from tests.helpers.threads import run_python

_FORK_DURING_AN_IMPORT = """
import os, sys, threading
from langchain_core.embeddings import DeterministicFakeEmbedding
from milvus_tools import MilvusStore

begun = threading.Event()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "scipy":
            begun.set()

sys.meta_path.insert(0, Finder())

def write(uri):
    arguments = {"connection_args": {"uri": uri}, "timeout": 30}
    with MilvusStore(DeterministicFakeEmbedding(size=8), **arguments) as store:
        store.add_texts(["a"])
        return str(store.count())

writer = threading.Thread(target=write, args=(sys.argv[1],))
writer.start()
begun.wait()
reading, writing = os.pipe()
if os.fork() == 0:
    import scipy.sparse
    os.write(writing, str(hasattr(scipy.sparse, "csr_matrix")).encode())
    os._exit(0)
os.close(writing)
with open(reading) as pipe:
    print(pipe.read())
os.wait()
writer.join()
"""


async def test_r24_a_drop_that_fails_after_its_deadline_is_not_logged() -> None:
    """It goes on in its thread, and no one is left who would be told."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    spec = CollectionSpec(collection_name="gone", vector_fields=("vector",))
    with half_open_server() as uri:
        connection = Connection({"uri": uri})
        dropping = asyncio.create_task(connection.administer(ddl.drop, Deadline.after(1), spec))
        await asyncio.sleep(0)
        dropping.cancel()
        await asyncio.wait([dropping])
        assert dropping.cancelled()
        await connection.settle()
    del dropping, connection
    gc.collect()
    assert logged == []
    portal().waiting.stop(wait=True)


def test_r24_a_fork_waits_for_what_milvus_s_client_imports(tmp_path: Any) -> None:
    """A child that is forked meanwhile could never end the import itself."""
    assert run_python(_FORK_DURING_AN_IMPORT, str(tmp_path / "fork.db")) == "True\n"
