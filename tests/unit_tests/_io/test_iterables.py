"""Reading iterables of any kind in batches."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools._io.iterables import THREAD_NAME, batches_of, closing
from milvus_tools.errors import InvalidInputError
from tests.helpers.threads import BOUND, no_new_threads

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name")


class Source:
    """An input that tells how far it was read, where, and whether it was closed."""

    def __init__(self, count: int) -> None:
        """Have been read not at all."""
        self.count, self.read = count, 0
        self.closed = False
        self.threads: set[str] = set()
        self.names: set[str | None] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.begun = threading.Event()

    def __iter__(self) -> Iterator[int]:
        """Read it."""
        try:
            for number in range(self.count):
                self.begun.set()
                assert self.hold.wait(BOUND)
                self.read += 1
                yield number
        finally:
            self.threads.add(threading.current_thread().name)
            self.names.add(NAME.get(None))
            self.closed = True

    async def awaited(self) -> AsyncIterator[int]:
        """Read it with awaits in between."""
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                self.read += 1
                yield number
        finally:
            self.closed = True

    def of_kind(self, kind: str) -> Any:
        """Return it as a generator."""
        return iter(self) if kind == "sync" else self.awaited()


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
@given(count=st.integers(0, 12), size=st.integers(1, 5))
async def test_batches_hold_all_items_in_order(kind: str, count: int, size: int) -> None:
    """All but the last are full; each item is changed once."""
    read = batches_of(Source(count).of_kind(kind), size, lambda number: number * 2)
    batches = [batch async for batch in read]
    assert [one for batch in batches for one in batch] == [2 * number for number in range(count)]
    assert all(len(batch) == size for batch in batches[:-1])


@KINDS
async def test_no_further_than_asked_is_read_and_then_closed(kind: str) -> None:
    """An input that is not read to its end is closed, with nothing read ahead."""
    source = Source(100)
    with no_new_threads():
        async with closing(batches_of(source.of_kind(kind), 3, int)) as read:
            assert await anext(read) == [0, 1, 2]
            assert source.read == 3
            assert not source.closed
        assert source.closed
        assert source.read == 3


async def test_a_sync_iterable_is_read_in_one_thread_of_its_own() -> None:
    """Its caller's context is there, and its caller's loop is not blocked while it waits."""
    NAME.set("caller")
    source = Source(4)
    source.hold.clear()
    with no_new_threads():
        async with closing(batches_of(source, 2, int)) as read:
            first = asyncio.ensure_future(anext(read))
            assert await asyncio.to_thread(source.begun.wait, BOUND)
            source.hold.set()  # by the loop that would be blocked
            assert await first == [0, 1]
            assert await anext(read) == [2, 3]
    (thread,) = source.threads
    assert thread.startswith(THREAD_NAME)
    assert source.names == {"caller"}


async def test_nobody_waits_for_an_input_that_blocks() -> None:
    """A cancelled caller returns at once; the thread closes the generator when it goes on."""
    source = Source(4)
    source.hold.clear()
    with no_new_threads():
        reading = asyncio.ensure_future(anext(batches_of(source, 2, int)))
        assert await asyncio.to_thread(source.begun.wait, BOUND)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not source.closed
        source.hold.set()
    assert source.closed


async def test_an_async_generator_is_read_in_one_task() -> None:
    """Context variables and resources around its items are its own from beginning to end."""
    tasks: set[object] = set()

    async def scoped() -> AsyncIterator[int]:
        token = NAME.set("inside")
        async with asyncio.timeout(BOUND):
            for number in range(4):
                tasks.add(asyncio.current_task())
                yield number
        NAME.reset(token)

    async with closing(batches_of(scoped(), 1, int)) as read:
        assert [batch async for batch in read] == [[0], [1], [2], [3]]
    assert len(tasks) == 1


async def test_a_generator_that_cancels_its_task_is_an_error() -> None:
    """It does not look as if the caller had been cancelled, and no caller waits for ever."""

    async def cancelling() -> AsyncIterator[int]:
        yield 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        yield 2

    async with closing(batches_of(cancelling(), 1, int)) as read:
        assert await anext(read) == [1]
        with pytest.raises(RuntimeError, match="cancelled the task"):
            await anext(read)


@KINDS
async def test_an_error_is_not_lost_because_closing_fails_too(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of closing is logged; if it is the only one, it is raised."""

    def failing() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            raise OSError("can't close")

    make = failing if kind == "sync" else closes_badly

    async def read_one(then: Callable[[], object]) -> None:
        async with closing(batches_of(make(), 2, int)) as read:
            await anext(read)
            then()

    with pytest.raises(ZeroDivisionError):
        await read_one(lambda: 1 / 0)
    assert "failed when it was closed" in caplog.text
    with pytest.raises(OSError, match="can't close"):
        await read_one(lambda: None)


async def closes_badly() -> AsyncIterator[int]:
    """Yield numbers, and fail at the end."""
    try:
        for number in range(9):
            yield number
    finally:
        raise OSError("can't close")


@KINDS
async def test_what_an_input_raises_comes_through(kind: str) -> None:
    """As it is, in place of the batch that it would have been in."""

    def wrong(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError
        return number

    source = Source(9)
    read = batches_of(source.of_kind(kind), 2, wrong)
    assert await anext(read) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        await anext(read)
    assert source.closed


@pytest.mark.parametrize("items", ["text", b"bytes", 3, None])
def test_what_is_no_input_is_refused(items: Any) -> None:
    """A string is one Document too few rather than many letters."""
    with pytest.raises(InvalidInputError, match=type(items).__name__):
        batches_of(items, 2, str)


async def test_r24_a_generator_that_fails_after_its_reader_left_is_not_logged() -> None:
    """It may make an error of its own of the cancelling."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    begun = asyncio.Event()

    async def fails_when_cancelled() -> AsyncIterator[int]:
        yield 1
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("late") from None

    async def read() -> None:
        async for _ in batches_of(fails_when_cancelled(), 1, lambda item: item):
            pass

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    await asyncio.wait([reader])
    del reader
    gc.collect()
    assert logged == []
