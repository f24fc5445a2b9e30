"""What is measured beside time: how long the event loop was held up, and memory."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable
from typing import Final, Self

_TICK: Final = 0.001
_MEGABYTE: Final = 1_000_000


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


async def peak_megabytes(work: Awaitable[object]) -> float:
    """Return by how much Python's memory grew at most during some work."""
    gc.collect()
    tracemalloc.start()
    try:
        await work
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak / _MEGABYTE
