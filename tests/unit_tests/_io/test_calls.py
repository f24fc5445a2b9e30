"""Calls from one event loop to the I/O loop: those of a tick cross together."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from milvus_tools._io.calls import _Call, run_on_io_loop
from milvus_tools._io.loop import join, portal
from milvus_tools.batching import MicroBatcher
from tests.helpers.batching import nothing_left, turns
from tests.helpers.fake_embeddings import outcomes

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left", "held")

MANY = 100
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture
def held() -> Iterator[None]:
    """The I/O loop's thread runs meanwhile."""
    portal().acquire()
    yield
    join(portal().release())


async def answer(value: Any) -> Any:
    """Return or raise a value, on the I/O loop."""
    assert portal().is_current()
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


class Hanging:
    """Work that never ends unless it is cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def test_each_call_gets_its_own_outcome() -> None:
    """Results and errors, of many calls in one tick and of those after."""
    for _ in range(3):
        error = LookupError("lost")
        values = [*range(MANY), error]
        assert await outcomes(*(run_on_io_loop(answer(value)) for value in values)) == values


async def test_the_calls_of_a_tick_share_a_batch() -> None:
    """They reach the I/O loop in one tick, and their results come back in one."""
    sizes = []

    async def send(requests: Any) -> Any:
        sizes.append(len(requests))
        return requests

    there: MicroBatcher[int, int] = MicroBatcher(send)
    back: MicroBatcher[int, int] = MicroBatcher(send)

    async def call(number: int) -> int:
        return await back.submit(await run_on_io_loop(there.submit(number)))

    for _ in range(20):
        await asyncio.gather(*map(call, range(MANY)))
    assert sizes == [MANY, MANY] * 20


async def test_work_runs_in_the_callers_context() -> None:
    """Each call sees the variables of its own caller."""

    async def look() -> str:
        return where.get()

    async def call(place: str) -> str:
        where.set(place)
        return await run_on_io_loop(look())

    places = [f"place {number}" for number in range(5)]
    assert await asyncio.gather(*map(call, places)) == places


async def test_cancelling_reaches_the_work() -> None:
    """Only that of the cancelled caller; the other calls of the tick go on."""
    hanging = Hanging()
    first = asyncio.create_task(run_on_io_loop(hanging()))
    others = [asyncio.create_task(run_on_io_loop(answer(number))) for number in range(3)]
    await asyncio.to_thread(hanging.begun.wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.to_thread(hanging.cancelled.wait)
    assert await asyncio.gather(*others) == [0, 1, 2]


async def test_a_caller_that_is_cancelled_at_once_begins_nothing() -> None:
    """Before its tick has ended, nothing has crossed."""
    hanging = Hanging()
    call = asyncio.create_task(run_on_io_loop(hanging()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await run_on_io_loop(answer("next")) == "next"
    assert not hanging.begun.is_set()


async def test_a_caller_that_is_cancelled_on_the_way_is_not_forgotten() -> None:
    """Work that begins after its caller has gone is cancelled before its first step."""
    hanging = Hanging()
    answer = asyncio.get_running_loop().create_future()
    call = _Call(hanging(), answer)
    answer.cancel()
    await turns()
    (outcome,) = await outcomes(call.start())
    assert isinstance(outcome, asyncio.CancelledError)
    assert not hanging.begun.is_set()


async def test_an_error_that_nobody_waits_for_is_not_logged() -> None:
    """Work that fails while it is being cancelled has no caller left."""
    hanging, failed = Hanging(), threading.Event()

    async def fail() -> None:
        try:
            await hanging()
        finally:
            failed.set()
            raise LookupError("lost")

    call = asyncio.create_task(run_on_io_loop(fail()))
    await asyncio.to_thread(hanging.begun.wait)
    call.cancel()
    (outcome,) = await outcomes(call)
    assert isinstance(outcome, asyncio.CancelledError)
    await asyncio.to_thread(failed.wait)
    assert await run_on_io_loop(answer("next")) == "next"


async def test_work_that_is_cancelled_there_is_cancelled_here() -> None:
    """A caller never waits for work that has ended."""

    async def end() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_on_io_loop(end())


def test_a_loop_may_end_before_its_calls() -> None:
    """Its calls are cancelled, and the next loop is served."""
    hanging = Hanging()

    async def leave() -> None:
        task = asyncio.create_task(run_on_io_loop(hanging()))
        await asyncio.to_thread(hanging.begun.wait)
        assert not task.done()

    asyncio.run(leave())
    assert hanging.cancelled.wait(30)
    assert asyncio.run(run_on_io_loop(answer("next"))) == "next"


async def test_outcomes_are_let_go_of() -> None:
    """Neither results nor errors are kept, and no cycle holds them."""

    class Kept(Exception):  # noqa: N818 - one kind for both
        pass

    async def one() -> Kept:
        return Kept()

    async def other() -> Kept:
        raise Kept

    gc.disable()
    try:
        result = weakref.ref(await run_on_io_loop(one()))
        with pytest.raises(Kept) as raised:
            await run_on_io_loop(other())
        error = weakref.ref(raised.value)
        del raised
        for number in range(3):  # what the I/O loop had still to do is done
            assert await run_on_io_loop(answer(number)) == number
        assert result() is None
        assert error() is None
    finally:
        gc.enable()
