"""Tenants who search at the same time, each in a scope of their own."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import OURS, Case, Run, Turn, together
from benchmarking.scenarios.calls import RAW
from benchmarking.sides import Pairs, Subject, found, openai_model
from milvus_tools import MilvusStore

_Search = Callable[[str, list[float]], Awaitable[Pairs]]


async def tenants(bench: Bench) -> AsyncIterator[Case]:
    """Search by vector for up to 1000 tenants at once, against pymilvus alone.

    Milvus takes one filter per request, so no two tenants share one.
    """
    count = bench.size(1000, 5)
    names = [f"tenant {number}" for number in range(count)]
    async with bench.subject(OURS) as ours:
        given = list(work.documents(count))
        for document, name in zip(given, names, strict=True):
            document.metadata["tenant"] = name
        await work.add_at_once(ours.store, given)
        model = openai_model(bench.service.base_url)
        vectors = await model.aembed_documents(work.questions(count, 0))
        client = ours.store.aclient
        for several in (bench.size(100, 2), count):
            asked = list(zip(names[:several], vectors, strict=False))
            sides = {
                RAW: _searching(_raw_search(client, ours), asked, ours),
                OURS: _searching(_scoped_search(ours), asked, ours),
            }
            yield await bench.compare(f"{several} tenants at once", sides)
        await client.close()


def _searching(search: _Search, asked: Sequence[tuple[str, list[float]]], ours: Subject) -> Turn:
    async def run(_: int) -> Run:
        sent, start = ours.sent, time.perf_counter()
        answer = await together(search(name, vector) for name, vector in asked)
        seconds = time.perf_counter() - start
        return Run(seconds, answer, {"Milvus": ours.sent - sent or len(asked)})

    return run


def _scoped_search(ours: Subject) -> _Search:
    store = ours.store
    assert isinstance(store, MilvusStore)  # noqa: S101 - as the side is ours

    async def search(name: str, vector: list[float]) -> Pairs:
        view = store.scoped(tenant=name)
        return found(await view.asimilarity_search_by_vector(vector, k=work.K, timeout=60))

    return search


def _raw_search(client: Any, ours: Subject) -> _Search:
    """Send the request that our store sends."""

    async def search(name: str, vector: list[float]) -> Pairs:
        (hits,) = await client.search(
            ours.place.collection_name,
            data=[vector],
            anns_field="vector",
            search_params={"metric_type": "COSINE", "params": {}},
            filter=f'tenant == "{name}"',
            limit=work.K,
            output_fields=["pk", "text", "$meta"],
            timeout=60.0,
            consistency_level="Session",
        )
        return [(hit["entity"]["pk"], hit["entity"]["text"]) for hit in hits]

    return search
