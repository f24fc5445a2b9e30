"""A store in a process where gevent has replaced parts of the standard library."""

import pytest

from tests.helpers.support import DIM, ON_LITE
from tests.helpers.threads import run_python

_STORY = f"""
import sys
from gevent import monkey
monkey.patch_all(**eval(sys.argv[3]))
import asyncio, gevent
from langchain_core.embeddings import DeterministicFakeEmbedding
from milvus_tools import MilvusStore
from milvus_tools.embeddings import BatchingEmbeddings

model = DeterministicFakeEmbedding(size={DIM})
store = MilvusStore(
    model, sys.argv[2], connection_args={{"uri": sys.argv[1]}}, timeout=20
)

def told(call):
    try:
        return call()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"

for call in (
    lambda: len(store.add_texts(["a"], ids=["gevent"])),
    lambda: len(store.get_by_ids(["gevent"])),
    lambda: asyncio.run(store.aget_by_ids(["gevent"]))[0].page_content,
    lambda: gevent.spawn(told, lambda: len(store.get_by_ids(["gevent"]))).get(),
    lambda: len(BatchingEmbeddings(model).embed_query("a")),
    store.close,
):
    print(told(call))
"""
_REFUSED = "UnsupportedError: gevent has replaced threads, select or queues"


@ON_LITE
@pytest.mark.parametrize("patched", ["{}", "{'thread': False}"])
def test_r22_gevent_is_named(own_uri: str, collection_name: str, patched: str) -> None:
    """Each call but `close` is refused, from every side, and nothing is said on stderr."""
    with_stderr = f"import os\nos.dup2(1, 2)\n{_STORY}"
    *lines, closed = run_python(with_stderr, own_uri, collection_name, patched).splitlines()
    assert len(lines) == 5
    assert [line for line in lines if not line.startswith(_REFUSED)] == []
    assert closed == "None"


def test_r22_the_store_works_beside_gevent(own_uri: str, collection_name: str) -> None:
    """As the message says, if threads, select and queues are left as they are."""
    patched = "{'thread': False, 'select': False, 'queue': False}"
    lines = run_python(_STORY, own_uri, collection_name, patched).splitlines()
    assert lines == ["1", "1", "a", "1", str(DIM), "None"]
