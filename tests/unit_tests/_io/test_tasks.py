"""Calls that belong together."""

import asyncio

import pytest

from milvus_tools._io.tasks import gather_or_cancel


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
