"""Requests, the batches that take them, and the callers that wait for their results."""

import asyncio
import collections
import dataclasses
import itertools
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from milvus_tools.batching.types import Limits, copy_error

Request = TypeVar("Request")
Result = TypeVar("Result")


class Failure:
    """An error on its way to one caller.

    A future that held the error as its own would log it if the caller no longer came for it.
    """

    __slots__ = ("_held",)

    def __init__(self, error: BaseException) -> None:
        """Hold an error."""
        self._held = [error]

    def take(self) -> BaseException:
        """Let go of the error: a frame that raised it and still held it would make a cycle."""
        return self._held.pop()


# Compared by identity: entries are keys of the ordered sets below.
@dataclasses.dataclass(eq=False, slots=True)
class Entry(Generic[Request, Result]):
    """A request, and a future for each caller that waits for its result.

    Attributes:
        request: The request.
        group: Only entries of equal groups share a batch.
        identity: Identical requests of a group have equal ones; `None` is never shared.
        weight: What the request counts towards the weight of a batch.
        batch: The batch that the request was last sent in, if any.
        futures: The callers' futures, as an ordered set.
    """

    request: Request
    group: Hashable
    identity: Hashable | None
    weight: float
    batch: "Batch | None" = None
    futures: dict[asyncio.Future[Result | Failure], None] = dataclasses.field(default_factory=dict)

    def join(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Result | Failure]:
        """Return a future for one more caller."""
        future: asyncio.Future[Result | Failure] = loop.create_future()
        self.futures[future] = None
        if self.batch is not None:
            self.batch.callers += 1
        return future

    def leave(self, future: asyncio.Future[Result | Failure]) -> bool:
        """Remove a cancelled caller; tell whether it was the last one."""
        if future not in self.futures:
            return False  # the outcome was there already
        del self.futures[future]
        if self.batch is not None:
            self.batch.callers -= 1
        return not self.futures

    def succeed(self, result: Result) -> None:
        """Give all callers the result."""
        for future in self.futures:
            # A cancelled caller leaves only when it runs next; its future is done before that.
            if not future.done():
                future.set_result(result)
        self.futures.clear()

    def fail(self, error: BaseException, *, shared: bool) -> None:
        """Give all callers the error; copies of it if several get it, of this entry or beyond."""
        waiting = [future for future in self.futures if not future.done()]
        self.futures.clear()
        shared = shared or len(waiting) > 1
        for future in waiting:
            future.set_result(Failure(copy_error(error) if shared else error))


AnyEntry = Entry[Any, Any]
Entries = OrderedDict[AnyEntry, None]  # an ordered set


@dataclasses.dataclass(eq=False, slots=True)
class Batch:
    """Entries of one group that are sent together.

    Attributes:
        entries: The entries; none until its task begins.
        callers: How many callers have not left.
        started: When the batch was sent, on the loop's clock; `None` before that.
        invalid: Whether the requests are to be sent once more, one by one.
    """

    entries: list[AnyEntry] = dataclasses.field(default_factory=list)
    callers: int = 0
    started: float | None = None
    invalid: bool = False

    def drop_abandoned(self) -> list[AnyEntry]:
        """Remove and return the entries that no caller waits for.

        A caller that was cancelled in this tick has not left yet, but its future is done.
        """
        kept: list[AnyEntry] = []
        dropped: list[AnyEntry] = []
        for entry in self.entries:
            abandoned = all(map(asyncio.Future.done, entry.futures))
            (dropped if abandoned else kept).append(entry)
        self.entries = kept
        return dropped

    def settle(self, outcomes: Sequence[Any]) -> None:
        """Give the callers of each entry its result or its error."""
        for entry, outcome in zip(self.entries, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                entry.fail(outcome, shared=len(self.entries) > 1)
            else:
                entry.succeed(outcome)


class Waiting:
    """The entries that wait, in three places.

    New ones stand in `line` until there is room in `queue`, from which batches are made. Those
    of an invalid batch wait in `alone`, to be sent once more, one by one.
    """

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self.line = Entries()
        self.queue = Entries()
        self.alone = Entries()
        # Those in the queue by group, so that a batch is found without a look at other groups.
        self._groups: dict[Hashable, Entries] = collections.defaultdict(OrderedDict)
        self._limits = limits
        self._max_weight = limits.max_batch_weight or math.inf

    def add(self, entry: AnyEntry) -> None:
        """Let a new entry wait, behind all others."""
        if len(self.queue) >= self._limits.max_queued:  # so it is while any stands in line
            self.line[entry] = None
        else:
            self.queue[entry] = self._groups[entry.group][entry] = None

    def add_alone(self, entries: Iterable[AnyEntry]) -> None:
        """Let entries wait to be sent one by one, before all that were never sent."""
        self.alone |= dict.fromkeys(entries)

    def remove(self, entry: AnyEntry) -> bool:
        """Remove an entry if it waits; tell whether it did."""
        if entry in self.queue:
            self._dequeue([entry])
            return True
        for place in (self.line, self.alone):
            if entry in place:
                del place[entry]
                return True
        return False

    def fill(self, batch: Batch) -> None:
        """Move the next entries into a batch: the oldest one, and what fits of its group."""
        if self.alone:
            batch.entries = [self.alone.popitem(last=False)[0]]
        elif len(self.queue) == 1 and not self.line:  # most calls: there is nothing to choose from
            batch.entries = [self.queue.popitem()[0]]
            self._groups.clear()
        elif self.queue:
            batch.entries = self._fitting()
            self._dequeue(batch.entries)
        for entry in batch.entries:
            entry.batch = batch
            batch.callers += len(entry.futures)

    def take_all(self) -> list[AnyEntry]:
        """Remove and return all entries."""
        entries = [*self.alone, *self.queue, *self.line]
        for place in (self.alone, self.queue, self.line, self._groups):
            place.clear()
        return entries

    def _fitting(self) -> list[AnyEntry]:
        # The oldest entry's, so that a busy group starves no other.
        group = self._groups[next(iter(self.queue)).group]
        entries: list[AnyEntry] = []
        weight = 0.0
        for entry in itertools.islice(group, self._limits.max_batch_size):
            weight += entry.weight
            # The first entry passes whatever it weighs, or it would never be sent.
            if entries and weight > self._max_weight:
                break
            entries.append(entry)
        return entries

    def _dequeue(self, entries: Sequence[AnyEntry]) -> None:
        """Remove entries of one group from the queue, and admit others in their place."""
        group = self._groups[entries[0].group]
        for entry in entries:
            del self.queue[entry], group[entry]
        # Not kept when empty: each filter expression of a search makes a group.
        if not group:
            del self._groups[entries[0].group]
        while self.line and len(self.queue) < self._limits.max_queued:
            entry, _ = self.line.popitem(last=False)
            self.queue[entry] = self._groups[entry.group][entry] = None
