"""How the retriever searches: by vectors, for diversity, by vectors and words."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import BM25BuiltInFunction
from pymilvus import MilvusClient

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import InvalidInputError, UnsupportedError
from tests.helpers.support import (
    DIM,
    ON_LITE,
    ON_SERVER,
    CountingEmbeddings,
    embeddings,
    make_collection,
    texts,
)

MakeStore = Callable[..., MilvusStore]
NEAR = ["a red kite", "a red kite.", "a red kite!", "an owl"]
WORDS = {
    "builtin_function": BM25BuiltInFunction(output_field_names="words"),
    "vector_field": ["vector", "words"],
}


class Directions(Embeddings):
    """Kites point one way, owls another; what a text is about has no influence on its words."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * DIM
        vector[0 if "kite" in text else 1] = 1.0
        vector[2] = len(text) / 1000
        return vector


def ranks(document: Document) -> dict[str, int]:
    """Return a Document's ranks by query."""
    return {one["query"]: one["rank"] for one in document.metadata["retrieval"]["found_by"]}


def scores(documents: Sequence[Document]) -> list[Any]:
    """Return what Milvus measured for each."""
    return [document.metadata["retrieval"]["found_by"][0]["score"] for document in documents]


async def test_diverse_hits_are_unlike_each_other(make_store: MakeStore) -> None:
    """`mmr` shows the owl before the third kite; it has ranks, and no score."""
    store = make_store(Directions())
    await store.aadd_texts(NEAR)
    near = MilvusMultiQueryRetriever(store, k=2)
    assert "an owl" not in texts(await near.ainvoke("kite"))
    diverse = MilvusMultiQueryRetriever(store, mode="mmr", lambda_mult=0.3, k=2, fetch_k=4)
    found = await diverse.ainvoke("kite")
    assert "an owl" in texts(found)
    assert scores(found) == [None, None]
    few = MilvusMultiQueryRetriever(store, mode="mmr", lambda_mult=0.3, k=2, fetch_k=2)
    assert "an owl" not in texts(await few.ainvoke("kite"))


@ON_LITE
async def test_hybrid_goes_by_vectors_and_words(make_store: MakeStore) -> None:
    """Hits of one search alone are there, those of both are first; the filter holds for both."""
    store = make_store(Directions(), **WORDS)
    everything = [*NEAR, "zebra crossing", *(f"number {n}" for n in range(20))]
    await store.aadd_texts(everything, [{"n": n} for n in range(len(everything))])
    dense = MilvusMultiQueryRetriever(store, k=3)
    hybrid = MilvusMultiQueryRetriever(store, mode="hybrid", queries=["an owl"], k=5)
    assert "zebra crossing" not in texts(await dense.ainvoke("kite zebra"))
    found = await hybrid.ainvoke("kite zebra")
    assert {"zebra crossing", "a red kite", "an owl"} <= set(texts(found))
    assert texts(await hybrid.ainvoke("kite zebra", expr="n == 4")) == ["zebra crossing"]
    weighted = MilvusMultiQueryRetriever(
        store,
        mode="hybrid",
        k=1,
        search_kwargs={"ranker_type": "weighted", "ranker_params": {"weights": [0.0, 1.0]}},
    )
    assert texts(await weighted.ainvoke("kite zebra")) == ["zebra crossing"]


@ON_LITE
async def test_a_search_says_which_vectors_it_goes_by(make_store: MakeStore) -> None:
    """Dense, sparse or both; words need no embedding, and dense hits have a relevance."""
    model = CountingEmbeddings()
    store = make_store(model, **WORDS)
    await store.aadd_texts(["a red kite", "an owl"])
    for mode, embedded in (("sparse", 0), ("dense", 1), ("hybrid", 2)):
        found = await store.asimilarity_search("kite", k=1, search_mode=mode)
        assert mode == "dense" or texts(found) == ["a red kite"]
        assert len(model.queries) == embedded
    scored = await store.asimilarity_search_with_relevance_scores("kite", search_mode="dense")
    assert all(0 <= score <= 1 for _, score in scored)
    with pytest.raises(UnsupportedError):
        await store.asimilarity_search_with_relevance_scores("kite", search_mode="sparse")
    with pytest.raises(InvalidInputError, match="one of dense, sparse, hybrid"):
        await store.asimilarity_search("kite", search_mode="words")
    with pytest.raises(InvalidInputError, match="this searches one"):
        await store.asimilarity_search("kite", search_mode="dense", ranker_type="rrf")
    with pytest.raises(InvalidInputError, match="not known here"):
        await store.amax_marginal_relevance_search("kite", search_mode="dense")


@ON_LITE
async def test_a_store_of_words_alone_is_searched_by_words(make_store: MakeStore) -> None:
    """It has nothing else; hybrid search with it is refused."""
    store = make_store([], builtin_function=BM25BuiltInFunction(output_field_names="words"))
    await store.aadd_texts(["a red kite", "an owl"])
    assert texts(await MilvusMultiQueryRetriever(store).ainvoke("owl")) == ["an owl"]
    with pytest.raises(ValueError, match="needs a store with a dense embedding and BM25"):
        MilvusMultiQueryRetriever(store, mode="hybrid")
    with pytest.raises(InvalidInputError, match="needs one embedding model"):
        await MilvusMultiQueryRetriever(store, mode="mmr").ainvoke("owl")


async def test_hybrid_without_words_is_an_error_or_falls_back(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """On a collection that has no words, which is all that the server can have."""
    store = make_store(**WORDS)
    make_collection(client, store.collection_name)
    plain = make_store(collection_name=store.collection_name)
    await plain.aadd_texts(["a red kite", "an owl"])
    ranked = {"ranker_params": {"k": 10}}
    with pytest.raises(UnsupportedError, match="hybrid search needs a dense and a sparse"):
        await MilvusMultiQueryRetriever(store, mode="hybrid").ainvoke("an owl")
    for one in (store, plain):
        retriever = MilvusMultiQueryRetriever(
            one, mode="hybrid", fallback=True, k=1, search_kwargs=ranked if one is store else {}
        )
        assert texts(await retriever.ainvoke("an owl")) == ["an owl"]
    dense = MilvusMultiQueryRetriever(store, k=1)
    assert texts(await dense.ainvoke("an owl")) == ["an owl"]


@ON_SERVER
async def test_an_old_server_has_no_hybrid_search(make_store: MakeStore) -> None:
    """A store with two vector fields can't be written there, and the retriever finds nothing."""
    store = make_store([embeddings(), embeddings(4)], vector_field=["one", "two"])
    with pytest.raises(UnsupportedError):
        await store.aadd_texts(["kite"])
    assert await MilvusMultiQueryRetriever(store, mode="hybrid").ainvoke("kite") == []


@ON_LITE
async def test_sparse_goes_by_words_alone(make_store: MakeStore) -> None:
    """For each query, whether the store has dense vectors too or not."""
    for words in (WORDS, {**WORDS, "vector_field": ["words"]}):
        embedding = Directions() if words is WORDS else None
        store = make_store(embedding, collection_name=f"words_{embedding is None}", **words)
        await store.aadd_texts([*NEAR, "zebra crossing"])
        sparse = MilvusMultiQueryRetriever(store, mode="sparse", queries=["owl"], k=5)
        found = await sparse.ainvoke("zebra")
        assert {text: list(ranks(one)) for one in found for text in texts([one])} == {
            "zebra crossing": ["zebra"],
            "an owl": ["owl"],
        }


@ON_LITE
async def test_sparse_needs_words(make_store: MakeStore) -> None:
    """Dense vectors are not searched in their place."""
    store = make_store(Directions())
    await store.aadd_texts(NEAR)
    with pytest.raises((UnsupportedError, InvalidInputError), match="sparse"):
        await MilvusMultiQueryRetriever(store, mode="sparse").ainvoke("kite")
