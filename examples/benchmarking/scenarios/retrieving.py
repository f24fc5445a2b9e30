"""Multi-query retrievers: ours, and langchain-classic's on the stores of both sides."""

import collections
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from langchain_classic.retrievers import MultiQueryRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from benchmarking import work
from benchmarking.bench import Bench, Job, Pair, Plan
from benchmarking.comparing import CallsFailedError, Contender
from benchmarking.results import OURS, Case
from benchmarking.scenarios.calls import LATENCY
from benchmarking.sides import Pairs, Store, Subject, found
from milvus_tools import MilvusMultiQueryRetriever, MilvusStore

CLASSIC: Final = "MultiQueryRetriever on langchain-milvus"
CLASSIC_ON_OURS: Final = "MultiQueryRetriever on milvus_tools"
_QUERIES: Final = 8
_HITS: Final = 20  # of each query
_K: Final = 4
_RANK_CONSTANT: Final = 60
_FORBIDDEN: Final = "forbidden"

Make = Callable[[Store, list[str]], BaseRetriever]
Check = Callable[[Pairs, Sequence[Pairs]], bool]


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Ask 8 queries for a question, then with one more that the embedding service refuses."""
    async with work.pair(bench, bench.size(1000, 50)) as both:
        bench.service.behave(latency=LATENCY, forbidden=_FORBIDDEN)
        yield await bench.compare("8 queries", _contenders(both, []))
        name = "8 queries, and one that the service refuses"
        yield await bench.compare(name, _contenders(both, [_FORBIDDEN]))


def _contenders(both: Pair, more: Sequence[str]) -> list[Contender]:
    """Let three retrievers ask, with some queries more than those that have an answer."""
    classic = _plan(both.peer, _classic, _is_union, more)
    fused = _plan(both.peer, _ours, _is_best, more)
    return [
        both.bench.contender(CLASSIC, both.peer, classic),
        both.bench.contender(CLASSIC_ON_OURS, both.ours, classic),
        both.bench.contender(OURS, both.ours, fused),
    ]


def _classic(store: Store, queries: list[str]) -> BaseRetriever:
    retriever = store.as_retriever(search_kwargs={"k": _HITS})
    making: RunnableLambda[Any, list[str]] = RunnableLambda(lambda _: list(queries))
    return MultiQueryRetriever(retriever=retriever, llm_chain=making)


def _ours(store: Store, queries: list[str]) -> BaseRetriever:
    assert isinstance(store, MilvusStore)  # noqa: S101 - as the cases say
    return MilvusMultiQueryRetriever(
        store=store,
        queries=queries,
        include_original=False,
        k=_K,
        fetch_k=_HITS,
        on_error="skip",
    )


def _plan(truth: Subject, make: Make, check: Check, more: Sequence[str]) -> Plan:
    """Plan to ask; the answer is right if it follows from what each query finds alone."""

    async def plan(subject: Subject, turn: int) -> Job:
        queries = work.questions(_QUERIES, turn)
        retriever = make(subject.store, [*queries, *more])

        async def answer(documents: list[Document]) -> None:
            alone = [await truth.store.asimilarity_search(one, k=_HITS) for one in queries]
            if not check(found(documents), [found(hits) for hits in alone]):
                raise CallsFailedError("another answer than the queries have alone")

        def counts(documents: list[Document]) -> dict[str, float]:
            ids = [id_ for id_, _ in found(documents)]
            return {"documents": len(ids), "twice": len(ids) - len(set(ids))}

        return Job(lambda: retriever.ainvoke("Which kite is it?"), answer, len(queries), counts)

    return plan


def _is_union(answer: Pairs, alone: Sequence[Pairs]) -> bool:
    return set(answer) == {pair for hits in alone for pair in hits}


def _is_best(answer: Pairs, alone: Sequence[Pairs]) -> bool:
    """Tell whether these are the best by reciprocal rank fusion, some of which may be equal."""
    scores: collections.Counter[tuple[str, str]] = collections.Counter()
    for hits in alone:
        for rank, pair in enumerate(hits, 1):
            scores[pair] += 1 / (_RANK_CONSTANT + rank)  # type: ignore[assignment]
    best = [score for _, score in scores.most_common(_K)]
    return [scores[pair] for pair in answer] == best
