"""Several queries of one question: multi-query retrievers, and the graph."""

import collections
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from langchain_classic.retrievers import MultiQueryRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from benchmarking import work
from benchmarking.bench import Bench, Subjects
from benchmarking.comparing import OURS, PEER, CallsFailedError, Case, Turn
from benchmarking.sides import Pairs, Store, Subject, found
from benchmarking.work import Job, Plan
from graphs.rag import Context, build_graph
from milvus_tools import MilvusMultiQueryRetriever, MilvusStore

CLASSIC: Final = "MultiQueryRetriever on langchain-milvus"
CLASSIC_ON_OURS: Final = "MultiQueryRetriever on milvus_tools"
_QUERIES: Final = 8
_HITS: Final = 20  # of each query
_K: Final = 4
_RANK_CONSTANT: Final = 60
_FORBIDDEN: Final = "forbidden"

_Make = Callable[[Store, list[str]], BaseRetriever]
_Check = Callable[[Pairs, Sequence[Pairs]], bool]


async def graph(bench: Bench) -> AsyncIterator[Case]:
    """Run the LangGraph app in one round, embedding in 300 ms."""
    async with bench.subject(OURS) as ours:
        await bench.fill(ours)
        bench.service.configure(latency=bench.latency)
        counts = {f"{_QUERIES} sub-questions": _QUERIES, "1 sub-question": 1}
        sides = {name: bench.turn(ours, _running(ours, count)) for name, count in counts.items()}
        yield await bench.compare("a run of the graph", sides)


async def retriever(bench: Bench) -> AsyncIterator[Case]:
    """Ask multi-query retrievers 8 given queries, embedding in 300 ms."""
    async with bench.pair(latency=bench.latency, forbidden=_FORBIDDEN) as pair:
        yield await bench.compare("8 queries", _retrievers(bench, pair, []))
        name = "8 queries, and one that the service refuses"
        yield await bench.compare(name, _retrievers(bench, pair, [_FORBIDDEN]))


def _running(subject: Subject, count: int) -> Plan:
    """Plan to run the graph; each sub-question must find what it finds alone."""
    app = build_graph(Context(store=subject.store, k=work.K, max_rounds=1))

    async def plan(subject: Subject, turn: int) -> Job:
        # A question of several is searched for as a whole, too.
        parts = work.questions(count - 1 or 1, turn)

        async def answer(output: Mapping[str, Any]) -> None:
            asked = output["subquestions"]
            if len(asked) != count:
                raise CallsFailedError(f"{len(asked)} sub-questions")
            for one in asked:
                alone = await subject.store.asimilarity_search(one["text"], k=work.K)
                if one["found"] != [id_ for id_, _ in found(alone)]:
                    raise CallsFailedError("another answer than a sub-question has alone")

        return Job(lambda: app.ainvoke({"question": " ".join(parts)}), answer, count)

    return plan


def _retrievers(bench: Bench, pair: Subjects, more: Sequence[str]) -> dict[str, Turn]:
    """Let three retrievers ask, with some queries more than those that have an answer."""
    classic = _asking(pair[PEER], _classic, _is_union, more)
    fused = _asking(pair[PEER], _ours, _is_best, more)
    return {
        CLASSIC: bench.turn(pair[PEER], classic),
        CLASSIC_ON_OURS: bench.turn(pair[OURS], classic),
        OURS: bench.turn(pair[OURS], fused),
    }


def _classic(store: Store, queries: list[str]) -> BaseRetriever:
    making: RunnableLambda[Any, list[str]] = RunnableLambda(lambda _: list(queries))
    return MultiQueryRetriever(
        retriever=store.as_retriever(search_kwargs={"k": _HITS}), llm_chain=making
    )


def _ours(store: Store, queries: list[str]) -> BaseRetriever:
    assert isinstance(store, MilvusStore)  # noqa: S101 - as the pair has it
    return MilvusMultiQueryRetriever(
        store=store,
        queries=queries,
        include_original=False,
        k=_K,
        fetch_k=_HITS,
        on_error="skip",
    )


def _asking(truth: Subject, make: _Make, check: _Check, more: Sequence[str]) -> Plan:
    """Plan to ask; the answer is right if it follows from what each query finds alone."""

    async def plan(subject: Subject, turn: int) -> Job:
        queries = work.questions(_QUERIES, turn)
        asked = make(subject.store, [*queries, *more])

        async def answer(documents: list[Document]) -> None:
            alone = [await truth.store.asimilarity_search(one, k=_HITS) for one in queries]
            if not check(found(documents), [found(hits) for hits in alone]):
                raise CallsFailedError("another answer than the queries have alone")

        return Job(lambda: asked.ainvoke("Which kite is it?"), answer, len(queries))

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
