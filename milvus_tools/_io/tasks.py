"""Tasks and timeouts: what is cancelled ends, and none of it is left behind."""

import asyncio
import contextlib
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

from milvus_tools.errors import DeadlineError

Item = TypeVar("Item")
Result = TypeVar("Result")
Pending = TypeVar("Pending", bound=asyncio.Future[Any])


async def gather_or_cancel(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Make calls at the same time and return their answers, in order.

    The first failure, or the caller's cancellation, cancels the other calls, and is raised as it
    is when they have ended: `asyncio.gather` would leave them running, and `asyncio.TaskGroup`
    would wrap it.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        await cancel_and_wait(tasks)
        raise


def seen(future: Pending) -> Pending:
    """Return a task or future whose failure asyncio won't log if no one awaits it any more."""
    future.add_done_callback(_see)
    return future


def _see(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


async def shielded(future: asyncio.Future[Result]) -> Result:
    """Await a task or future, which goes on if the caller is cancelled.

    `asyncio.shield` alone leaves a later failure to the log.
    """
    return await asyncio.shield(seen(future))


async def cancel_and_wait(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when they have ended, with or without an error."""
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

    An item is read only when there is room for it, so memory is bounded by the items under way.
    After a failure nothing more is read or begun, and the call waits for what is under way, so
    that its outcome is known. Cancelling reaches what is under way.

    Args:
        items: The items; reading them is cancelled too.
        work: Works on an item; gets its number, from 0, and the item.
        max_in_flight: The most items that are read and not finished.
        keys: The ordering keys of an item: items that share a key run one after the other.

    Raises:
        BaseException: The first failure of reading or of work, as it is.
    """
    await _Pipeline(work, keys).run(items, max_in_flight)


class _Pipeline(Generic[Item]):
    """The items under way, read and started by one loop in the caller's task.

    A task of its own for the reading would begin to read once more after the caller was cancelled.
    """

    def __init__(
        self,
        work: Callable[[int, Item], Awaitable[None]],
        keys: Callable[[Item], Collection[Hashable]],
    ) -> None:
        self._work = work
        self._keys = keys
        self._number = 0
        self._failed: BaseException | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._last: dict[Hashable, asyncio.Task[None]] = {}

    async def run(self, items: AsyncIterator[Item], max_in_flight: int) -> None:
        try:
            while self._failed is None and await self._start_next(items):
                await self._until(lambda: len(self._running) < max_in_flight)
            await self._until(lambda: not self._running, despite_failure=True)
        finally:
            await cancel_and_wait(self._running)  # there are some only if this was cancelled
        if self._failed is not None:
            raise self._failed

    async def _start_next(self, items: AsyncIterator[Item]) -> bool:
        """Read an item and begin to work on it; tell whether there was one."""
        reading = seen(asyncio.ensure_future(anext(items)))
        try:
            await self._until(reading.done, reading)
            if self._failed is None:
                self._start(reading.result())
        except StopAsyncIteration:
            return False
        except Exception as error:  # noqa: BLE001 - raised when what is under way has ended
            self._failed = error
        finally:
            if not reading.done():
                await cancel_and_wait([reading])
        return True

    def _start(self, item: Item) -> None:
        keys = self._keys(item)
        earlier = {self._last[key] for key in keys if key in self._last}
        task = asyncio.create_task(self._after(earlier, self._number, item))
        self._number += 1
        self._last |= dict.fromkeys(keys, task)
        self._running.add(task)
        task.add_done_callback(functools.partial(self._note, keys))

    async def _after(self, earlier: set[asyncio.Task[None]], number: int, item: Item) -> None:
        if earlier:
            await asyncio.wait(earlier)
        if self._failed is None:
            await self._work(number, item)

    def _note(self, keys: Collection[Hashable], task: asyncio.Task[None]) -> None:
        """Forget a task that has ended, and keep its failure if it is the first."""
        self._running.discard(task)
        for key in keys:
            if self._last.get(key) is task:
                del self._last[key]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._failed = self._failed or error

    async def _until(
        self,
        reached: Callable[[], bool],
        *reading: asyncio.Future[Item],
        despite_failure: bool = False,
    ) -> None:
        """Wait until a condition holds or, by default, something has failed."""
        while not reached() and (despite_failure or self._failed is None):
            waited: set[asyncio.Future[Any]] = {*self._running, *reading}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)


@contextlib.asynccontextmanager
async def within(
    seconds: float | None,
    late: str | None,
    errors: tuple[type[Exception], ...] = (TimeoutError,),
) -> AsyncIterator[None]:
    """Cancel what is inside after some seconds; a `TimeoutError` of its own passes as it is.

    Args:
        seconds: The seconds, or `None` for no limit.
        late: The message of the error then, or `None` to leave without an error.
        errors: What may come of the cancelling.

    Raises:
        DeadlineError: If the time has passed.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except errors as error:
        if not limit.expired():  # of a socket or a model inside, by its own clock
            raise
        if late is not None:
            raise DeadlineError(late) from error
