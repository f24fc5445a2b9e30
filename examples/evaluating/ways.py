"""The ways to search that are compared, and the stores that they search."""

import contextlib
import pathlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Final

from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction

from evaluating.asking import asked
from evaluating.expansion import expanded
from graphs.rag import Context, build_graph
from milvus_tools import LinkReranker, MilvusStore, local_embeddings
from milvus_tools.links import LINK_FETCH_K

K: Final = 10
BASELINE: Final = "single query"
GRAPH: Final = "graph"
EXPANDING_HITS: Final = 3
EXPANDING_TERMS: Final = 10

Stores = Mapping[str, MilvusStore]
Find = Callable[[str], Awaitable[list[str]]]
_LOADING: Final = 600.0  # seconds in which a set is written, on a busy machine

Way = tuple[str, MilvusStore, Find]


def stores(file: pathlib.Path) -> Stores:
    """Make the stores in which a set is found by meaning, by words, and by both."""
    common: Any = {"connection_args": {"uri": str(file)}, "timeout": _LOADING}
    words: Any = {"builtin_function": BM25BuiltInFunction(output_field_names="sparse")}
    both = ["dense", "sparse"]
    return {
        "dense": MilvusStore(local_embeddings, "dense", **common),
        "BM25": MilvusStore(None, "words", vector_field=["sparse"], **words, **common),
        "hybrid": MilvusStore(local_embeddings, "both", vector_field=both, **words, **common),
    }


@contextlib.asynccontextmanager
async def loaded(
    stores: Iterable[MilvusStore], documents: Sequence[Document]
) -> AsyncIterator[None]:
    """Load Documents into those of the stores that are searched, and close them afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        for store in stores:
            await stack.enter_async_context(store)
            await store.aadd_documents(list(documents))
        yield


def ways(by: Stores) -> Iterator[Way]:
    """Name the ways to search, each with the store that it searches."""
    hybrid = by["hybrid"]
    for mode, store in by.items():
        yield f"{BASELINE}, {mode}", store, single(store)
    yield "RM3, hybrid", hybrid, by_expansion(hybrid)
    yield f"{LINK_FETCH_K} hits by links, hybrid", hybrid, by_links(hybrid)
    for mode, store in by.items():
        yield f"{GRAPH}, {mode}", store, by_graph(store)
    for variant, settings in _VARIANTS.items():
        yield f"{GRAPH}, hybrid: {variant}", hybrid, by_graph(hybrid, **settings)


_VARIANTS: Final[Mapping[str, Mapping[str, int]]] = {
    "one round": {"max_rounds": 1},
    "four sub-questions": {"max_subquestions": 4},
    "twelve sub-questions": {"max_subquestions": 12},
    "three rounds of four": {"max_rounds": 3, "max_subquestions": 4},
    "three rounds": {"max_rounds": 3},
}


def single(store: MilvusStore) -> Find:
    """Search once, for the question."""

    async def find(question: str) -> list[str]:
        return _ids(await store.asimilarity_search(question, K))

    return find


def by_expansion(store: MilvusStore) -> Find:
    """Search for the question, and then for it with the terms of the first hits."""

    async def find(question: str) -> list[str]:
        hits = await store.asimilarity_search(question, EXPANDING_HITS)
        query = expanded(question, [hit.page_content for hit in hits], EXPANDING_TERMS)
        return _ids(await store.asimilarity_search(query, K))

    return find


def by_links(store: MilvusStore) -> Find:
    """Search once for more than is wanted, and rank by links."""
    reranker = LinkReranker(top_n=K)

    async def find(question: str) -> list[str]:
        hits = await store.asimilarity_search(question, LINK_FETCH_K)
        return _ids(await reranker.acompress_documents(hits, question))

    return find


def by_graph(store: MilvusStore, **settings: Any) -> Find:
    """Run the graph, by rule."""
    graph = build_graph(Context(store=store, k=K, **settings))

    async def find(question: str) -> list[str]:
        _, passages = await asked(graph, question)
        return list(passages)

    return find


def _ids(found: Sequence[Document]) -> list[str]:
    return [str(one.id) for one in found]
