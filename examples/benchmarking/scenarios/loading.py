"""Loading many documents, into a collection that is there."""

import asyncio
import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, Self

from langchain_core.documents import Document

from benchmarking import work
from benchmarking.bench import Bench
from benchmarking.comparing import CallsFailedError, Contender, compare
from benchmarking.measures import in_new_process, peak_megabytes
from benchmarking.results import OURS, PEER, Case, Measured, Run
from benchmarking.service import EmbeddingService
from benchmarking.sides import Place, Store, Subject
from milvus_tools import MilvusStore
from milvus_tools.ingest import aingest

_PER_TEXT: Final = 0.0003  # seconds: 0.3 for 1000
_AFTERWARDS: Final = 5  # questions, whose answers show that the same is there


@dataclasses.dataclass(frozen=True)
class _Loader:
    """A way to load documents.

    Attributes:
        name: What the table calls it.
        side: Whose store it loads into.
        load: What loads.
        streams: Whether it takes documents that are made as they are needed.
    """

    name: str
    side: str
    load: Callable[[Store, Iterable[Document]], Awaitable[object]]
    streams: bool = False


async def _ingest(store: Store, given: Iterable[Document]) -> object:
    assert isinstance(store, MilvusStore)  # noqa: S101 - as the loader says
    return await aingest(store, given)


_LOADERS: Final = (
    _Loader(PEER, PEER, work.add_at_once),
    _Loader(f"{OURS}, aadd_documents", OURS, work.add_at_once),
    _Loader(OURS, OURS, _ingest, streams=True),
)


async def time_taken(bench: Bench) -> AsyncIterator[Case]:
    """Load documents; count them, and search them."""
    bench.service.behave(per_text=_PER_TEXT)
    count = bench.size(20_000, 300)
    name, headline = f"{count} documents", f"load {count} documents"
    contenders = [_timed(bench, loader, count) for loader in _LOADERS]
    case = await bench.compare(name, contenders, headline=headline)
    yield dataclasses.replace(case, measured=tuple(_rated(one, count) for one in case.measured))


async def memory(bench: Bench) -> AsyncIterator[Case]:
    """See how much memory a new process takes while it loads a fourth of them, or all."""
    bench.service.behave(per_text=_PER_TEXT)
    beside = ", the database's included" if bench.lite else ""
    for count in [300] if bench.fast else [5_000, 20_000]:
        contenders = [_weighed(bench, loader, count) for loader in _LOADERS]
        yield await compare(f"{count} documents{beside}", contenders, turns=1, unit="MB")


def _timed(bench: Bench, loader: _Loader, count: int) -> Contender:
    async def run(turn: int) -> Run:
        async with bench.subject(loader.side) as subject:
            loading = await _Loading.of(subject, loader, count, streams=False)
            start = time.perf_counter()
            await loading.finish()
            seconds = time.perf_counter() - start
            return Run(seconds, await loading.answer(turn))

    return Contender(loader.name, run)


def _weighed(bench: Bench, loader: _Loader, count: int) -> Contender:
    async def run(_: int) -> Run:
        place = bench.place(f"{loader.name}-{count}")  # a file has one process
        weigh = functools.partial(_weigh, loader, place, bench.service.port, count)
        grown, answer = await in_new_process(weigh)
        return Run(grown, answer)

    return Contender(loader.name, run)


def _weigh(loader: _Loader, place: Place, port: int, count: int) -> tuple[float, object]:
    """Tell by how many megabytes this process grows, and what it then finds."""

    async def load() -> tuple[float, object]:
        model = EmbeddingService(port).model()
        async with Subject.opened(loader.side, model, place) as subject:
            loading = await _Loading.of(subject, loader, count, streams=loader.streams)
            before = peak_megabytes()
            await loading.finish()
            grown = peak_megabytes() - before
            return grown, await loading.answer(0)

    return asyncio.run(load())


@dataclasses.dataclass(frozen=True)
class _Loading:
    """Documents that are about to be loaded.

    Attributes:
        subject: The store, with a collection.
        loader: How they are loaded.
        count: How many there are.
        given: The documents.
    """

    subject: Subject
    loader: _Loader
    count: int
    given: Iterable[Document]

    @classmethod
    async def of(cls, subject: Subject, loader: _Loader, count: int, *, streams: bool) -> Self:
        """Make the collection, and the documents, unless they are made as they are needed."""
        await work.load(subject, 1, label="first")
        made = work.documents(count)
        return cls(subject, loader, count, made if streams else list(made))

    async def finish(self) -> None:
        """Load them."""
        await self.loader.load(self.subject.store, self.given)

    async def answer(self, turn: int) -> object:
        """Say what some questions find, if all is there."""
        arrived = await self.subject.count() - 1
        if arrived != self.count:
            raise CallsFailedError(f"{arrived} of {self.count} documents are there")
        hits = await work.search_each(self.subject.store, work.questions(_AFTERWARDS, turn))
        return await work.pairs_of(hits)


def _rated(one: Measured, count: int) -> Measured:
    """Add how many documents a second that is."""
    rate = {"documents/s": round(count / one.median)} if one.median else {}
    return dataclasses.replace(one, counts={**one.counts, **rate})
