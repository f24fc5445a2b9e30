"""Loading many documents, into a collection that is there."""

import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import CallsFailedError, Contender, compare
from benchmarking.measures import peak_megabytes
from benchmarking.results import OURS, PEER, Case, Measured, Run
from benchmarking.sides import Subject

_PER_TEXT: Final = 0.0003  # seconds: 0.3 for 1000
_AFTERWARDS: Final = 5  # questions, whose answers show that the same is there

# How a side loads; ours last.
_LOADERS: Final[dict[str, tuple[str, work.Adding]]] = {
    PEER: (PEER, work.add_at_once),
    OURS: (OURS, work.add_at_once),
}


async def time_taken(bench: Bench) -> AsyncIterator[Case]:
    """Load documents; count them, and search them."""
    bench.service.behave(per_text=_PER_TEXT)
    count = bench.size(20_000, 300)
    contenders = [_Loading(bench, name, count).contender(_seconds) for name in _LOADERS]
    case = await bench.compare(
        f"{count} documents", contenders, headline=f"load {count} documents"
    )
    yield dataclasses.replace(case, measured=tuple(_rated(one, count) for one in case.measured))


async def memory(bench: Bench) -> AsyncIterator[Case]:
    """Trace Python's memory while documents are loaded: a fourth of them, and all."""
    bench.service.behave(per_text=_PER_TEXT)
    beside = ", the database's included" if bench.lite else ""
    for count in (bench.size(5_000, 75), bench.size(20_000, 300)):
        contenders = [_Loading(bench, name, count).contender(peak_megabytes) for name in _LOADERS]
        yield await compare(f"{count} documents{beside}", contenders, turns=1, unit="MB")


async def _seconds(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


@dataclasses.dataclass(frozen=True)
class _Loading:
    """Loads documents with a new store each time.

    Attributes:
        bench: What it stands on.
        name: Which of the loaders.
        count: How many documents.
    """

    bench: Bench
    name: str
    count: int

    def contender(self, gauge: Callable[[Awaitable[object]], Awaitable[float]]) -> Contender:
        """Let its loading be gauged."""
        side, add = _LOADERS[self.name]

        async def run(turn: int) -> Run:
            given = list(work.documents(self.count))
            async with self.bench.subject(side) as subject:
                await work.load(subject, 1)  # which makes the collection
                figure = await gauge(add(subject.store, given))
                return Run(figure, await self._answer(subject, turn))

        return Contender(self.name, run)

    async def _answer(self, subject: Subject, turn: int) -> object:
        """Say what some questions find, if all is there."""
        arrived = await subject.count()
        if arrived != self.count:
            raise CallsFailedError(f"{arrived} of {self.count} documents are there")
        hits = await work.search_each(subject.store, work.questions(_AFTERWARDS, turn))
        return await work.pairs_of(hits)


def _rated(one: Measured, count: int) -> Measured:
    """Add how many documents a second that is."""
    rate = {"documents/s": round(count / one.median)} if one.median else {}
    return dataclasses.replace(one, counts={**one.counts, **rate})
