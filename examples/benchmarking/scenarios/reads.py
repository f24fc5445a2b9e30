"""Reads by filter and for diversity, many at the same time; nothing is embedded."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from langchain_core.documents import Document

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import Case, together
from benchmarking.sides import Pairs, Store, Subject, found, openai_model
from benchmarking.work import Job, Plan

_ROWS: Final = 4  # of each range
_FETCH: Final = 20

_Read = Callable[[Store, int], Awaitable[list[Document]]]


async def metadata(bench: Bench) -> AsyncIterator[Case]:
    """Search by metadata at once, each with a filter of its own."""
    count = bench.size(100, 5)
    async with bench.pair() as pair:
        headline = f"{count} searches by metadata"
        by_value = _reading(count, _by_value)
        name = f"{count} at once, one value each"
        yield await bench.compare_pair(name, pair, by_value, headline=headline)
        by_range = _reading(count, _by_range)
        yield await bench.compare_pair(f"{count} at once, a range each", pair, by_range)


async def mmr(bench: Bench) -> AsyncIterator[Case]:
    """Search by vector for diverse Documents (MMR) at once."""
    count = bench.size(100, 5)
    async with bench.pair() as pair:
        model = openai_model(bench.service.base_url)
        vectors = await model.aembed_documents(work.questions(count, 0))

        async def diverse(store: Store, number: int) -> list[Document]:
            vector = vectors[number]
            search = store.amax_marginal_relevance_search_by_vector
            return await search(vector, k=work.K, fetch_k=_FETCH)

        headline = f"{count} MMR searches"
        plan = _reading(count, diverse)
        yield await bench.compare_pair(f"{count} at once", pair, plan, headline=headline)


def _reading(count: int, read: _Read) -> Plan:
    """Plan to read at once; the answer is what each read found."""

    async def plan(subject: Subject, _: int) -> Job:
        def run() -> Awaitable[list[list[Document]]]:
            return together(read(subject.store, number) for number in range(count))

        return Job(run, _found, count)

    return plan


async def _found(reads: list[list[Document]]) -> list[Pairs]:
    return [sorted(found(documents)) for documents in reads]


async def _by_value(store: Store, number: int) -> list[Document]:
    return await store.asearch_by_metadata(expr=f'name == "document-{number}"')


async def _by_range(store: Store, number: int) -> list[Document]:
    return await store.asearch_by_metadata(
        expr=f"number >= {number} and number < {number + _ROWS}"
    )
