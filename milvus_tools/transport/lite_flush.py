"""Flushes of Milvus Lite, at times that make searches fast.

Milvus Lite searches entities that it has not flushed one by one: 45 ms for 1000 of them, 5 ms
after a flush, which takes 0.1 s and 0.1 ms per entity. So a flush is due when the searches have
lost about as much as it takes, or soon will, and writing has paused; and before Milvus Lite would
flush by itself, as it does at 128 MB. While it flushes, a read may miss what is being flushed: so
reads wait. A flush that fails loses what it should have flushed: so none is begun on a disk that
is nearly full. An approximate index (AUTOINDEX, HNSW), which entities get with a flush, answers a
search that has a filter with some of what matches: so none is begun where there is one. A server
sees to all this itself.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import shutil
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import shielded
from milvus_tools.errors import (
    CollectionNotFoundError,
    DeadlineError,
    MilvusError,
    UnavailableError,
)
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.grpc_errors import translated
from milvus_tools.transport.requests import Row, weight

_FLUSH_COST: Final = 4_000  # entities that are searched one by one in the time of a flush
_SEARCHES_TO_COME: Final = 4  # that are assumed to follow a write, of the same entities
_MAX_BYTES: Final = 16_000_000  # that are left unflushed, however few searches there are
_SAMPLE: Final = 16  # of so many rows one is weighed
_LEAST_ROOM: Final = 64_000_000  # bytes
_SECONDS: Final = 600.0

_logger = logging.getLogger(__name__)


class Unflushed:
    """Counts what this process wrote to a collection and Milvus Lite has not flushed yet.

    All stores of the process share it, and use it on the I/O loop alone.
    """

    def __init__(self) -> None:
        """Know of nothing."""
        self._entities = self._bytes = self._searched = 0
        self._growing = self._reading = 0
        self._no_reader = asyncio.Event()
        self._no_reader.set()
        self._no_flush = asyncio.Event()
        self._no_flush.set()

    @property
    def due(self) -> bool:
        """Whether a flush is worth it now."""
        cost = self._searched + _SEARCHES_TO_COME * self._entities
        return self._bytes > _MAX_BYTES or (cost >= _FLUSH_COST and not self._growing)

    @property
    def room(self) -> int:
        """The bytes on disk that a flush may need, with its index and compaction."""
        return _LEAST_ROOM + 4 * self._bytes

    @contextlib.contextmanager
    def growing(self) -> Iterator[None]:
        """Put flushing off while a call writes, for more may come."""
        self._growing += 1
        try:
            yield
        finally:
            self._growing -= 1

    def wrote(self, rows: Sequence[Row]) -> None:
        """Note what was written."""
        self._entities += len(rows)
        sample = rows[::_SAMPLE]
        self._bytes += sum(map(weight, sample)) * len(rows) // max(len(sample), 1)

    def searched(self) -> None:
        """Note a search."""
        self._searched += self._entities

    def clear(self) -> None:
        """Count from now on."""
        self._entities = self._bytes = self._searched = 0

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read while nothing is being flushed."""
        while not self._no_flush.is_set():
            await self._no_flush.wait()
        self._reading += 1
        self._no_reader.clear()
        try:
            yield
        finally:
            self._reading -= 1
            if not self._reading:
                self._no_reader.set()

    @contextlib.asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """Flush while nothing is being read; the caller sees that nothing is being written."""
        self._no_flush.clear()
        try:
            await self._no_reader.wait()
            self.clear()
            yield
        finally:
            self._no_flush.set()


class Flusher:
    """Flushes one collection for one store.

    Attributes:
        allowed: Whether searches find after a flush all that they found before it.
    """

    def __init__(self, connection: Connection, collection_name: str) -> None:
        """Flush nothing yet."""
        self.unflushed = unflushed(connection, collection_name)
        self._connection = connection
        self._name = collection_name
        self._task: asyncio.Task[None] | None = None
        self.allowed = False

    def flush_if_due(self) -> None:
        """Begin to flush, if it is worth it; a failure is logged."""
        if self._task is None and self.unflushed.due and self._flushes:
            self._begin(only_if_due=True).add_done_callback(self._report)

    async def flush(self) -> None:
        """Flush all that is written by now; what runs already may have begun too early.

        Raises:
            MilvusToolsError: If Milvus Lite could not.
        """
        if self._flushes:
            await self.aclose()
            await shielded(self._task or self._begin())

    @property
    def _flushes(self) -> bool:
        return self._connection.lite and self.allowed

    async def aclose(self) -> None:
        """Wait for what is being flushed: Milvus Lite goes on with it in any case."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @contextlib.asynccontextmanager
    async def instead(self) -> AsyncIterator[None]:
        """Drop the collection while nothing is flushed, written or read; nothing is left to flush.

        Milvus Lite would write what it flushes into a folder that is being removed, and could
        never make the collection again.
        """
        if not self._connection.lite:
            yield
            return
        async with self._connection.writing, self.unflushed.flushing():
            yield

    def _begin(self, *, only_if_due: bool = False) -> asyncio.Task[None]:
        # In an empty context: a flush is for all callers, and belongs to the trace of none.
        self._task = asyncio.get_running_loop().create_task(
            self._flush(only_if_due=only_if_due), context=contextvars.Context()
        )
        self._task.add_done_callback(self._forget)
        return self._task

    async def _flush(self, *, only_if_due: bool) -> None:
        async with self._connection.writing:
            if only_if_due and not self.unflushed.due:
                return  # another store was faster, or has dropped the collection
            if not await portal().waiting.run(self._has_room):
                _logger.warning(
                    "Milvus Lite is not told to flush, for the disk is nearly full: searches of "
                    "what was written lately are slow."
                )
                self.unflushed.clear()
                return
            async with self.unflushed.flushing():
                await self._send()

    def _has_room(self) -> bool:
        path, _ = self._connection.identity
        return shutil.disk_usage(path).free >= self.unflushed.room

    async def _send(self) -> None:
        try:
            with translated():
                await self._connection.client.flush(self._name, timeout=_SECONDS)
        except CollectionNotFoundError:
            return  # it was dropped, so there is nothing to keep
        except (DeadlineError, UnavailableError):
            raise  # it goes on, or was never begun
        except MilvusError as error:
            raise MilvusError(
                f"Milvus Lite failed to flush {self._name!r}, and may have lost what was written "
                "since it flushed last: write that again.",
                error.code,
            ) from error

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # seen, though who asked may have gone

    def _report(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _logger.error("A flush in the background failed: %s", error, exc_info=error)


_all: weakref.WeakValueDictionary[tuple[object, ...], Unflushed] = weakref.WeakValueDictionary()


def unflushed(connection: Connection, collection_name: str) -> Unflushed:
    """Return what all stores of this process share of a collection."""
    key = (os.getpid(), *connection.identity, collection_name)
    found = _all.get(key)
    if found is None:
        found = _all[key] = Unflushed()
    return found
