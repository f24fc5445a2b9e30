"""Reading an iterable of any kind in batches, without blocking the event loop."""

import asyncio
import contextvars
import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
)
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from milvus_tools.errors import InvalidInputError

Item = TypeVar("Item")

THREAD_NAME = "milvus-tools-reader"


def batches_of(
    items: Iterable[Item] | AsyncIterable[Item], size: int, change: Callable[[Item], Item]
) -> AsyncGenerator[list[Item], None]:
    """Read items in batches.

    An async iterable is read where the batches are awaited, any other in one thread of its own:
    it may block. A generator is closed with the batches, in the place where it is read; if it is
    being read just then, that is waited for.

    Args:
        items: The items.
        size: How many make a batch; the last may have fewer.
        change: What is done to each item.

    Raises:
        InvalidInputError: If they are no iterable, or a string.
    """
    if isinstance(items, AsyncIterable):
        return _awaited(items, size, change)
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InvalidInputError(f"Documents must be an iterable, not {type(items).__name__}.")
    return _in_a_thread(items, size, change)


async def _awaited(
    items: AsyncIterable[Item], size: int, change: Callable[[Item], Item]
) -> AsyncGenerator[list[Item], None]:
    iterator = aiter(items)
    try:
        while batch := [change(one) async for one in _some(iterator, size)]:
            yield batch
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
    loop = asyncio.get_running_loop()
    batches = _batches(items, size, change)

    def read() -> list[Item] | None:
        return context.run(next, batches, None)

    try:
        while batch := await loop.run_in_executor(thread, read):
            yield batch
    finally:
        closing = loop.run_in_executor(thread, context.run, batches.close)
        thread.shutdown(wait=False)
        await asyncio.shield(closing)


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
