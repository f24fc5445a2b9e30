"""Running the sides of a case in turns, and comparing what they answer."""

import asyncio
import collections
import dataclasses
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from benchmarking.results import Case, Measured, Run, measured

Result = TypeVar("Result")

PATIENCE: Final = 20.0  # seconds of turns after which a side has had enough of them
_LIMIT: Final = 300.0  # seconds after which a turn has failed


class CallsFailedError(Exception):
    """Some of the calls of a run failed: its time means nothing."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A side of a case.

    Attributes:
        side: Its name.
        run: Does the work, in a turn of a number.
    """

    side: str
    run: Callable[[int], Awaitable[Run]]


class _Record:
    """What a contender has done so far."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.runs: dict[int, Run] = {}
        self.problem = ""
        self._left = PATIENCE

    async def take_turn(self, turn: int) -> None:
        """Run, unless it failed before or has used up its time."""
        if self.problem or self._left < 0:
            return
        start = time.perf_counter()
        try:
            async with asyncio.timeout(_LIMIT):
                self.runs[turn] = await self.contender.run(turn)
        except CallsFailedError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - a side that fails is a result, too
            self.problem = f"fails: {type(error).__name__}"
        self._left -= time.perf_counter() - start

    def compare(self, other: "_Record") -> None:
        """Note if an answer differs from the other's."""
        for turn in self.runs.keys() & other.runs.keys():
            if self.runs[turn].answer != other.runs[turn].answer and not self.problem:
                self.problem = f"another answer than {other.contender.side}"

    def measured(self) -> Measured:
        """Return the figures, without that of the first turn, unless it is the only one."""
        counted = [run for turn, run in sorted(self.runs.items()) if turn] or [*self.runs.values()]
        return measured(self.contender.side, counted, self.problem)


async def compare(name: str, contenders: Sequence[Contender], turns: int, **about: str) -> Case:
    """Run contenders in turns, each turn in another order.

    The first turn warms connections and caches up, and does not count if others follow. A side
    whose turns take long gets fewer of them, but one at least.

    Args:
        name: What is done.
        contenders: The sides, ours last.
        turns: How many count.
        **about: Further attributes of the case.
    """
    records = [_Record(contender) for contender in contenders]
    orders = list(itertools.permutations(records))  # what one leaves behind, another has to bear
    for turn in range(turns + (turns > 1)):
        for record in orders[turn % len(orders)]:
            await record.take_turn(turn)
    for record in records:
        record.compare(records[-1])
    return Case(name, tuple(record.measured() for record in records), **about)


async def together(calls: Iterable[Awaitable[Result]]) -> list[Result]:
    """Await calls that are made at the same time, all of them to their ends.

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
