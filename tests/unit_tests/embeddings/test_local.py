"""The local embedding model."""

import tracemalloc

from milvus_tools import local_embeddings


def test_long_texts_take_little_memory() -> None:
    """Texts are embedded a few at a time: the model pads all of a batch to the longest."""
    texts = ["word " * 1_000] * 64
    model = local_embeddings()
    model.embed_documents(texts[:1])
    tracemalloc.start()
    try:
        model.embed_documents(texts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64_000_000
