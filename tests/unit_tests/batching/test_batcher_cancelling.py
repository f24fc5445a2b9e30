"""The micro-batcher when callers are cancelled."""

import asyncio
from typing import Any

import pytest

from milvus_tools.batching import BatchInfo, Limits, MicroBatcher
from tests.helpers.batching import FakeSend, called, nothing_left, outcomes, turns

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_a_caller_cancelled_in_time_is_not_sent() -> None:
    """Not while it is queued, and not in the very tick in which its batch starts."""
    for ticks in range(2):
        send = FakeSend()
        calls = [asyncio.create_task(MicroBatcher(send).submit(1))]
        await turns(ticks)
        calls[0].cancel()
        await turns()
        assert send.batches == []
        assert calls[0].cancelled()


async def test_the_others_of_a_batch_are_sent() -> None:
    """A cancelled caller is skipped; the others don't notice."""
    for ticks in range(2):
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
    """A write is finished though its callers have gone."""
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
    """A read gives up its slot when its last caller has gone."""
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
    assert ticks == 2  # the batch, the caller
    await outcomes(calls)
