"""The micro-batcher when batches fail: who gets which error, and what is sent again."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import Sequence
from typing import Any, Self

import pytest

from milvus_tools.batching import (
    BatchCancelledError,
    BatchInfo,
    Limits,
    MicroBatcher,
    WrongNumberOfResultsError,
)
from milvus_tools.errors import PartialWriteError
from tests.helpers.batching import FakeSend, called, nothing_left, outcomes, turns

__all__ = ["nothing_left"]  # a fixture
pytestmark = pytest.mark.usefixtures("nothing_left")


class InvalidError(Exception):
    """Says that a request of the batch is wrong."""


class KeywordError(Exception):
    """Can't be made from its `args`, as many clients' errors."""

    def __init__(self, *, status: int) -> None:
        super().__init__(f"Error {status}.")
        self.status = status


class WordyError(Exception):
    """Makes its message from an argument, as many errors."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No {name}.")


class LonelyError(Exception):
    """Can't be copied at all."""

    def __new__(cls, *args: Any) -> Self:
        if cls.made:
            raise TypeError("There is one.")
        cls.made = True
        return super().__new__(cls, *args)

    made = False


def invalid(error: Exception) -> bool:
    """Tell whether single requests are worth a try."""
    return isinstance(error, InvalidError)


async def test_an_exception_as_result_fails_its_caller_alone() -> None:
    """The others of the batch get their results."""
    send = FakeSend()
    calls = await called(MicroBatcher(send), 1, 2, 3)
    send.gates[0].set_result([10, ValueError("bad"), 30])
    first, second, third = await outcomes(calls)
    assert (first, third) == (10, 30)
    assert isinstance(second, ValueError)
    assert str(second) == "bad"


@pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
async def test_a_wrong_number_of_results_fails_all_callers(results: list[int]) -> None:
    """No caller gets a result that may be another's, and nothing is sent again."""
    send = FakeSend()
    batcher = MicroBatcher(send, is_invalid=lambda _: True)
    calls = await called(batcher, 1, 2)
    send.gates[0].set_result(results)
    for error in await outcomes(calls):
        assert isinstance(error, WrongNumberOfResultsError)
        assert (error.expected, error.received) == (2, len(results))
        assert str(error) == f"A batch of 2 requests came back with {len(results)} results."
    assert send.batches == [[1, 2]]


async def test_no_results_at_all_fail_all_callers() -> None:
    """A batch function that returns nothing leaves no caller waiting."""
    send = FakeSend()
    calls = await called(MicroBatcher(send), 1, 2)
    send.gates[0].set_result(None)
    assert [type(error) for error in await outcomes(calls)] == [TypeError, TypeError]


async def test_a_batch_function_that_is_none_fails_all_callers() -> None:
    """One that raises before there is anything to await does so too."""

    def refuse(requests: Sequence[Any]) -> Any:
        raise LookupError(len(requests))

    calls = await called(MicroBatcher(refuse), 1, 2)
    assert [error.args for error in await outcomes(calls)] == [(2,), (2,)]


async def test_a_failed_batch_is_not_sent_again() -> None:
    """A write whose outcome is unknown must not be done twice."""
    send = FakeSend()
    batcher = MicroBatcher(send, is_invalid=invalid)
    calls = await called(batcher, 1, 2)
    send.fail(0, OSError("lost"))
    assert [str(error) for error in await outcomes(calls)] == ["lost", "lost"]
    assert send.batches == [[1, 2]]
    assert batcher.stats.in_flight == 0


async def test_the_requests_of_an_invalid_batch_are_sent_one_by_one() -> None:
    """In parallel in the slots, before what is newer; the bad one fails alone, at once."""
    send = FakeSend()
    limits = Limits(max_in_flight=2)
    batcher = MicroBatcher(send, limits=limits, is_invalid=invalid, identity=str)
    calls = await called(batcher, 1, 2, 3)
    calls += await called(batcher, 4)
    calls += await called(batcher, 5, 6)
    send.fail(0, InvalidError("one of three"))
    await turns()
    calls += await called(batcher, 1)
    assert send.batches == [[1, 2, 3], [4], [1]]
    send.answer(1)
    await turns()
    assert send.batches[3:] == [[2]]
    send.fail(3, InvalidError("this one"))
    await turns()
    assert send.batches[4:] == [[3]]
    await send.answer_all()
    assert send.batches[5:] == [[5, 6]]
    results = await outcomes(calls)
    assert [*results[:1], *results[2:]] == ["1!", "3!", "4!", "5!", "6!", "1!"]
    assert str(results[1]) == "this one"


async def test_a_lone_invalid_request_is_not_sent_again() -> None:
    """There is nothing to find out about it."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, is_invalid=invalid), 1)
    error = InvalidError("bad")
    send.fail(0, error)
    assert await outcomes(calls) == [error]
    assert send.batches == [[1]]


async def test_cancelled_callers_of_an_invalid_batch_are_not_sent_again() -> None:
    """Only those who still wait are."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, is_invalid=invalid), 1, 2, 3)
    calls[0].cancel()
    await turns()
    send.fail(0, InvalidError("one of three"))
    calls[1].cancel()
    await turns()
    assert send.batches == [[1, 2, 3], [3]]
    send.answer(1)
    assert (await outcomes(calls))[2] == "3!"


async def test_the_hook_hears_of_an_invalid_batch() -> None:
    """It tells the size that was sent, and the error."""
    send, told = FakeSend(), list[BatchInfo]()
    calls = await called(MicroBatcher(send, is_invalid=invalid, on_batch=told.append), 1, 2)
    error = InvalidError("one of two")
    send.fail(0, error)
    await send.answer_all()
    await outcomes(calls)
    assert [(one.size, one.error) for one in told] == [(2, error), (1, None), (1, None)]


async def test_a_judge_that_fails_leaves_nobody_waiting() -> None:
    """Callers get its error, with the batch's own as context."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, is_invalid=lambda _: 1 / 0 > 0), 1, 2)
    send.fail(0, OSError("lost"))
    for error in await outcomes(calls):
        assert isinstance(error, ZeroDivisionError)
        assert isinstance(error.__context__, OSError)


async def test_a_batch_that_cancels_itself_cancels_no_caller() -> None:
    """Callers who were not cancelled get an error, not a cancellation."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, is_invalid=lambda _: True), 1, 2)
    send.gates[0].cancel()
    for error in await outcomes(calls):
        assert isinstance(error, BatchCancelledError)
        assert "unknown" in str(error)
    assert send.batches == [[1, 2]]


@pytest.mark.parametrize(
    "error",
    [
        OSError(111, "refused"),
        KeywordError(status=429),
        WordyError("such index"),
        PartialWriteError("half", ["a"]),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        ExceptionGroup("both", [OSError("a"), OSError("b")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_each_caller_has_a_copy_of_a_shared_error(error: Exception) -> None:
    """Copies look alike, keep cause, notes and traceback, and don't write to each other."""
    error.add_note("a note")
    error.__cause__ = KeyError("deep")
    send = FakeSend()
    calls = await called(MicroBatcher(send), 1, 2)
    send.fail(0, error)
    first, second = await outcomes(calls)
    first.add_note("the first caller's")
    assert first.__notes__.pop() == "the first caller's"
    assert second.__notes__ is not first.__notes__
    assert len({id(error), id(first), id(second)}) == 3
    for one in (first, second):
        assert type(one) is type(error)
        assert (str(one), repr(one)) == (str(error), repr(error))
        assert vars(one) == vars(error)
        assert one.__cause__ is error.__cause__
        assert one.__suppress_context__
        functions = [frame.name for frame in traceback.extract_tb(one.__traceback__)]
        assert functions.count("submit") == 1
        assert functions[-1] == "__call__"


async def test_an_error_that_cannot_be_copied_is_raised_itself() -> None:
    """All callers get the same one, rather than another."""
    error = LonelyError("one")
    send = FakeSend()
    calls = await called(MicroBatcher(send), 1, 2)
    send.fail(0, error)
    assert await outcomes(calls) == [error, error]


async def test_identical_callers_have_copies_too() -> None:
    """One request's error is shared if its callers are several."""
    send = FakeSend()
    calls = await called(MicroBatcher(send, identity=str), 1, 1)
    send.gates[0].set_result([ValueError("bad")])
    first, second = await outcomes(calls)
    assert first is not second
    assert first.args == second.args == ("bad",)


async def test_errors_leave_no_cycles() -> None:
    """An error dies with its last holder, without the garbage collector."""

    async def fail(requests: Sequence[int]) -> Sequence[int]:
        raise WordyError(str(len(requests)))

    batcher = MicroBatcher(fail)
    gc.collect()
    gc.disable()
    try:
        ghosts = [weakref.ref(error) for error in await outcomes(await called(batcher, 1, 2))]
        await turns()
        assert [ghost() for ghost in ghosts] == [None, None]
    finally:
        gc.enable()


def test_an_interrupt_in_a_batch_reaches_the_loop_and_its_caller() -> None:
    """Ctrl-C stops the loop as ever; no caller is left waiting."""

    async def interrupt(requests: Sequence[int]) -> Sequence[int]:
        raise KeyboardInterrupt

    loop = asyncio.new_event_loop()
    batcher = MicroBatcher(interrupt)
    call = loop.create_task(batcher.submit(1))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(call)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(call)
    assert isinstance(call.exception(), KeyboardInterrupt)
    loop.run_until_complete(batcher.aclose())
    loop.close()
