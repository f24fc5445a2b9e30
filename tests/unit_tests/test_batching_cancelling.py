"""The micro-batcher when callers are cancelled, and when it is closed."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from milvus_tools.batching import (
    BatcherClosedError,
    BatcherStats,
    BatchInfo,
    Limits,
    MicroBatcher,
)
from tests.batches import FakeSend, called, nothing_left, outcomes, turns

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_a_caller_cancelled_in_time_is_not_sent() -> None:
    """Not while it is queued, and not in the very tick in which its batch starts."""
    for ticks in range(3):
        send = FakeSend()
        calls = [asyncio.create_task(MicroBatcher(send).submit(1))]
        await turns(ticks)
        calls[0].cancel()
        await turns()
        assert send.batches == []
        assert calls[0].cancelled()


async def test_the_others_of_a_batch_are_sent() -> None:
    """A cancelled caller is skipped; the others don't notice."""
    for ticks in range(3):
        send = FakeSend()
        batcher = MicroBatcher(send)
        calls = [asyncio.create_task(batcher.submit(request)) for request in (1, 2, 3)]
        await turns(ticks)
        calls[1].cancel()
        await turns()
        assert send.batches == [[1, 3]]
        send.answer(0)
        assert [calls[0].cancelled(), *(await outcomes(calls))[::2]] == [False, "1!", "3!"]


async def test_a_cancelled_caller_does_not_wait_for_its_batch() -> None:
    """It goes at once; the batch goes on, and the slot is busy until that ends."""
    send = FakeSend()
    batcher = MicroBatcher(send)
    calls = await called(batcher, 1, 2)
    calls[0].cancel()
    await turns()
    assert calls[0].cancelled()
    assert batcher.stats.in_flight == 1
    send.answer(0)
    assert await calls[1] == "2!"


async def test_a_timeout_of_the_caller_works() -> None:
    """`asyncio.timeout` gives its own error, whether the request is queued or in flight."""
    send = FakeSend()
    batcher = MicroBatcher(send, limits=Limits(max_in_flight=1))
    for sent in ([[1]], [[1]]):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await batcher.submit(1)
        assert send.batches == sent
    assert batcher.stats.queued == 0
    send.answer(0)
    await turns()


async def test_an_abandoned_batch_goes_on() -> None:
    """A write is finished though nobody waits for it any more."""
    send = FakeSend()
    calls = await called(MicroBatcher(send), 1, 2)
    for call in calls:
        call.cancel()
    await turns()
    assert send.open() == [0]
    send.answer(0)
    await turns()
    assert send.cancelled == []


async def test_an_abandoned_batch_is_cancelled_if_told() -> None:
    """A read that nobody waits for gives up its slot, when the last caller has gone."""
    send, told = FakeSend(), list[BatchInfo]()
    batcher = MicroBatcher(send, cancel_abandoned=True, on_batch=told.append)
    calls = await called(batcher, 1, 2)
    calls[0].cancel()
    await turns()
    assert send.cancelled == []
    calls[1].cancel()
    await turns()
    assert send.cancelled == [0]
    assert batcher.stats.in_flight == 0
    assert [one.size for one in told] == [2]
    assert told[0].error is not None


async def test_a_cancelled_caller_takes_no_identical_one_with_it() -> None:
    """Those who joined a request keep it going, also after its first caller has gone."""
    send = FakeSend()
    batcher = MicroBatcher(send, identity=str, cancel_abandoned=True)
    calls = await called(batcher, 1, 1)
    calls[0].cancel()
    calls += await called(batcher, 1)
    calls[1].cancel()
    await turns()
    assert send.cancelled == []
    send.answer(0)
    assert await calls[2] == "1!"
    assert send.batches == [[1]]


async def test_a_request_without_callers_can_be_joined_while_its_batch_goes_on() -> None:
    """The new caller counts: the batch is not cancelled when the other request's caller goes."""
    send = FakeSend()
    batcher = MicroBatcher(send, identity=str, cancel_abandoned=True)
    calls = await called(batcher, 1, 2)
    calls[0].cancel()
    calls += await called(batcher, 1)
    calls[1].cancel()
    await turns()
    assert send.cancelled == []
    send.answer(0)
    assert await calls[2] == "1!"


async def test_nobody_joins_what_was_given_up() -> None:
    """An identical request after a cancelled one, queued or in flight, is sent anew."""
    send = FakeSend()
    limits = Limits(max_in_flight=1)
    batcher = MicroBatcher(send, limits=limits, identity=str, cancel_abandoned=True)
    calls = await called(batcher, 1)
    calls += await called(batcher, 2)
    for call in calls:
        call.cancel()
    calls += await called(batcher, 1, 2)
    await send.answer_all()
    assert send.batches == [[1], [1, 2]]
    assert (await outcomes(calls))[2:] == ["1!", "2!"]


async def test_the_end_of_what_was_given_up_does_not_part_identical_requests() -> None:
    """A cancelled batch that ends late doesn't let a third request be sent beside the second."""
    send = FakeSend()
    batcher = MicroBatcher(send, identity=str, cancel_abandoned=True)
    calls = await called(batcher, 1)
    calls[0].cancel()
    await turns(1)
    calls += await called(batcher, 1)
    assert send.cancelled == [0]
    calls += await called(batcher, 1)
    await send.answer_all()
    assert send.batches == [[1], [1]]
    assert (await outcomes(calls))[1:] == ["1!", "1!"]


async def test_nobody_joins_what_was_skipped() -> None:
    """A request that was dropped in the tick of its batch is sent anew for the next caller."""
    send = FakeSend()
    batcher = MicroBatcher(send, identity=str)
    for ticks in range(4):
        lost = asyncio.create_task(batcher.submit(1))
        await turns(ticks)
        lost.cancel()
        await turns(1)
        call = asyncio.create_task(batcher.submit(1))
        await send.answer_all()
        assert await call == "1!"


@pytest.mark.parametrize("outcome", [["one"], [ValueError("bad")]])
async def test_a_caller_cancelled_when_its_outcome_is_on_the_way_is_cancelled(
    outcome: list[Any],
) -> None:
    """Its cancellation is never swallowed, and an error that it doesn't see is not logged."""
    for ticks in range(10):
        send = FakeSend()
        calls = await called(MicroBatcher(send, cancel_abandoned=True), 1)
        send.gates[0].set_result(outcome)
        await turns(ticks)
        if calls[0].done():
            break
        calls[0].cancel()
        await turns()
        assert calls[0].cancelled()
    assert ticks == 3  # the batch, its end, the caller
    await outcomes(calls)


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
    """It doesn't wait for what nobody wants."""
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


async def test_a_batcher_that_was_never_used_can_be_closed() -> None:
    """On any loop."""
    batcher = MicroBatcher[Any, Any](FakeSend())
    thread = threading.Thread(target=asyncio.run, args=[batcher.aclose()])
    thread.start()
    thread.join()
    with pytest.raises(BatcherClosedError):
        await batcher.submit(1)
