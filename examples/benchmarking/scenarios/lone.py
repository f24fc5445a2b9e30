"""One call at a time: what a store adds to the request that pymilvus alone would make."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import Contender, compare
from benchmarking.results import OURS, PEER, Case, Run
from benchmarking.sides import Pairs, Subject, found

RAW: Final = "pymilvus"

Search = Callable[[list[float]], Awaitable[Any]]


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Search by vector, in turns with pymilvus's async client on our collection."""
    turns = bench.size(300, 4)
    async with work.pair(bench, bench.size(1000, 50)) as both:
        vectors = await bench.service.model().aembed_documents(work.questions(turns + 1, 0))
        client = both.ours.store.aclient
        contenders = [
            _contender(RAW, _raw(client, both.ours), _hits, vectors),
            _contender(PEER, _by_vector(both.peer), found, vectors),
            _contender(OURS, _by_vector(both.ours), found, vectors),
        ]
        yield await compare("a search by vector", contenders, turns, baseline=RAW)
        await client.close()


def _contender(
    side: str, search: Search, pairs: Callable[[Any], Pairs], vectors: list[list[float]]
) -> Contender:
    async def run(turn: int) -> Run:
        start = time.perf_counter()
        answer = await search(vectors[turn])
        return Run(time.perf_counter() - start, pairs(answer))

    return Contender(side, run)


def _by_vector(subject: Subject) -> Search:
    return lambda vector: subject.store.asimilarity_search_by_vector(vector, k=work.K)


def _raw(client: Any, subject: Subject) -> Search:
    """Send what our store sends."""
    return lambda vector: client.search(
        subject.place.collection_name,
        data=[vector],
        anns_field="vector",
        search_params={"metric_type": "COSINE", "params": {}},
        filter="",
        limit=work.K,
        output_fields=["pk", "text", "$meta"],
        timeout=30.0,
        consistency_level="Session",
    )


def _hits(answer: Any) -> Pairs:
    (hits,) = answer
    return [(hit["entity"]["pk"], hit["entity"]["text"]) for hit in hits]
