"""Many calls at the same time, in one event loop."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Final

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.results import OURS, PEER, Case, Measured

LATENCY: Final = 0.3
_LIMIT: Final = 8


async def searches(bench: Bench) -> AsyncIterator[Case]:
    """Ask 1 to 1000 questions at the same time."""
    async with work.pair(bench, bench.size(1000, 50), latency=LATENCY) as both:
        for count in (1, bench.size(10, 2), bench.size(100, 5), bench.size(1000, 20)):
            plan = work.searching(count, work.search_each)
            headline = f"{count} searches" if count == bench.size(100, 5) else ""
            yield await both.compare(f"{count} at once", plan, headline=headline)


async def adds(bench: Bench) -> AsyncIterator[Case]:
    """Add single documents at the same time, to a collection that the first of them makes."""
    count = bench.size(100, 5)
    plan = work.adding(count, work.add_each)
    contenders = [bench.newcomer(side, plan) for side in (PEER, OURS)]
    headline = f"{count} adds to a new collection"
    yield await bench.compare(f"{count} at once", contenders, headline=headline)


async def deletes(bench: Bench) -> AsyncIterator[Case]:
    """Delete documents by expressions, at the same time; it counts if they are gone."""
    count = bench.size(100, 5)
    async with work.pair(bench, bench.size(1000, 50)) as both:
        plan = work.deleting(count, work.delete_each)
        headline = f"{count} deletes by expression"
        yield await both.compare(f"{count} at once", plan, headline=headline)


async def limited(bench: Bench) -> AsyncIterator[Case]:
    """Search through an embedding service that lets the others wait, or refuses them."""
    count = bench.size(100, 10)
    plan = work.searching(count, work.search_each)
    async with work.pair(bench, bench.size(1000, 50)) as both:
        bench.service.behave(latency=LATENCY, at_most=_LIMIT)
        headline = f"{count} searches, 8 embeddings at a time"
        yield await both.compare(f"{count} searches, the others wait", plan, headline=headline)
        bench.service.behave(latency=LATENCY, at_most=_LIMIT, refuses=True)
        yield await both.compare(f"{count} searches, the others get 429", plan)


async def sub_questions(bench: Bench) -> AsyncIterator[Case]:
    """Ask 8 sub-questions at the same time, and 1 alone."""
    async with work.pair(bench, bench.size(1000, 50), latency=LATENCY) as both:
        one = await both.compare("1 question", work.searching(1, work.search_each))
        yield one
        several = await both.compare(
            "8 sub-questions", work.searching(8, work.search_each), headline="8 sub-questions"
        )
        grown = tuple(_grown(side, one.of(side.side)) for side in several.measured)
        yield dataclasses.replace(several, measured=grown)


def _grown(several: Measured, one: Measured) -> Measured:
    """Add how many times as long it took as one."""
    if not several.median or not one.median:
        return several
    times = {"times as long as 1": round(several.median / one.median, 2)}
    return dataclasses.replace(several, counts={**several.counts, **times})
