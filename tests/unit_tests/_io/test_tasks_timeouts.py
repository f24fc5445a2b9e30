"""A timeout of ours, and those of others."""

import asyncio

import pytest

from milvus_tools._io.tasks import within
from milvus_tools.errors import DeadlineError, EmbeddingError

LATE = "It took too long."
MOMENT = 1e-9


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


async def test_what_takes_too_long_is_a_deadline_error() -> None:
    """Its cause is asyncio's, and what was inside was cancelled."""
    with pytest.raises(DeadlineError, match=LATE) as caught:
        async with within(MOMENT, LATE):
            await forever()
    assert type(caught.value.__cause__) is TimeoutError


async def test_a_timeout_from_inside_passes_as_it_is() -> None:
    """A socket's or a model's own says something else than ours."""
    theirs = TimeoutError("the socket's")
    for seconds in (60, None):
        with pytest.raises(TimeoutError) as caught:
            async with within(seconds, LATE):
                raise theirs
        assert caught.value is theirs


async def test_without_a_message_it_leaves_silently() -> None:
    """What follows goes on; a timeout from inside is raised all the same."""
    async with within(MOMENT, None):
        await forever()
    with pytest.raises(TimeoutError, match="theirs"):
        async with within(60, None):
            raise TimeoutError("theirs")


@pytest.mark.parametrize("late", [True, False])
async def test_an_error_made_of_the_cancelling_counts_only_when_it_was_late(late: bool) -> None:
    """A model's failure before the time has passed is its own."""

    async def call() -> None:
        async with within(MOMENT if late else 60, LATE, (TimeoutError, EmbeddingError)):
            try:
                await (forever() if late else asyncio.sleep(0))
            finally:
                raise EmbeddingError("The model failed.")

    with pytest.raises(DeadlineError if late else EmbeddingError):
        await call()


async def test_a_cancelled_caller_is_cancelled() -> None:
    """That is no timeout."""

    async def call() -> None:
        async with within(60, LATE):
            await forever()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
