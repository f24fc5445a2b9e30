"""Scripted batch functions, and a check that no task or error is left behind."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from milvus_tools.batching import MicroBatcher

Calls = list[asyncio.Task[Any]]


class FakeSend:
    """A batch function that keeps its requests, and answers on demand."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gates: list[asyncio.Future[Any]] = []
        self.cancelled: list[int] = []

    async def __call__(self, requests: Sequence[Any]) -> Sequence[Any]:
        """Wait to be told."""
        number = len(self.batches)
        self.batches.append(list(requests))
        self.gates.append(asyncio.get_running_loop().create_future())
        try:
            return await self.gates[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise

    def answer(self, number: int) -> None:
        """Answer a batch: `"<request>!"` for each request."""
        self.gates[number].set_result([f"{request}!" for request in self.batches[number]])

    def fail(self, number: int, error: BaseException) -> None:
        """Raise in a batch."""
        self.gates[number].set_exception(error)

    def open(self) -> list[int]:
        """Return the batches that wait to be told."""
        return [number for number, gate in enumerate(self.gates) if not gate.done()]

    async def answer_all(self) -> None:
        """Answer whatever comes, until nothing comes."""
        await turns()
        while numbers := self.open():
            for number in numbers:
                self.answer(number)
            await turns()


async def turns(count: int = 6) -> None:
    """Let the loop go round, so that all that can happen now has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


async def called(batcher: MicroBatcher[Any, Any], *requests: Any) -> Calls:
    """Make calls, and let the loop go round."""
    calls = [asyncio.create_task(batcher.submit(request)) for request in requests]
    await turns()
    return calls


async def outcomes(calls: Calls) -> list[Any]:
    """Return what came of calls, the errors too."""
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.fixture
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Demand that the test leaves no task, and that no error went unseen."""
    yield
    await turns()
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    records = [*caplog.get_records("call"), *caplog.records]
    assert not [one for one in records if one.name == "asyncio" and one.levelno > logging.INFO]
