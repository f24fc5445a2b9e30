"""Copies of a store, and of what holds one."""

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore, MilvusToolkit, MilvusToolsError
from milvus_tools.embeddings import BatchingEmbeddings
from tests.helpers.support import ON_LITE, embeddings

HOLDERS: dict[str, Callable[[MilvusStore], Any]] = {
    "store": lambda store: store,
    "view": lambda store: store.scoped(tenant="a"),
    "retriever": lambda store: store.as_retriever(),
    "multi-query retriever": lambda store: MilvusMultiQueryRetriever(store=store),
    "toolkit": MilvusToolkit,
    "embeddings": lambda _: BatchingEmbeddings(embeddings()),
    "list": lambda store: [store],
}


@ON_LITE
@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_r23_a_store_is_not_copied(
    shared: MilvusStore,
    copied: Callable[[Any], Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It is refused with one sentence, nothing on stderr, and the store goes on."""
    shared.add_texts(["original"], ids=["r23"])
    capfd.readouterr()
    for made in HOLDERS.values():
        with pytest.raises(TypeError, match=r"can't be copied .*because it") as raised:
            copied(made(shared))
        assert isinstance(raised.value, MilvusToolsError)
        del raised
        assert len(shared.get_by_ids(["r23"])) == 1
    gc.collect()
    # gRPC, in other tests' threads, writes of its connections there.
    said = [line for line in capfd.readouterr().err.splitlines() if "chttp2" not in line]
    assert said == []
