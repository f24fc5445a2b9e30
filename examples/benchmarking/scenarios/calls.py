"""Calls of the stores: many at the same time, from threads, and one by one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from langchain_core.documents import Document

from benchmarking import work
from benchmarking.bench import LATENCY, Bench
from benchmarking.comparing import OURS, PEER, Case, Run, Turn, compare
from benchmarking.sides import Pairs, Store, Subject, found, openai_model
from benchmarking.work import Plan

RAW: Final = "pymilvus"
_ONE_BY_ONE: Final = "langchain-milvus, one by one"
_LIMIT: Final = 8
_THREADS: Final = 32


async def tutorial(bench: Bench) -> AsyncIterator[Case]:
    """Do the work of langchain-milvus's tutorial on async functions, embedding in 300 ms.

    See <https://milvus.io/docs/langchain_milvus_async.md>. Here no question is asked twice, ids
    are given, and the collection is there before the first add (the scenario `adds` is without).
    The searches come first: a slow side adds less often, and would find less.
    """
    plans: dict[str, Callable[[int], tuple[Plan, Plan]]] = {
        "search": lambda count: (
            work.searching(count, work.search_one_by_one),
            work.searching(count),
        ),
        "add": lambda count: (work.adding(count, blocking=True), work.adding(count)),
        "delete": lambda count: (work.deleting(count, blocking=True), work.deleting(count)),
    }
    async with bench.subject(PEER) as slow, bench.pair(latency=bench.latency) as pair:
        await bench.fill(slow)
        for name, plan in plans.items():
            for count in (bench.size(10, 2), bench.size(100, 5)):
                blocking, concurrent = plan(count)
                sides = {_ONE_BY_ONE: bench.turn(slow, blocking)}
                for side, subject in pair.items():
                    sides[side] = bench.turn(subject, concurrent)
                yield await bench.compare(f"{name} {count}", sides)


async def searches(bench: Bench) -> AsyncIterator[Case]:
    """Search 1 to 1000 times at once, embedding in 300 ms."""
    async with bench.pair(latency=bench.latency) as pair:
        for count in (1, bench.size(10, 2), bench.size(100, 5), bench.size(1000, 20)):
            plan = work.searching(count)
            headline = f"{count} searches" if count == bench.size(100, 5) else ""
            yield await bench.compare_pair(f"{count} at once", pair, plan, headline=headline)


async def adds(bench: Bench) -> AsyncIterator[Case]:
    """Add single Documents at once, to a collection that the first of them makes."""
    count = bench.size(100, 5)
    plan = work.adding(count)
    sides = {side: bench.turn_of_new_store(side, plan) for side in (PEER, OURS)}
    headline = f"{count} adds to a new collection"
    yield await bench.compare(f"{count} at once", sides, headline=headline)


async def deletes(bench: Bench) -> AsyncIterator[Case]:
    """Delete Documents at once, each by an expression."""
    count = bench.size(100, 5)
    async with bench.pair() as pair:
        plan = work.deleting(count)
        headline = f"{count} deletes by expression"
        yield await bench.compare_pair(f"{count} at once", pair, plan, headline=headline)


async def limited(bench: Bench) -> AsyncIterator[Case]:
    """Search at once through an embedding service that works on 8 requests at a time."""
    count = bench.size(100, 10)
    plan = work.searching(count)
    limits: dict[str, Any] = {"latency": LATENCY, "max_concurrent": _LIMIT, "retry_after": 1.0}
    async with bench.pair(**limits) as pair:
        headline = f"{count} searches, 8 embeddings at a time"
        name = f"{count} searches, the others wait"
        yield await bench.compare_pair(name, pair, plan, headline=headline)
        bench.service.configure(**limits, refuse_when_full=True)
        yield await bench.compare_pair(f"{count} searches, the others get 429", pair, plan)


async def threads(bench: Bench) -> AsyncIterator[Case]:
    """Search with the blocking method from 32 threads, embedding in 300 ms."""
    count = bench.size(256, 8)
    async with bench.pair(latency=bench.latency) as pair:
        plan = work.searching(count, _search_in_threads)
        headline = f"{count} blocking searches, {_THREADS} threads"
        yield await bench.compare_pair(f"{count} searches", pair, plan, headline=headline)


async def sub_questions(bench: Bench) -> AsyncIterator[Case]:
    """Search for the sub-questions of one question at once, embedding in 300 ms."""
    async with bench.pair(latency=bench.latency) as pair:
        one, several = (work.searching(count) for count in (1, 8))
        yield await bench.compare_pair("1 question", pair, one)
        name = "8 sub-questions"
        yield await bench.compare_pair(name, pair, several, headline=name)


async def lone(bench: Bench) -> AsyncIterator[Case]:
    """Search by vector, one call at a time, against pymilvus alone."""
    turns = bench.size(300, 4)
    async with bench.pair() as pair:
        model = openai_model(bench.service.base_url)
        vectors = await model.aembed_documents(work.questions(turns + 1, 0))
        client = pair[OURS].store.aclient
        sides = {
            RAW: _timed(
                lambda vector: raw_search(client, pair[OURS], [vector]),
                lambda answers: pairs_of_hits(answers)[0],
                vectors,
            ),
            PEER: _timed(_search_by_vector(pair[PEER]), found, vectors),
            OURS: _timed(_search_by_vector(pair[OURS]), found, vectors),
        }
        yield await compare("a search by vector", sides, turns, baseline=RAW)
        await client.close()


async def _search_in_threads(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    def search(question: str) -> list[Document]:
        return store.similarity_search(question, k=work.K)

    def search_all() -> list[list[Document]]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(search, asked))

    return await asyncio.to_thread(search_all)


_Search = Callable[[list[float]], Awaitable[Any]]


def _timed(search: _Search, pairs: Callable[[Any], Pairs], vectors: list[list[float]]) -> Turn:
    async def run(turn: int) -> Run:
        start = time.perf_counter()
        answer = await search(vectors[turn])
        return Run(time.perf_counter() - start, pairs(answer))

    return run


def _search_by_vector(subject: Subject) -> _Search:
    return lambda vector: subject.store.asimilarity_search_by_vector(vector, k=work.K)


def raw_search(client: Any, subject: Subject, vectors: list[list[float]]) -> Awaitable[Any]:
    """Send the request that our store sends."""
    answers: Awaitable[Any] = client.search(
        subject.place.collection_name,
        data=vectors,
        anns_field="vector",
        search_params={"metric_type": "COSINE", "params": {}},
        filter="",
        limit=work.K,
        output_fields=["pk", "text", "$meta"],
        timeout=30.0,
        consistency_level="Session",
    )
    return answers


def pairs_of_hits(answers: Any) -> list[Pairs]:
    """Return the ids and texts that each vector found."""
    return [[(hit["entity"]["pk"], hit["entity"]["text"]) for hit in hits] for hits in answers]
