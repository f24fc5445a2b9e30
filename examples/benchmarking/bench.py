"""A backend to measure on, and an embedding service."""

import asyncio
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from benchmarking import work
from benchmarking.comparing import OURS, PEER, Case, Run, Turn, compare
from benchmarking.sides import Place, Subject, openai_model
from benchmarking.work import Job, Plan
from tests.helpers.openai_process import OpenAIProcess

LATENCY: Final = 0.3
Result = TypeVar("Result")
Subjects = Mapping[str, Subject]

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Bench:
    """A backend, an embedding service, and how thoroughly to measure.

    Attributes:
        service: The embedding service.
        folder: Where Milvus Lite's files go.
        server: The server's address; `None` for Milvus Lite.
        repeat: How many turns each side has in a case.
        fast: Whether to measure small sizes only.
    """

    service: OpenAIProcess
    folder: pathlib.Path
    server: str | None = None
    repeat: int = 5
    fast: bool = False

    @property
    def latency(self) -> float:
        """How many seconds the embedding service takes, where a title says 300 ms."""
        return 0.01 if self.fast else LATENCY

    def size(self, thorough: int, fast: int) -> int:
        """Choose a number by how thorough this run is."""
        return fast if self.fast else thorough

    def place(self, file: str) -> Place:
        """Return a place for a new collection: on the server, or in a Milvus Lite file."""
        uri = self.server or str(self.folder / f"{file}.db")
        return Place(uri, f"benchmark_{os.getpid()}_{next(_numbers)}")

    def subject(self, side: str) -> AbstractAsyncContextManager[Subject]:
        """Open a side's store, without a collection."""
        return Subject.opened(side, openai_model(self.service.base_url), self.place(side))

    @contextlib.asynccontextmanager
    async def pair(self, **behaviour: Any) -> AsyncIterator[Subjects]:
        """Open both sides' stores with the same Documents, then configure the service."""
        async with self.subject(PEER) as peer, self.subject(OURS) as ours:
            for subject in (peer, ours):
                await self.fill(subject)
            self.service.configure(**behaviour)
            yield {PEER: peer, OURS: ours}

    async def fill(self, subject: Subject) -> None:
        """Add the Documents that searches find."""
        await work.add_at_once(subject.store, work.documents(self.size(1000, 50)))

    async def compare(self, name: str, sides: Mapping[str, Turn], **about: str) -> Case:
        """Run sides in turns, as `comparing.compare` does."""
        return await compare(name, sides, self.repeat, **about)

    async def compare_pair(self, name: str, pair: Subjects, plan: Plan, **about: str) -> Case:
        """Give all subjects of a pair the same work."""
        sides = {side: self.turn(subject, plan) for side, subject in pair.items()}
        return await self.compare(name, sides, **about)

    def turn(self, subject: Subject, plan: Plan) -> Turn:
        """Return a function that does a plan's work on a subject in a turn."""

        async def run(turn: int) -> Run:
            return await self._measure(subject, await plan(subject, turn))

        return run

    def turn_of_new_store(self, side: str, plan: Plan) -> Turn:
        """Return the same for a store that is new in each turn, and has no collection yet."""

        async def run(turn: int) -> Run:
            async with self.subject(side) as subject:
                return await self._measure(subject, await plan(subject, turn))

        return run

    async def _measure(self, subject: Subject, job: Job) -> Run:
        embedded, sent = self.service.embedding_requests, subject.sent
        start = time.perf_counter()
        result = await job.work()
        seconds = time.perf_counter() - start
        counts = {
            "embedding": self.service.embedding_requests - embedded,
            "Milvus": subject.sent - sent or job.calls,
        }
        return Run(seconds, await job.answer(result), counts)


async def in_new_process(work: Callable[[], Result]) -> Result:
    """Run a function in a process of its own, which has opened nothing yet."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
