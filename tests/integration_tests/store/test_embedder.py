"""How a store asks its embedding models."""

import asyncio
from collections.abc import Callable

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from milvus_tools import MilvusStore
from milvus_tools.store import BatchedTransport, DirectTransport
from milvus_tools.transport.connection import Connection
from tests.helpers.support import DIM, ON_LITE

MakeStore = Callable[..., MilvusStore]
CALLS = 9


class Noting(Embeddings):
    """A model with a method for several queries, which notes how many each request has."""

    def __init__(self) -> None:
        self.model = DeterministicFakeEmbedding(size=DIM)
        self.requests: list[int] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.requests.append(len(texts))
        return self.model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_queries(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)


def direct(connection: Connection) -> DirectTransport:
    """Return a transport that shares nothing."""
    return DirectTransport(connection)


def batched(connection: Connection) -> BatchedTransport:
    """Return one that shares what it can."""
    return BatchedTransport(DirectTransport(connection), lite=connection.lite)


@pytest.mark.parametrize("transport", [direct, batched])
@pytest.mark.parametrize("batching", [True, False])
async def test_calls_share_requests_to_the_model_as_batching_says(
    make_store: MakeStore, transport: Callable[[Connection], object], *, batching: bool
) -> None:
    """Whichever transport carries the store's requests to Milvus."""
    model = Noting()
    store = make_store(model, transport=transport, batching=batching)
    await store.aadd_texts(["there"])
    model.requests.clear()
    await asyncio.gather(*(store.asimilarity_search(f"q{number}") for number in range(CALLS)))
    assert model.requests == ([CALLS] if batching else [1] * CALLS)


async def test_views_share_the_stores_models_and_stores_do_not(make_store: MakeStore) -> None:
    """Each store asks for itself, though the model is the same object."""
    model = Noting()
    store = make_store(model)
    await store.aadd_texts(["there"])
    other = make_store(model)
    await other.aopen()
    model.requests.clear()
    views = [store.scoped(tenant=tenant) for tenant in "abc"]
    await asyncio.gather(*(view.asimilarity_search("q") for view in views))
    assert model.requests == [1]  # the same question of all three
    await asyncio.gather(store.asimilarity_search("q"), other.asimilarity_search("q"))
    assert model.requests == [1, 1, 1]


@ON_LITE  # Milvus 2.3 takes one vector field
async def test_a_model_of_two_fields_is_asked_once(make_store: MakeStore) -> None:
    """Its vectors go to both."""
    model = Noting()
    store = make_store([model, model], vector_field=["one", "two"])
    await store.aadd_texts(["there"])
    model.requests.clear()
    assert await store.asimilarity_search("q", k=1)
    assert model.requests == [1]
