"""What many calls take beyond the requests of pymilvus that do the same work."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import OURS, Case, together
from benchmarking.scenarios.calls import RAW, pairs_of_hits, raw_search
from benchmarking.sides import Pairs, Store, Subject, openai_model
from benchmarking.work import Job, Plan
from milvus_tools import MilvusStore

_VECTORS: Final = 250  # in one search

# Does the work of a turn by pymilvus alone, and returns what each call must find.
_Raw = Callable[[int], Awaitable[list[Pairs]]]


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Search and get at once, against the fewest requests of pymilvus that do the same."""
    count, many = bench.size(100, 5), bench.size(1000, 20)
    ids = [str(one.id) for one in work.documents(count)]
    async with bench.pair() as pair:
        ours, model = pair[OURS], openai_model(bench.service.base_url)
        vectors = await model.aembed_documents(work.questions(count, 0))
        client = ours.store.aclient

        async def search(_: int) -> list[Pairs]:
            return pairs_of_hits(await raw_search(client, ours, vectors))

        async def embed_and_search(turn: int) -> list[Pairs]:
            embedded = await model.aembed_documents(work.questions(many, turn))
            parts = [embedded[start : start + _VECTORS] for start in range(0, many, _VECTORS)]
            answers = await asyncio.gather(*(raw_search(client, ours, part) for part in parts))
            return [*itertools.chain.from_iterable(map(pairs_of_hits, answers))]

        async def get(_: int) -> list[Pairs]:
            return await _raw_get(client, ours, ids)

        def by_vector(store: Store) -> Awaitable[Any]:
            return together(store.asimilarity_search_by_vector(one, k=work.K) for one in vectors)

        def by_id(store: Store) -> Awaitable[Any]:
            if isinstance(store, MilvusStore):
                return together(store.aget_by_ids([one]) for one in ids)
            # langchain-milvus gets nothing by id.
            return together(store.asearch_by_metadata(f'pk == "{one}"', limit=1) for one in ids)

        plans: dict[str, tuple[_Raw, Plan]] = {
            f"{count} searches by vector": (search, _at_once(by_vector, count)),
            f"{count} gets by id": (get, _at_once(by_id, count)),
            f"{many} searches, embedding in 300 ms": (embed_and_search, work.searching(many)),
        }
        for name, (raw, plan) in plans.items():
            bench.service.configure(latency=bench.latency if raw is embed_and_search else 0.0)
            sides = {RAW: bench.turn(ours, _raw_plan(raw))}
            sides |= {side: bench.turn(subject, plan) for side, subject in pair.items()}
            yield await bench.compare(name, sides)
        await client.close()


def _at_once(calls: Callable[[Store], Awaitable[Any]], count: int) -> Plan:
    async def plan(subject: Subject, _: int) -> Job:
        return Job(lambda: calls(subject.store), work.pairs_of, count)

    return plan


def _raw_plan(raw: _Raw) -> Plan:
    async def answer(pairs: list[Pairs]) -> object:
        return pairs

    async def plan(_: Subject, turn: int) -> Job:
        return Job(lambda: raw(turn), answer, 1)

    return plan


async def _raw_get(client: Any, subject: Subject, ids: list[str]) -> list[Pairs]:
    rows = await client.query(
        subject.place.collection_name,
        filter=f"pk in {json.dumps(ids)}",
        output_fields=["pk", "text", "$meta"],
        timeout=30.0,
        consistency_level="Session",
    )
    texts = {row["pk"]: row["text"] for row in rows}
    return [[(id_, texts[id_])] for id_ in ids]
