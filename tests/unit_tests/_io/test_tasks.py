"""Calls that belong together."""

import asyncio
import gc
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import milvus_tools
from milvus_tools._io.tasks import gather_or_cancel, seen, shielded


async def never(ended: list[str]) -> str:
    """Wait for ever, and take a tick to end."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        ended.append("never")
        raise
    return "never"


async def failing() -> str:
    """Fail."""
    await asyncio.sleep(0)
    raise ValueError("failed")


async def test_answers_come_in_order() -> None:
    """The answers stand in the calls' order, whichever ended first; none of no calls."""
    last = asyncio.Event()

    async def first() -> int:
        await last.wait()
        return 1

    async def second() -> int:
        last.set()
        return 2

    assert await gather_or_cancel([first(), second()]) == [1, 2]
    assert await gather_or_cancel([]) == []


async def test_a_failure_ends_the_others_first() -> None:
    """When the error is raised, no call is under way any more."""
    ended: list[str] = []
    with pytest.raises(ValueError, match="failed"):
        await gather_or_cancel([never(ended), failing(), never(ended)])
    assert ended == ["never", "never"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_the_caller_ends_all() -> None:
    """Nothing goes on for a caller who is gone."""
    ended: list[str] = []
    caller = asyncio.create_task(gather_or_cancel([never(ended), never(ended)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == ["never", "never"]


@pytest.fixture
async def logged() -> list[dict[str, Any]]:
    """What the test's event loop would log."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    return logged


async def test_r24_a_failure_that_comes_after_its_caller_left_is_not_logged(
    logged: list[dict[str, Any]],
) -> None:
    """The work goes on when the caller is cancelled, and may fail in silence then."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    caller = asyncio.create_task(shielded(work))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert not work.done()
    work.set_exception(ValueError("late"))
    await asyncio.sleep(0)
    del work
    gc.collect()
    assert logged == []


async def test_r24_a_failure_that_no_one_awaits_is_not_logged(
    logged: list[dict[str, Any]],
) -> None:
    """`seen` marks a task as one whose failure someone else tells."""
    task = seen(asyncio.create_task(failing()))
    await asyncio.wait([task])
    del task
    gc.collect()
    assert logged == []


async def test_r24_one_who_waits_gets_the_outcome() -> None:
    """A shielded task's result and failure reach the caller."""
    assert await shielded(asyncio.create_task(asyncio.sleep(0, "done"))) == "done"
    with pytest.raises(ValueError, match="failed"):
        await shielded(asyncio.create_task(failing()))


def modules() -> Iterator[pathlib.Path]:
    """Yield the files of the package, but that of `shielded`."""
    for path in pathlib.Path(str(milvus_tools.__file__)).parent.rglob("*.py"):
        if path.name != "tasks.py":
            yield path


def test_r24_nothing_is_shielded_in_another_way() -> None:
    """`asyncio.shield` leaves a failure to the log if the caller was cancelled before."""
    assert [path.name for path in modules() if "asyncio.shield" in path.read_text()] == []
