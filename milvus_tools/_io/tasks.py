"""Tasks that belong together: when one fails or the caller is cancelled, none is left behind."""

import asyncio
import functools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterable,
)
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def gather_or_cancel(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Make calls at the same time and return their answers, in order.

    The first failure, or the caller's cancellation, ends the other calls, and is raised when they
    have ended: `asyncio.gather` would leave them running, for nobody.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        await cancel_and_wait(tasks)
        raise


async def cancel_and_wait(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when they have ended, however."""
    ending = [*tasks]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def run_pipeline(
    items: AsyncIterator[Item],
    work: Callable[[int, Item], Awaitable[None]],
    *,
    max_in_flight: int,
    keys: Callable[[Item], Collection[Hashable]] = lambda _: (),
) -> None:
    """Work on items while others are read and worked on.

    After a failure nothing more is read or begun, and what is under way is waited for: then it
    is known what became of it. Cancelling reaches what is under way.

    Args:
        items: The items; reading them is cancelled too.
        work: Works on an item; told which it is, from 0.
        max_in_flight: The most items that are read and not finished.
        keys: The ordering keys of an item: items that share a key run one after the other.

    Raises:
        BaseException: The first failure of reading or of work, as it is.
    """
    await _Pipeline(work, keys, max_in_flight).run(items)


class _Pipeline(Generic[Item]):
    """The items under way, and the task that reads further ones."""

    _reading: asyncio.Task[None]

    def __init__(
        self,
        work: Callable[[int, Item], Awaitable[None]],
        keys: Callable[[Item], Collection[Hashable]],
        max_in_flight: int,
    ) -> None:
        self._work = work
        self._keys = keys
        self._slots = asyncio.Semaphore(max_in_flight)
        self._failed: BaseException | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._last: dict[Hashable, asyncio.Task[None]] = {}

    async def run(self, items: AsyncIterator[Item]) -> None:
        self._reading = asyncio.create_task(self._read(items))
        try:
            await asyncio.wait([self._reading])
            while self._running:
                await asyncio.wait(self._running)
        finally:
            await cancel_and_wait([self._reading, *self._running])  # if this was cancelled
        if self._failed is not None:
            raise self._failed
        self._reading.result()

    async def _read(self, items: AsyncIterator[Item]) -> None:
        """Read an item whenever there is room for it, and start to work on it."""
        number = 0
        try:
            await self._slots.acquire()
            async for item in items:
                if self._failed is not None:
                    return  # the iterator ignored that it was cancelled
                self._start(number, item)
                number += 1
                await self._slots.acquire()
        except Exception as error:  # noqa: BLE001 - raised when what is under way has ended
            self._failed = self._failed or error

    def _start(self, number: int, item: Item) -> None:
        keys = self._keys(item)
        earlier = {self._last[key] for key in keys if key in self._last}
        task = asyncio.create_task(self._run_after(earlier, number, item))
        self._last |= dict.fromkeys(keys, task)
        self._running.add(task)
        task.add_done_callback(functools.partial(self._forget, keys))

    async def _run_after(self, earlier: set[asyncio.Task[None]], number: int, item: Item) -> None:
        try:
            if earlier:
                await asyncio.wait(earlier)
            if self._failed is None:
                await self._work(number, item)
        except BaseException as error:
            self._failed = self._failed or error
            self._reading.cancel()
            raise

    def _forget(self, keys: Collection[Hashable], task: asyncio.Task[None]) -> None:
        """Let go of a task that has ended, and of its slot."""
        if not task.cancelled():
            task.exception()  # seen: `run` raises the first one
        self._slots.release()
        self._running.discard(task)
        for key in keys:
            if self._last.get(key) is task:
                del self._last[key]
