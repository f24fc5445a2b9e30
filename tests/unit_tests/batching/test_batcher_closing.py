"""The micro-batcher when it is closed."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from milvus_tools.batching import BatcherClosedError, BatcherStats, Limits, MicroBatcher
from tests.helpers.batching import FakeSend, called, nothing_left, outcomes, turns

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_closing_finishes_what_was_begun() -> None:
    """Requests in flight, queued and in line get their results; new ones are refused."""
    send = FakeSend()
    limits = Limits(max_in_flight=1, max_queued=1)
    batcher = MicroBatcher(send, limits=limits)
    calls = await called(batcher, 1)
    calls += await called(batcher, 2, 3)
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    with pytest.raises(BatcherClosedError, match="closed; make a new one"):
        await batcher.submit(4)
    assert not closing.done()
    await send.answer_all()
    await closing
    assert await outcomes(calls) == ["1!", "2!", "3!"]


async def test_closing_ends_when_the_last_caller_has_gone() -> None:
    """It doesn't wait for requests that have no caller left."""
    send = FakeSend()
    batcher = MicroBatcher(send, limits=Limits(max_in_flight=1), cancel_abandoned=True)
    calls = await called(batcher, 1)
    calls += await called(batcher, 2)
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    for call in calls:
        call.cancel()
    await closing
    assert send.batches == [[1]]


async def test_closing_ends_when_the_queue_is_left_in_the_tick_of_its_batch() -> None:
    """Whenever the last caller goes, nothing waits for it."""
    for ticks in range(8):
        send = FakeSend()
        batcher = MicroBatcher(send, limits=Limits(max_in_flight=1))
        calls = [*await called(batcher, 1), *await called(batcher, 2)]
        closing = asyncio.create_task(batcher.aclose())
        await turns()
        send.answer(0)
        await turns(ticks)
        calls[1].cancel()
        await send.answer_all()
        assert closing.done()
        assert (await outcomes(calls))[0] == "1!"


async def test_closing_without_drain_fails_whoever_waits() -> None:
    """Callers get the given error at once; what was in flight is cancelled, and awaited."""
    send = FakeSend()
    limits = Limits(max_in_flight=1, max_queued=1)
    batcher = MicroBatcher(send, limits=limits, identity=str)
    calls = await called(batcher, 1)
    calls += await called(batcher, 2, 3, 3)
    error = ConnectionError("the store was closed")
    await batcher.aclose(drain=False, error=error)
    assert send.cancelled == [0]
    failed = await outcomes(calls)
    assert [repr(one) for one in failed] == [repr(error)] * 4
    assert len({id(one) for one in (error, *failed)}) == 5
    with pytest.raises(ConnectionError, match="the store was closed"):
        await batcher.submit(5)
    assert batcher.stats == BatcherStats(4, 1, 1, 1)


async def test_closing_without_drain_fails_whoever_is_to_be_sent_alone() -> None:
    """The requests of an invalid batch are not sent one by one any more."""
    send = FakeSend()
    limits = Limits(max_in_flight=1)
    batcher = MicroBatcher(send, limits=limits, is_invalid=lambda _: True)
    calls = await called(batcher, 1, 2, 3)
    send.fail(0, ValueError("one of three"))
    await turns()
    await batcher.aclose(drain=False)
    assert send.batches == [[1, 2, 3], [1]]
    assert [type(one) for one in await outcomes(calls)] == [BatcherClosedError] * 3


async def test_closing_waits_for_a_batch_that_will_not_be_cancelled() -> None:
    """Nothing is left behind, also if the batch function goes on in spite of it."""
    gate = asyncio.Event()
    stubborn = MicroBatcher[int, int](lambda requests: _finish_anyway(gate, requests))
    calls = await called(stubborn, 1, 2)
    closing = asyncio.create_task(stubborn.aclose(drain=False))
    await turns()
    assert all(call.done() for call in calls)
    assert not closing.done()
    gate.set()
    await closing
    assert [type(one) for one in await outcomes(calls)] == [BatcherClosedError] * 2


async def test_a_batch_is_cancelled_once() -> None:
    """Callers who go while it is being closed don't disturb what it does about that."""
    gate = asyncio.Event()
    batcher = MicroBatcher[int, int](
        lambda requests: _finish_anyway(gate, requests), cancel_abandoned=True
    )
    calls = await called(batcher, 1)
    closing = asyncio.create_task(batcher.aclose(drain=False))
    await turns(1)
    assert calls[0].cancel()
    await turns()
    assert calls[0].cancelled()
    assert not closing.done()
    gate.set()
    await closing


async def _finish_anyway(gate: asyncio.Event, requests: Sequence[int]) -> Sequence[int]:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await gate.wait()
    raise ValueError(len(requests))


async def test_closing_again_is_harmless() -> None:
    """One may close twice, at once, after a cancelled closing, and more firmly."""
    send = FakeSend()
    batcher = MicroBatcher(send)
    calls = await called(batcher, 1)
    first, second = (asyncio.create_task(batcher.aclose()) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert not second.done()
    await batcher.aclose(drain=False)
    await second
    await batcher.aclose()
    assert [type(one) for one in await outcomes(calls)] == [BatcherClosedError]


async def test_closing_again_keeps_the_error() -> None:
    """Refused callers get the error that a closing was given, until another one is."""
    batcher = MicroBatcher[Any, Any](FakeSend())
    await batcher.aclose(error=ConnectionError("first"))
    await batcher.aclose()
    with pytest.raises(ConnectionError, match="first"):
        await batcher.submit(1)
    await batcher.aclose(error=ConnectionError("second"))
    with pytest.raises(ConnectionError, match="second"):
        await batcher.submit(1)


async def test_a_batcher_that_was_never_used_can_be_closed() -> None:
    """On any loop."""
    batcher = MicroBatcher[Any, Any](FakeSend())
    thread = threading.Thread(target=asyncio.run, args=[batcher.aclose()])
    thread.start()
    thread.join()
    with pytest.raises(BatcherClosedError):
        await batcher.submit(1)
