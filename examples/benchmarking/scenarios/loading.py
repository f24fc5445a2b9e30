"""Load many Documents into a collection that is there."""

import asyncio
import functools
import math
import pathlib
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

from langchain_core.documents import Document

from benchmarking import work
from benchmarking.bench import Bench, in_new_process
from benchmarking.comparing import OURS, PEER, CallsFailedError, Case, Run, Turn, compare
from benchmarking.sides import Place, Store, Subject, openai_model
from benchmarking.work import Job, Plan
from milvus_tools import MilvusStore
from milvus_tools.ingest import aingest

_PER_TEXT: Final = 0.0003  # seconds: 0.3 for 1000
_BATCH: Final = 1000  # Documents that langchain-milvus sends in a request
_AFTERWARDS: Final = 5  # questions, whose answers show that the same is there
_MEGABYTE: Final = 1_000_000
_STATUS: Final = pathlib.Path("/proc/self/status")

_Load = Callable[[Store, Iterable[Document]], Awaitable[object]]


async def _ingest(store: Store, given: Iterable[Document]) -> object:
    assert isinstance(store, MilvusStore)  # noqa: S101 - as the side says
    return await aingest(store, given)


_LOADERS: Final[dict[str, tuple[str, _Load]]] = {
    PEER: (PEER, work.add_at_once),
    f"{OURS}, aadd_documents": (OURS, work.add_at_once),
    OURS: (OURS, _ingest),
}


async def time_taken(bench: Bench) -> AsyncIterator[Case]:
    """Load Documents, embedding in 0.3 s per 1000 texts."""
    bench.service.configure(latency_per_text=_PER_TEXT)
    count = bench.size(20_000, 300)
    sides = {
        name: bench.turn_of_new_store(side, _loading(load, count, list))
        for name, (side, load) in _LOADERS.items()
    }
    name = f"{count} documents"
    yield await bench.compare(name, sides, headline=f"load {name}")


async def memory(bench: Bench) -> AsyncIterator[Case]:
    """Load Documents in a new process: by how much its memory grows, with Milvus Lite's."""
    bench.service.configure(latency_per_text=_PER_TEXT)
    for count in [300] if bench.fast else [5_000, 20_000]:
        sides = {name: _weighed(bench, name, count) for name in _LOADERS}
        yield await compare(f"{count} documents", sides, turns=1, unit="MB")


def _loading(load: _Load, count: int, given: Callable[[Iterable[Document]], Any]) -> Plan:
    """Plan to load Documents, given as a list or as an iterator; all must be there and found."""

    async def plan(subject: Subject, turn: int) -> Job:
        await work.add_at_once(subject.store, work.documents(1, "first"))
        made = given(work.documents(count))

        async def answer(_: object) -> object:
            arrived = await subject.count() - 1
            if arrived != count:
                raise CallsFailedError(f"{arrived} of {count} documents are there")
            hits = await work.search_each(subject.store, work.questions(_AFTERWARDS, turn))
            return await work.pairs_of(hits)

        return Job(lambda: load(subject.store, made), answer, math.ceil(count / _BATCH))

    return plan


def _weighed(bench: Bench, name: str, count: int) -> Turn:
    async def run(_: int) -> Run:
        place = bench.place(f"{name}-{count}")  # a file has one process
        weigh = functools.partial(_weigh, name, place, bench.service.base_url, count)
        return await in_new_process(weigh)

    return run


def _weigh(name: str, place: Place, base_url: str, count: int) -> Run:
    """Load in this process, and measure by how many megabytes it grows."""
    side, load = _LOADERS[name]
    plan = _loading(load, count, iter if load is _ingest else list)

    async def weigh() -> Run:
        async with Subject.opened(side, openai_model(base_url), place) as subject:
            job = await plan(subject, 0)
            before = peak_megabytes()
            result = await job.work()
            return Run(peak_megabytes() - before, await job.answer(result))

    return asyncio.run(weigh())


def peak_megabytes() -> float:
    """Return the most memory that this process has had so far."""
    if _STATUS.exists():  # on Linux, where `getrusage` counts the parent's memory, too
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        return int(found[1]) * 1024 / _MEGABYTE if found else math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE
