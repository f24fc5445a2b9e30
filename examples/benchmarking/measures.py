"""What is measured beside time: how long the event loop was held up, and memory."""

import asyncio
import math
import multiprocessing
import pathlib
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final, Self, TypeVar

Result = TypeVar("Result")

_TICK: Final = 0.001
_MEGABYTE: Final = 1_000_000
_STATUS: Final = pathlib.Path("/proc/self/status")


class Ticker:
    """Measures how long the event loop was held up at the longest, by ticking all the time."""

    async def __aenter__(self) -> Self:
        """Begin to tick."""
        self._longest = 0.0
        self._last = time.perf_counter()
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _tick(self) -> None:
        while True:
            self._last = time.perf_counter()
            await asyncio.sleep(_TICK)
            self._longest = max(self._longest, self._late())

    def _late(self) -> float:
        return time.perf_counter() - self._last - _TICK

    async def take(self) -> float:
        """Return the longest time since the last call, the tick that is late now included."""
        await asyncio.sleep(2 * _TICK)
        longest, self._longest = self._longest, 0.0
        return longest


def peak_megabytes() -> float:
    """Return the most memory that this process has had so far."""
    if _STATUS.exists():  # on Linux, where `getrusage` counts the parent's memory, too
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        return int(found[1]) * 1024 / _MEGABYTE if found else math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE


async def in_new_process(work: Callable[[], Result]) -> Result:
    """Run a function in a process of its own, which has opened nothing yet."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
