"""Work on items as they are read, under any interleaving, failure and cancellation."""

import asyncio
import dataclasses
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools._io.tasks import run_pipeline
from tests.helpers.batching import nothing_left, turns

__all__ = ["nothing_left"]  # a fixture


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """Something to work on: how many turns of the loop to read it and to work, and its keys."""

    reading: int = 0
    working: int = 0
    keys: frozenset[int] = frozenset()
    fails: bool = False
    unreadable: bool = False


class FailedError(Exception):
    """Tells which item failed."""


ITEMS = st.lists(
    st.builds(
        Item,
        reading=st.integers(0, 3),
        working=st.integers(0, 9),
        keys=st.frozensets(st.integers(0, 3), max_size=2),
        fails=st.integers(0, 11).map(lambda number: number == 0),
        unreadable=st.integers(0, 23).map(lambda number: number == 0),
    ),
    max_size=20,
)


class Run:
    """One use of `overlap`, and what it did."""

    def __init__(self, items: list[Item], most: int) -> None:
        """Do nothing yet."""
        self.items, self.most = items, most
        self.read: list[Item] = []
        self.running: list[Item] = []
        self.begun: list[Item] = []
        self.ended: list[Item] = []
        self.failed: list[Item] = []
        self.closed = False

    async def __call__(self) -> None:
        """Go through with it."""
        await run_pipeline(
            self._all(), self._work, max_in_flight=self.most, keys=lambda item: item.keys
        )

    async def _all(self) -> AsyncIterator[Item]:
        try:
            for item in self.items:
                assert not self.failed, "It was read on after a failure."
                assert len(self.read) - len(self.ended) < self.most
                for _ in range(item.reading):
                    await asyncio.sleep(0)
                if item.unreadable:
                    self._fail(item)
                self.read.append(item)
                yield item
        finally:
            self.closed = True

    async def _work(self, number: int, item: Item) -> None:
        assert item is self.items[number]
        assert not self.failed, "Work began after a failure."
        assert not any(item.keys & other.keys for other in self.running)
        self.begun.append(item)
        self.running.append(item)
        try:
            for _ in range(item.working):
                await asyncio.sleep(0)
            if item.fails:
                self._fail(item)
        finally:
            self.running.remove(item)
            self.ended.append(item)

    def _fail(self, item: Item) -> None:
        self.failed.append(item)
        raise FailedError(item)


def in_order_of_keys(run: Run) -> bool:
    """Tell whether of items with a key in common none overtook another."""
    place = {item: number for number, item in enumerate(run.items)}
    return all(
        place[one] < place[other]
        for number, one in enumerate(run.begun)
        for other in run.begun[number:]
        if one is not other and one.keys & other.keys
    )


@given(ITEMS, st.integers(1, 5))
async def test_every_item_is_worked_on_once_or_the_first_failure_is_raised(
    items: list[Item], most: int
) -> None:
    """Bounded, in the order of common keys; after a failure nothing begins, and all has ended."""
    run = Run(items, most)
    (error,) = await asyncio.gather(run(), return_exceptions=True)
    if run.failed:
        assert isinstance(error, FailedError)
        assert error.args[0] is run.failed[0]
    else:
        assert error is None
        assert set(run.ended) == set(items)
        assert run.closed
    assert len(run.begun) == len(set(run.begun))
    assert in_order_of_keys(run)
    assert not run.running
    assert asyncio.all_tasks() == {asyncio.current_task()}


@given(ITEMS, st.integers(1, 5), st.integers(0, 40))
async def test_cancelling_ends_whatever_is_under_way(
    items: list[Item], most: int, when: int
) -> None:
    """Reading and work have ended when the cancelled call returns, and no task is left."""
    run = Run(items, most)
    task = asyncio.create_task(run())
    await turns(when)
    task.cancel()
    await asyncio.wait([task])
    assert not run.running
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert task.cancelled() or run.failed or set(run.ended) == set(items)


async def test_a_failure_ends_the_reading_of_an_endless_input(nothing_left: None) -> None:
    """An input that may never give another item is not waited for."""

    async def endless() -> AsyncIterator[int]:
        yield 1
        await asyncio.get_running_loop().create_future()

    async def fail(number: int, item: int) -> None:
        raise FailedError(item)

    with pytest.raises(FailedError):
        await run_pipeline(endless(), fail, max_in_flight=2)


async def test_r24_a_reading_that_fails_together_with_the_work_is_not_logged() -> None:
    """The first failure is raised; the other one is not left to the log."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    now = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        now.set()
        await asyncio.sleep(0)
        raise ValueError("of the reading")

    async def work(_number: int, _item: int) -> None:
        await now.wait()
        raise RuntimeError("of the work")

    with pytest.raises((ValueError, RuntimeError)):
        await run_pipeline(items(), work, max_in_flight=2)
    gc.collect()
    assert logged == []
