"""Embedding models, backends, and ways past the store to its collection."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from milvus_lite.db import MilvusLite
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusStore

DIM = 8
ON_LITE = pytest.mark.parametrize("backend", ["lite"], indirect=True)
ON_SERVER = pytest.mark.parametrize(
    "backend", [pytest.param("server", marks=pytest.mark.server)], indirect=True
)


def embeddings(dim: int = DIM) -> Embeddings:
    """Return a model whose vectors depend on the text alone."""
    return DeterministicFakeEmbedding(size=dim)


ON_LITE_TCP = pytest.mark.parametrize("backend", ["lite_tcp"], indirect=True)


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
    """Make a collection past the store, which has to read its schema."""
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


def texts(documents: Sequence[Any]) -> list[str]:
    """Return the Documents' texts."""
    return [document.page_content for document in documents]


def require_free(path: str) -> None:
    """Open a Milvus Lite file past all servers, which fails while the file is open elsewhere."""
    MilvusLite(path).close()
