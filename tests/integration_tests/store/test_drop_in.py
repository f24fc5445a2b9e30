"""One program, run with langchain-milvus's class and with ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_milvus import Milvus
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from tests.conftest import new_name
from tests.helpers.support import embeddings, quiet

TEXTS = ["kite", "falcon", "database", "vector", "index"]
METADATAS = [{"n": number, "even": number % 2 == 0} for number in range(len(TEXTS))]
IDS = [f"id-{number}" for number in range(len(TEXTS))]
COSINE = {"index_type": "AUTOINDEX", "metric_type": "COSINE", "params": {}}

LEAKY = pytest.mark.filterwarnings(  # langchain-milvus leaves clients and loops behind it
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def plain(documents: list[Document]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return ids, texts and metadata; langchain-milvus has the id among the latter."""
    own = ("pk", "text", "vector")
    return [
        (
            document.id or document.metadata["pk"],
            document.page_content,
            {key: value for key, value in document.metadata.items() if key not in own},
        )
        for document in documents
    ]


def scored(found: list[tuple[Document, float]]) -> list[Any]:
    """Return the same with distances, as far as float32 can tell them."""
    documents = plain([document for document, _ in found])
    return [*zip(documents, (round(score, 5) for _, score in found), strict=True)]


def program(store: Any) -> list[Any]:
    """Use the sync operations and return what they answer."""
    model = embeddings()
    vector, bird = model.embed_query("kite"), model.embed_query("bird")
    answers: list[Any] = [
        store.add_texts(TEXTS[:3], METADATAS[:3], ids=IDS[:3]),
        store.add_documents(
            [Document(page_content=TEXTS[3], metadata=METADATAS[3])], ids=[IDS[3]]
        ),
        store.add_embeddings(
            [TEXTS[4]], [model.embed_query(TEXTS[4])], [METADATAS[4]], ids=IDS[4:]
        ),
    ]
    strong = {"consistency_level": "Strong"}
    answers += [
        plain(store.similarity_search("kite", k=3, **strong)),
        plain(store.similarity_search("kite", k=3, expr="n > 1", **strong)),
        plain(store.similarity_search_by_vector(vector, k=2)),
        scored(store.similarity_search_with_score("kite", k=3)),
        scored(store.similarity_search_with_score_by_vector(vector, k=3)),
        scored(store.similarity_search_with_relevance_scores("kite", k=3)),
        plain(store.max_marginal_relevance_search("bird", k=3)),
        plain(store.max_marginal_relevance_search_by_vector(bird, k=3, lambda_mult=0.2)),
        sorted(store.get_pks("n >= 2")),
        [found[:2] for found in plain(store.search_by_metadata("n == 1"))],
        plain(store.as_retriever(search_kwargs={"k": 2}).invoke("kite")),
        bool(store.delete(ids=[IDS[1]])),
        bool(store.delete(expr="n == 2")),
    ]
    store.upsert([IDS[0]], [Document(page_content="red kite", metadata={"n": 9, "even": False})])
    answers.append(plain(store.similarity_search("red kite", k=1, **strong)))
    return answers


async def aprogram(store: Any) -> list[Any]:
    """Use the async operations and return what they answer."""
    model = embeddings()
    vector, bird = model.embed_query("kite"), model.embed_query("bird")
    strong = {"consistency_level": "Strong"}
    answers: list[Any] = [
        await store.aadd_texts(TEXTS[:3], METADATAS[:3], ids=IDS[:3]),
        await store.aadd_documents(
            [Document(page_content=TEXTS[3], metadata=METADATAS[3])], ids=[IDS[3]]
        ),
        await store.aadd_embeddings(
            [TEXTS[4]], [model.embed_query(TEXTS[4])], [METADATAS[4]], ids=IDS[4:]
        ),
        plain(await store.asimilarity_search("kite", k=3, **strong)),
        plain(await store.asimilarity_search_by_vector(vector, k=2)),
        scored(await store.asimilarity_search_with_score("kite", k=3, expr="n < 4")),
        scored(await store.asimilarity_search_with_score_by_vector(vector, k=3)),
        scored(await store.asimilarity_search_with_relevance_scores("kite", k=3, expr="n > 0")),
        plain(await store.amax_marginal_relevance_search("bird", k=3)),
        plain(await store.amax_marginal_relevance_search_by_vector(bird, k=2)),
        sorted(await store.aget_pks("n >= 2")),
        [found[:2] for found in plain(await store.asearch_by_metadata("n == 1"))],
        plain(await store.as_retriever(search_kwargs={"k": 2}).ainvoke("kite")),
        bool(await store.adelete(ids=[IDS[1]])),
        bool(await store.adelete(expr="n == 2")),
    ]
    await store.aupsert(
        [IDS[0]], [Document(page_content="red kite", metadata={"n": 9, "even": False})]
    )
    answers.append(plain(await store.asimilarity_search("red kite", k=1, **strong)))
    return answers


@pytest.fixture
def two_stores(uri: str, client: MilvusClient) -> Any:
    """A maker of the same store with either class, on a collection of its own."""
    names: list[str] = []

    def make(kind: type, **arguments: Any) -> Any:
        names.append(new_name())
        return kind(
            embeddings(),
            collection_name=names[-1],
            connection_args=quiet(uri),
            index_params=COSINE,
            enable_dynamic_field=True,
            **arguments,
        )

    yield make
    for name in names:
        client.drop_collection(name)


@LEAKY
def test_a_program_answers_the_same_with_either_class(two_stores: Callable[..., Any]) -> None:
    """The sync operations return equal ids, texts, metadata, distances and ranks."""
    with two_stores(MilvusStore) as ours:
        assert program(ours) == program(two_stores(Milvus))


@LEAKY
def test_an_async_program_answers_the_same_with_either_class(
    two_stores: Callable[..., Any],
) -> None:
    """The async operations return equal ids, texts, metadata, distances and ranks."""

    async def run(kind: type) -> list[Any]:
        return await aprogram(two_stores(kind))

    ours = two_stores(MilvusStore)
    with ours:
        answers = asyncio.run(aprogram(ours))
    assert answers == asyncio.run(run(Milvus))


@LEAKY
def test_from_texts_makes_the_same_store_with_either_class(
    uri: str, client: MilvusClient, collection_name: str
) -> None:
    """The class methods take the same arguments, and each class finds what the other wrote."""
    arguments = {
        "collection_name": collection_name,
        "connection_args": quiet(uri),
        "index_params": COSINE,
        "enable_dynamic_field": True,
        "consistency_level": "Strong",
    }
    with MilvusStore.from_texts(TEXTS, embeddings(), METADATAS, ids=IDS, **arguments) as store:
        theirs = Milvus(embeddings(), **arguments)
        assert plain(theirs.similarity_search("kite", k=5)) == plain(
            store.similarity_search("kite", k=5)
        )
    documents = [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(TEXTS, METADATAS, strict=True)
    ]
    theirs = Milvus.from_documents(documents, embeddings(), ids=IDS, drop_old=True, **arguments)
    with MilvusStore(embeddings(), **arguments) as store:
        assert plain(store.similarity_search("kite", k=5)) == plain(
            theirs.similarity_search("kite", k=5)
        )
