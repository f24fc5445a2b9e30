"""Deadlines of awaited work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def within(seconds: float, late: Exception) -> AsyncIterator[None]:
    """Raise an error of ours if what is inside takes longer; a timeout of its own is not ours."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise late from error
