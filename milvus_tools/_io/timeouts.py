"""A timeout of ours, told from the timeouts of what runs inside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from milvus_tools.errors import DeadlineError


@contextlib.asynccontextmanager
async def within(
    seconds: float | None,
    late: str | None,
    errors: tuple[type[Exception], ...] = (TimeoutError,),
) -> AsyncIterator[None]:
    """Cancel what is inside after some seconds; a `TimeoutError` of its own passes as it is.

    Args:
        seconds: The seconds, or `None` for no limit.
        late: The message of the error then, or `None` to leave without an error.
        errors: What may come of the cancelling.

    Raises:
        DeadlineError: If the time has passed.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except errors as error:
        if not limit.expired():  # of a socket or a model inside, by its own clock
            raise
        if late is not None:
            raise DeadlineError(late) from error
