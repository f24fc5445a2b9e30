"""What a scenario works with: a backend, the stores of both sides, and the embedding service."""

import dataclasses
import itertools
import os
import pathlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarking.comparing import Contender, compare
from benchmarking.results import OURS, PEER, Case, Run
from benchmarking.service import EmbeddingService
from benchmarking.sides import Place, Subject

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Job:
    """Work to be timed.

    Attributes:
        work: The work.
        answer: Tells what is to be compared of what it came to; not timed.
        calls: How many calls of the store it makes, each of which langchain-milvus sends to
            Milvus in a request of its own.
        counts: What else is to be counted of what it came to.
    """

    work: Callable[[], Awaitable[Any]]
    answer: Callable[[Any], Awaitable[object]]
    calls: int
    counts: Callable[[Any], Mapping[str, float]] = lambda _: {}


# Makes a subject ready for a turn, and says what to time.
Plan = Callable[[Subject, int], Awaitable[Job]]


@dataclasses.dataclass(frozen=True)
class Bench:
    """A backend, an embedding service, and how thoroughly to measure.

    Attributes:
        service: The embedding service.
        folder: Where Milvus Lite's files go.
        server: The server's address; `None` for Milvus Lite.
        repeat: How many turns each side has in a case.
        fast: Whether to do all of it small.
    """

    service: EmbeddingService
    folder: pathlib.Path
    server: str | None = None
    repeat: int = 5
    fast: bool = False

    @property
    def lite(self) -> bool:
        """Whether Milvus Lite is measured."""
        return self.server is None

    def size(self, thorough: int, fast: int) -> int:
        """Choose a number by how thorough this run is."""
        return fast if self.fast else thorough

    def place(self, file: str) -> Place:
        """Return a place for a new collection: on the server, or in a Milvus Lite file."""
        uri = self.server or str(self.folder / f"{file}.db")
        return Place(uri, f"benchmark_{os.getpid()}_{next(_numbers)}")

    def subject(self, side: str) -> AbstractAsyncContextManager[Subject]:
        """Make a side's store, as `Subject.opened` does."""
        return Subject.opened(side, self.service.model(), self.place(side))

    async def compare(self, name: str, contenders: Sequence[Contender], **about: str) -> Case:
        """Run contenders in turns, as `comparing.compare` does."""
        return await compare(name, contenders, self.repeat, **about)

    def contender(self, side: str, subject: Subject, plan: Plan) -> Contender:
        """Let a subject do in each turn what a plan makes of it."""

        async def run(turn: int) -> Run:
            return await self.measure(subject, await plan(subject, turn))

        return Contender(side, run)

    def newcomer(self, side: str, plan: Plan) -> Contender:
        """Let a side do in each turn what a plan says, with a new store and no collection yet."""

        async def run(turn: int) -> Run:
            async with self.subject(side) as subject:
                return await self.measure(subject, await plan(subject, turn))

        return Contender(side, run)

    async def measure(self, subject: Subject, job: Job) -> Run:
        """Time a job, and count what it asked for."""
        before, sent = self.service.counters.requests, subject.sent
        start = time.perf_counter()
        result = await job.work()
        seconds = time.perf_counter() - start
        counts = {
            "embedding": self.service.counters.requests - before,
            "Milvus": subject.sent - sent or job.calls,
            **job.counts(result),
        }
        return Run(seconds, await job.answer(result), counts)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Both sides' stores, with the same Documents in them.

    Attributes:
        bench: What they stand on.
        peer: langchain-milvus's.
        ours: Ours.
    """

    bench: Bench
    peer: Subject
    ours: Subject

    async def compare(self, name: str, plan: Plan, **about: str) -> Case:
        """Let both do the same."""
        sides = {PEER: self.peer, OURS: self.ours}
        contenders = [self.bench.contender(side, store, plan) for side, store in sides.items()]
        return await self.bench.compare(name, contenders, **about)
