"""Calls that belong together: none goes on when one has failed."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def together(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Make calls at the same time and return their answers, in order.

    The first failure, or the caller's cancellation, ends the other calls, and is raised when they
    have ended: `asyncio.gather` would leave them running, for nobody.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
