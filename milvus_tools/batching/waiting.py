"""Where requests wait until a batch takes them: the line, the bounded queue, and its groups."""

import itertools
import math
from collections.abc import Hashable, Iterable
from typing import Any

from milvus_tools.batching.entries import Entries, Entry
from milvus_tools.batching.types import Limits

AnyEntry = Entry[Any, Any]


class Waiting:
    """The entries that wait, in three places.

    New ones stand in `line` until there is room in the `queue`, from which batches are made.
    Those whose batch was called invalid wait in `alone`, to be sent once more, one by one.
    """

    def __init__(self, limits: Limits) -> None:
        """Start with nobody."""
        self.line = Entries()
        self.queue = Entries()
        self.alone = Entries()
        self._groups: dict[Hashable, Entries] = {}
        self._limits = limits
        self._max_weight = limits.max_batch_weight or math.inf

    def __bool__(self) -> bool:
        """Tell whether anybody waits; the line alone never does."""
        return bool(self.queue or self.alone)

    def add(self, entry: AnyEntry) -> None:
        """Let a new entry wait, behind all others."""
        _put(entry, self.line)
        self._admit()

    def add_alone(self, entries: Iterable[AnyEntry]) -> None:
        """Let entries wait to be sent one by one, before all that were never sent."""
        for entry in entries:
            _put(entry, self.alone)

    def remove(self, entry: AnyEntry) -> None:
        """Take an entry out from where it waits."""
        self._take_out(entry)
        self._admit()

    def take_batch(self) -> list[AnyEntry]:
        """Take out the entries of the next batch: the oldest, and what fits of its group."""
        entries = self._fitting() if not self.alone else [next(iter(self.alone))]
        for entry in entries:
            self._take_out(entry)
        self._admit()
        return entries

    def take_all(self) -> list[AnyEntry]:
        """Take out everybody."""
        entries = [*self.alone, *self.queue, *self.line]
        for entry in entries:
            self._take_out(entry)
        return entries

    def _fitting(self) -> list[AnyEntry]:
        group = self._groups[next(iter(self.queue)).group]
        oldest = list(itertools.islice(group, self._limits.max_batch_size))
        weights = itertools.accumulate(entry.weight for entry in oldest)
        light = itertools.takewhile(lambda weight: weight <= self._max_weight, weights)
        return oldest[: max(1, len(list(light)))]

    def _admit(self) -> None:
        while self.line and len(self.queue) < self._limits.max_queued:
            entry, _ = self.line.popitem(last=False)
            _put(entry, self.queue)
            self._groups.setdefault(entry.group, Entries())[entry] = None

    def _take_out(self, entry: AnyEntry) -> None:
        place, entry.place = entry.place, None
        if place is None:
            return
        del place[entry]
        if place is self.queue:
            group = self._groups[entry.group]
            del group[entry]
            if not group:
                del self._groups[entry.group]


def _put(entry: AnyEntry, place: Entries) -> None:
    place[entry] = None
    entry.place = place
