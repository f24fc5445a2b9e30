"""What becomes of the threads and the event loop that calls come from."""

import asyncio
import functools
import gc
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from langchain_core.documents import Document

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import Contender
from benchmarking.measures import Ticker, in_new_process
from benchmarking.results import OURS, PEER, Case, Run
from benchmarking.scenarios.calls import LATENCY
from benchmarking.service import EmbeddingService
from benchmarking.sides import Pairs, Place, Store, Subject, found

_THREADS: Final = 32
_PHASES: Final = ("connecting", "the first add", "searching", "closing")

_Stalls = dict[str, float]  # seconds per phase
_Life = tuple[_Stalls, list[Pairs]]  # and what was found


async def threads(bench: Bench) -> AsyncIterator[Case]:
    """Search with the blocking method, from 32 threads."""
    count = bench.size(256, 8)
    async with work.pair(bench, bench.size(1000, 50), latency=LATENCY) as both:
        plan = work.searching(count, _search_in_threads)
        headline = f"{count} blocking searches, {_THREADS} threads"
        yield await both.compare(f"{count} searches", plan, headline=headline)


async def _search_in_threads(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    def search(question: str) -> list[Document]:
        return store.similarity_search(question, k=work.K)

    def search_all() -> list[list[Document]]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(search, asked))

    return await asyncio.to_thread(search_all)


async def stalls(bench: Bench) -> AsyncIterator[Case]:
    """Live through a store's life in a new process per turn, and see how long its loop stalls."""
    bench.service.behave(latency=LATENCY)
    lives = _Lives(bench, bench.size(100, 5))
    for phase in _PHASES:
        yield await lives.compare(phase, operator.itemgetter(phase))
    headline = "longest stall of the event loop"
    yield await lives.compare(
        "all of it", lambda stalled: max(stalled.values()), headline=headline
    )


class _Lives:
    """Lives of stores, each lived once, though several cases look at it."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._count = count
        self._lived: dict[tuple[str, int], _Life] = {}

    async def compare(self, name: str, stall: Callable[[_Stalls], float], **about: str) -> Case:
        contenders = [self._contender(side, stall) for side in (PEER, OURS)]
        return await self._bench.compare(name, contenders, **about)

    def _contender(self, side: str, stall: Callable[[_Stalls], float]) -> Contender:
        async def run(turn: int) -> Run:
            stalled, answer = await self._life(side, turn)
            return Run(stall(stalled), answer)

        return Contender(side, run)

    async def _life(self, side: str, turn: int) -> _Life:
        if (side, turn) not in self._lived:
            place = self._bench.place(f"{side}-{turn}")  # a file has one process
            port = self._bench.service.port
            life = functools.partial(_live, side, place, port, self._count)
            self._lived[side, turn] = await in_new_process(life)
        return self._lived[side, turn]


def _live(side: str, place: Place, port: int, count: int) -> _Life:
    return asyncio.run(_watched(side, place, EmbeddingService(port), count))


async def _watched(side: str, place: Place, service: EmbeddingService, count: int) -> _Life:
    """Connect, add, search, close, and note the loop's longest stall of each."""
    stalled = dict.fromkeys(_PHASES, 0.0)
    connecting, adding, searching, closing = _PHASES
    # Making the model takes long, and so does a full garbage collection of all that is imported:
    # neither is a store's doing.
    model = service.model()
    gc.collect()
    gc.freeze()
    async with Ticker() as ticker:
        subject = Subject.make(side, model, place)
        await subject.open()
        stalled[connecting] = await ticker.take()
        await work.load(subject, count)
        stalled[adding] = await ticker.take()
        hits = await work.search_each(subject.store, work.questions(count, 0))
        stalled[searching] = await ticker.take()
        await subject.drop()
        await ticker.take()
        await subject.close()
        stalled[closing] = await ticker.take()
    return stalled, [found(some) for some in hits]
