"""How long a store holds up its caller's event loop."""

import asyncio
import functools
import gc
import time
from collections.abc import AsyncIterator
from typing import Final

from benchmarking import work
from benchmarking.bench import Bench, in_new_process
from benchmarking.comparing import OURS, PEER, Case, Run, Turn
from benchmarking.sides import Place, Subject, openai_model

_TICK: Final = 0.001


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Live through a store's life in a new process: the longest stall of the event loop."""
    bench.service.configure(latency=bench.latency)
    sides = {side: _life(bench, side, bench.size(100, 5)) for side in (PEER, OURS)}
    headline = "longest stall of the event loop"
    yield await bench.compare("connect, add, search, close", sides, headline=headline)


def _life(bench: Bench, side: str, count: int) -> Turn:
    async def run(turn: int) -> Run:
        place = bench.place(f"{side}-{turn}")  # a file has one process
        return await in_new_process(
            functools.partial(_live, side, place, bench.service.base_url, count)
        )

    return run


def _live(side: str, place: Place, base_url: str, count: int) -> Run:
    return asyncio.run(_watched(side, place, base_url, count))


async def _watched(side: str, place: Place, base_url: str, count: int) -> Run:
    """Connect, add, search and close, and note the loop's longest stall in each."""
    longest = {}
    # Making the model takes long, and so does a full garbage collection of all that is imported:
    # neither is a store's doing.
    model = openai_model(base_url)
    gc.collect()
    gc.freeze()
    stalls: list[float] = []
    ticking = asyncio.create_task(_tick(stalls))
    await asyncio.sleep(0)
    subject = Subject.make(side, model, place)
    await subject.open()
    longest["connecting"] = await _take(stalls)
    await work.add_at_once(subject.store, work.documents(count))
    longest["adding"] = await _take(stalls)
    hits = await work.search_each(subject.store, work.questions(count, 0))
    longest["searching"] = await _take(stalls)
    await subject.drop()
    await _take(stalls)
    await subject.close()
    longest["closing"] = await _take(stalls)
    ticking.cancel()
    counts = {f"{phase} (ms)": round(1000 * stall, 1) for phase, stall in longest.items()}
    return Run(max(longest.values()), await work.pairs_of(hits), counts)


async def _tick(stalls: list[float]) -> None:
    """Note by how much each tick is late."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(_TICK)
        stalls.append(time.perf_counter() - start - _TICK)


async def _take(stalls: list[float]) -> float:
    """Return the longest stall since the last call."""
    await asyncio.sleep(2 * _TICK)
    longest = max(stalls)
    stalls.clear()
    return longest
