"""Reading an iterable of any kind in batches, without blocking the event loop."""

import asyncio
import contextlib
import contextvars
import itertools
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
)
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from milvus_tools._io.tasks import seen, shielded
from milvus_tools.errors import InvalidInputError

Item = TypeVar("Item")
Batches: TypeAlias = AsyncGenerator[Item, None]

THREAD_NAME = "milvus-tools-reader"

_logger = logging.getLogger(__name__)


def batches_of(
    items: Iterable[Item] | AsyncIterable[Item], size: int, change: Callable[[Item], Item]
) -> AsyncGenerator[list[Item], None]:
    """Read items in batches.

    An async iterable is read in one task, any other in one thread of its own: it may block. A
    generator is closed with the batches, in the place where it is read. If it blocks its thread
    just then, closing does not wait: the thread closes it when it can.

    Args:
        items: The items.
        size: How many make a batch; the last may have fewer.
        change: Applied to each item.

    Raises:
        InvalidInputError: If they are no iterable, or a string.
    """
    if isinstance(items, AsyncIterable):
        return _awaited(items, size, change)
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InvalidInputError(f"Documents must be an iterable, not {type(items).__name__}.")
    return _in_a_thread(items, size, change)


@contextlib.asynccontextmanager
async def closing(
    batches: AsyncGenerator[Item, None],
) -> AsyncIterator[AsyncGenerator[Item, None]]:
    """Close batches at the end; log what that raises if another error is on its way."""
    try:
        yield batches
    except BaseException:
        try:
            await batches.aclose()
        except Exception:
            _logger.exception("The generator of the Documents failed when it was closed.")
        raise
    await batches.aclose()


async def _awaited(
    items: AsyncIterable[Item], size: int, change: Callable[[Item], Item]
) -> AsyncGenerator[list[Item], None]:
    """Read in one task from beginning to end: scopes that a generator holds belong to its task."""
    wanted: asyncio.Queue[asyncio.Future[list[Item]]] = asyncio.Queue()
    reader = seen(asyncio.create_task(_answer(wanted, items, size, change)))
    try:
        while batch := await _asked(wanted, reader):
            yield batch
    finally:
        reader.cancel()
        await asyncio.wait([reader])
        if not reader.cancelled():
            reader.result()  # or what the generator raised when it was closed


async def _asked(
    wanted: asyncio.Queue[asyncio.Future[list[Item]]], reader: asyncio.Task[None]
) -> list[Item]:
    answer: asyncio.Future[list[Item]] = seen(asyncio.get_running_loop().create_future())
    wanted.put_nowait(answer)
    waited: set[asyncio.Future[Any]] = {answer, reader}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        raise RuntimeError("The generator of the Documents cancelled the task that reads it.")
    return answer.result()


async def _answer(
    wanted: asyncio.Queue[asyncio.Future[list[Item]]],
    items: AsyncIterable[Item],
    size: int,
    change: Callable[[Item], Item],
) -> None:
    iterator = aiter(items)
    try:
        while True:
            answer = await wanted.get()
            try:
                answer.set_result([change(one) async for one in _some(iterator, size)])
            except Exception as error:  # noqa: BLE001 - it is whose answer this is
                answer.set_exception(error)
                return  # a generator that made it of being cancelled is not cancelled again
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def _some(iterator: AsyncIterator[Item], size: int) -> AsyncIterator[Item]:
    """Yield the next items; the iterator stays open."""
    for _ in range(size):
        try:
            yield await anext(iterator)
        except StopAsyncIteration:
            return


async def _in_a_thread(
    items: Iterable[Item], size: int, change: Callable[[Item], Item]
) -> AsyncGenerator[list[Item], None]:
    thread = ThreadPoolExecutor(1, thread_name_prefix=THREAD_NAME)
    context = contextvars.copy_context()
    batches = _batches(items, size, change)
    reading: Future[list[Item]] = Future()

    def read() -> list[Item]:
        return context.run(lambda: next(batches, []))

    try:
        while batch := await asyncio.wrap_future(reading := thread.submit(read)):
            yield batch
    finally:
        closed = thread.submit(context.run, batches.close)
        thread.shutdown(wait=False)
        if reading.done():  # else it may block for ever
            await shielded(asyncio.wrap_future(closed))


def _batches(
    items: Iterable[Item], size: int, change: Callable[[Item], Item]
) -> Generator[list[Item], None, None]:
    iterator = iter(items)
    try:
        while batch := [change(one) for one in itertools.islice(iterator, size)]:
            yield batch
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
