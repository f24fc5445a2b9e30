"""The micro-batcher: what goes out together, when, and within which bounds."""

import asyncio
import contextvars
import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from milvus_tools.batching import BatcherStats, BatchInfo, Limits, MicroBatcher, WrongLoopError
from tests.helpers.batching import FakeSend, called, nothing_left, outcomes, turns

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


async def echo(requests: Sequence[Any]) -> Sequence[Any]:
    """Answer at once."""
    return list(requests)


async def test_gathered_calls_go_out_together() -> None:
    """Calls of one tick are one batch, in order, and each caller gets its own result."""
    send = FakeSend()
    batcher = MicroBatcher(send)
    calls = await called(batcher, 1, 2, 3)
    assert send.batches == [[1, 2, 3]]
    send.answer(0)
    assert await outcomes(calls) == ["1!", "2!", "3!"]


async def test_a_lone_call_waits_for_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent when the tick ends, and no timer is set for it."""
    send = FakeSend()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", None)
    call = asyncio.create_task(MicroBatcher(send).submit(1))
    await turns(3)  # the call, the end of the tick, the batch
    assert send.batches == [[1]]
    send.answer(0)
    assert await call == "1!"


async def test_calls_pile_up_while_all_slots_are_busy() -> None:
    """Requests that come while no slot is free go out together when one is."""
    send = FakeSend()
    batcher = MicroBatcher(send, limits=Limits(max_in_flight=2))
    calls = [call for request in range(6) for call in await called(batcher, request)]
    assert send.batches == [[0], [1]]
    send.answer(1)
    await turns()
    assert send.batches == [[0], [1], [2, 3, 4, 5]]
    await send.answer_all()
    assert await outcomes(calls) == [f"{request}!" for request in range(6)]


async def test_a_caller_who_goes_on_at_once_joins_those_who_wait() -> None:
    """A slot that is free is used at the end of the tick, so with the next calls of this one."""
    send = FakeSend()
    batcher = MicroBatcher(send, limits=Limits(max_in_flight=1))

    async def twice() -> list[Any]:
        return [await batcher.submit("first"), await batcher.submit("second")]

    call = asyncio.create_task(twice())
    await turns()
    others = await called(batcher, "other")
    send.answer(0)
    await turns()
    assert send.batches == [["first"], ["other", "second"]]
    await send.answer_all()
    assert await outcomes([call, *others]) == [["first!", "second!"], "other!"]


async def test_a_batch_has_a_greatest_size() -> None:
    """More requests than that are several batches."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, limits=Limits(max_batch_size=2)), 1, 2, 3)
    assert send.batches == [[1, 2], [3]]
    await send.answer_all()
    assert await outcomes(calls) == ["1!", "2!", "3!"]


async def test_a_batch_has_a_greatest_weight() -> None:
    """Requests are taken in order as long as they fit; one too heavy for any batch goes alone."""
    send = FakeSend()
    limits = Limits(max_batch_weight=10, max_in_flight=1)
    calls = await called(MicroBatcher(send, limits=limits, weigh=int), 4, 6, 1, 99, 10, 9, 1)
    await send.answer_all()
    assert send.batches == [[4, 6], [1], [99], [10], [9, 1]]
    assert len(await outcomes(calls)) == 7


async def test_groups_are_never_mixed() -> None:
    """Only requests of equal group share a batch."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, group_key=lambda word: word[0]), "a1", "b1", "a2")
    assert send.batches == [["a1", "a2"], ["b1"]]
    await send.answer_all()
    assert await outcomes(calls) == ["a1!", "b1!", "a2!"]


async def test_the_group_of_the_oldest_request_is_next() -> None:
    """A busy group starves no other: the first to come is served first."""
    send = FakeSend()
    limits = Limits(max_batch_size=2, max_in_flight=1)
    batcher = MicroBatcher(send, limits=limits, group_key=lambda word: word[0])
    calls = await called(batcher, "a1", "a2", "a3", "b1", "a4", "c1", "a5")
    for number, more in enumerate(["a6", "a7", "a8", "a9", "a0"]):
        send.answer(number)
        calls += await called(batcher, more)
    await send.answer_all()
    expected = [["a1", "a2"], ["a3", "a4"], ["b1"], ["c1"], ["a5", "a6"], ["a7", "a8"]]
    assert send.batches == [*expected, ["a9", "a0"]]
    assert len(await outcomes(calls)) == 12


async def test_callers_beyond_the_queue_wait_in_line() -> None:
    """The queue is bounded; who comes later is let in first come, first served."""
    send = FakeSend()
    limits = Limits(max_in_flight=1, max_queued=2)
    batcher = MicroBatcher(send, limits=limits)
    calls = await called(batcher, 0)
    calls += await called(batcher, *range(1, 7))
    assert (batcher.stats.queued, batcher.stats.waiting) == (2, 4)
    calls[3].cancel()
    calls[1].cancel()
    await turns()
    assert (batcher.stats.queued, batcher.stats.waiting) == (2, 2)
    await send.answer_all()
    assert send.batches == [[0], [2, 4], [5, 6]]
    results = await outcomes(calls)
    assert [result for result in results if isinstance(result, str)] == [
        *("0!", "2!", "4!", "5!", "6!")
    ]


async def test_identical_requests_are_sent_once() -> None:
    """Queued or in flight, they share the result; once it is there, it is not kept."""
    send = FakeSend()
    batcher = MicroBatcher(send, limits=Limits(max_in_flight=1), identity=str)
    calls = await called(batcher, 1, 2, 1)
    calls += await called(batcher, 2, 3, 3)
    assert send.batches == [[1, 2]]
    await send.answer_all()
    calls += await called(batcher, 1)
    await send.answer_all()
    assert send.batches == [[1, 2], [3], [1]]
    assert await outcomes(calls) == ["1!", "2!", "1!", "2!", "3!", "3!", "1!"]
    assert batcher.stats.shared == 3


async def test_requests_are_not_identical_across_groups_or_without_identity() -> None:
    """Sharing needs an equal group and an identity."""
    send = FakeSend()
    batcher = MicroBatcher(send, group_key=type, identity=lambda one: one or None)
    calls = await called(batcher, 1, True, 0, 0)
    assert send.batches == [[1, 0, 0], [True]]
    await send.answer_all()
    assert await outcomes(calls) == ["1!", "True!", "0!", "0!"]


async def test_batches_run_in_nobodys_context() -> None:
    """A caller's context variables reach no batch, and those of a batch not the next."""
    seen: list[str] = []

    async def look(requests: Sequence[Any]) -> Sequence[Any]:
        seen.append(caller.get())
        caller.set("batch")
        return requests

    batcher = MicroBatcher(look, on_batch=lambda _: seen.append(caller.get()))
    caller.set("first")
    assert await batcher.submit(1) == 1
    caller.set("second")
    assert await batcher.submit(2) == 2
    assert caller.get() == "second"
    assert seen == ["nobody"] * 4


async def test_the_hook_hears_of_each_batch() -> None:
    """It gets the group, size and time, and the error if the whole batch failed."""
    send, told = FakeSend(), list[BatchInfo]()
    batcher = MicroBatcher(send, group_key=type, on_batch=told.append)
    calls = await called(batcher, 1, 2, "x")
    send.gates[0].set_result(["one", ValueError("only the second")])
    error = OSError("lost")
    send.fail(1, error)
    await outcomes(calls)
    assert [(one.group, one.size, one.error) for one in told] == [(int, 2, None), (str, 1, error)]
    assert all(one.seconds >= 0 for one in told)


async def test_a_hook_that_fails_loses_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged; callers get their results, and the batcher goes on."""
    batcher = MicroBatcher(echo, on_batch=lambda info: info.size // 0)  # type: ignore[arg-type]
    assert await asyncio.gather(batcher.submit(1), batcher.submit(2)) == [1, 2]
    assert await batcher.submit(3) == 3
    logged = [one.levelno for one in caplog.records if one.name.startswith("milvus_tools")]
    assert logged == [logging.ERROR] * 2


async def test_the_stats_count() -> None:
    """They say how many calls became how many batches, and what is under way."""
    send = FakeSend()
    limits = Limits(max_batch_size=3, max_in_flight=1, max_queued=2)
    batcher = MicroBatcher(send, limits=limits, identity=str)
    calls = await called(batcher, 1, 2)
    calls += await called(batcher, 1, 3, 4, 5)
    assert batcher.stats == BatcherStats(6, 1, 1, 2, waiting=1, queued=2, in_flight=1)
    await send.answer_all()
    await outcomes(calls)
    assert batcher.stats == BatcherStats(calls=6, shared=1, batches=3, largest_batch=2)


async def test_a_key_that_cannot_be_had_fails_its_caller_alone() -> None:
    """Whatever the owner's functions raise reaches that caller; nothing was queued for it."""
    batcher = MicroBatcher(echo, group_key=lambda one: one or [], weigh=lambda one: 1 / (one - 7))
    results = await asyncio.gather(*map(batcher.submit, [0, 5, 7]), return_exceptions=True)
    assert results[1] == 5
    assert [type(one) for one in results] == [TypeError, int, ZeroDivisionError]
    assert batcher.stats == BatcherStats(calls=1, batches=1, largest_batch=1)


async def test_an_idle_batcher_is_kept_alive_by_nobody() -> None:
    """It holds no task, and it dies with its last user, without the garbage collector."""
    batcher = MicroBatcher(echo, identity=str)
    await asyncio.gather(*map(batcher.submit, range(300)))
    ghost = weakref.ref(batcher)
    await turns()
    gc.disable()
    try:
        del batcher
        assert ghost() is None
    finally:
        gc.enable()


def test_a_batcher_belongs_to_the_loop_of_its_first_call() -> None:
    """It may be made anywhere; another loop is told what to do instead."""
    batcher = MicroBatcher(echo)
    assert asyncio.run(batcher.submit(1)) == 1
    for use in (batcher.submit, lambda _: batcher.aclose()):
        with pytest.raises(WrongLoopError, match="call it there, or make a batcher for each loop"):
            asyncio.run(use(2))


@pytest.mark.parametrize("name", ["max_batch_size", "max_in_flight", "max_queued"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None])
def test_limits_that_nothing_could_pass_are_refused(name: str, value: Any) -> None:
    """The error says which one, and what it must be."""
    with pytest.raises(ValueError, match=f"^{name} must be a whole number of at least 1; it is"):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_weight_that_nothing_could_have_is_refused(value: float) -> None:
    """A bound on weight is above 0; `None` is none."""
    with pytest.raises(ValueError, match="max_batch_weight must be above 0"):
        Limits(max_batch_weight=value)
    assert Limits(max_batch_weight=None) == Limits()
