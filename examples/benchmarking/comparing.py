"""Run the sides of a case in turns, and compare their answers."""

import asyncio
import collections
import dataclasses
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

Result = TypeVar("Result")

OURS: Final = "milvus_tools"
PEER: Final = "langchain-milvus"
PATIENCE: Final = 20.0  # seconds of turns after which a side gets no further one
_LIMIT: Final = 300.0  # seconds after which a turn has failed


class CallsFailedError(Exception):
    """Some of the calls of a run failed, so its time means nothing."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One turn of one side: seconds or megabytes, the answer to compare, and counts."""

    value: float
    answer: object = None
    counts: Mapping[str, float] = dataclasses.field(default_factory=dict)


Turn = Callable[[int], Awaitable[Run]]


@dataclasses.dataclass(frozen=True)
class Measured:
    """The figures of one side in a case, or the problem for which none counts."""

    side: str
    values: tuple[float, ...] = ()
    counts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of(cls, side: str, runs: Sequence[Run], problem: str = "") -> "Measured":
        """Combine a side's runs; counts become medians."""
        names = dict.fromkeys(name for run in runs for name in run.counts)
        counts = {
            name: statistics.median(run.counts[name] for run in runs if name in run.counts)
            for name in names
        }
        return cls(side, tuple(run.value for run in runs), counts, problem)

    @property
    def median(self) -> float | None:
        """The figure, if it counts."""
        return None if self.problem or not self.values else statistics.median(self.values)


@dataclasses.dataclass(frozen=True)
class Case:
    """The same work, done by several sides.

    Attributes:
        name: The work.
        measured: The sides, ours last.
        scenario: The name of its scenario.
        unit: `s` or `MB`; less is better.
        headline: Its name in the first table and in the chart; empty if it is not there.
        baseline: The side that others are compared with by difference, rather than by ratio.
    """

    name: str
    measured: tuple[Measured, ...]
    scenario: str = ""
    unit: str = "s"
    headline: str = ""
    baseline: str = ""

    def of(self, side: str) -> Measured:
        """Return the figures of one side."""
        return next(one for one in self.measured if one.side == side)

    def ratio(self, side: str) -> float | None:
        """Return another side's figure divided by ours; `None` if one of them does not count."""
        ours, theirs = self.measured[-1].median, self.of(side).median
        return theirs / ours if ours and theirs is not None else None

    def difference(self, side: str) -> float | None:
        """Return a side's figure minus the baseline's; `None` if one of them does not count."""
        base, other = self.of(self.baseline).median, self.of(side).median
        return None if base is None or other is None else other - base


class _Record:
    """The runs of one side so far."""

    def __init__(self, side: str, run: Turn) -> None:
        self.side = side
        self.runs: dict[int, Run] = {}
        self.problem = ""
        self._run = run
        self._left = PATIENCE

    async def take_turn(self, turn: int) -> None:
        """Run, unless the side has failed before or used up its time."""
        if self.problem or self._left < 0:
            return
        start = time.perf_counter()
        try:
            async with asyncio.timeout(_LIMIT):
                self.runs[turn] = await self._run(turn)
        except CallsFailedError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - a side that fails is a result, too
            self.problem = f"fails: {type(error).__name__}"
        self._left -= time.perf_counter() - start

    def compare(self, other: "_Record") -> None:
        """Note a problem if an answer differs from the other's."""
        for turn in self.runs.keys() & other.runs.keys():
            if self.runs[turn].answer != other.runs[turn].answer and not self.problem:
                self.problem = f"another answer than {other.side}"

    def measured(self) -> Measured:
        """Return the figures, without that of the first turn unless it is the only one."""
        counted = [run for turn, run in sorted(self.runs.items()) if turn] or [*self.runs.values()]
        return Measured.of(self.side, counted, self.problem)


async def compare(name: str, sides: Mapping[str, Turn], turns: int, **about: str) -> Case:
    """Run sides in turns, each turn in another order.

    The first turn warms connections and caches, and does not count if others follow. A slow side
    gets fewer turns, but at least one.

    Args:
        name: The work.
        sides: Runs a turn of each side, ours last.
        turns: How many turns count.
        **about: Further attributes of the case.
    """
    records = [_Record(side, run) for side, run in sides.items()]
    orders = list(itertools.permutations(records))  # a side may leave work to the next one
    for turn in range(turns + (turns > 1)):
        for record in orders[turn % len(orders)]:
            await record.take_turn(turn)
    for record in records:
        record.compare(records[-1])
    return Case(name, tuple(record.measured() for record in records), **about)


async def together(calls: Iterable[Awaitable[Result]]) -> list[Result]:
    """Await concurrent calls, all of them to their ends.

    Raises:
        CallsFailedError: If some failed.
    """
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        kinds = collections.Counter(type(error).__name__ for error in errors)
        named = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise CallsFailedError(f"fails: {len(errors)} of {len(outcomes)} calls ({named})")
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
