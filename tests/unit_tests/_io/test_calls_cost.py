"""What a crossing to the I/O loop costs, counted in functions that are entered."""

import asyncio
import pathlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from types import FrameType

import pytest

from milvus_tools._io import calls
from milvus_tools._io.calls import run_on_io_loop
from milvus_tools._io.loop import join, portal

FOLDER = str(pathlib.Path(str(calls.__file__)).parent)
MANY = 100


async def one() -> int:
    """Return something."""
    return 1


@pytest.fixture
def held() -> Iterator[None]:
    """The I/O loop's thread runs meanwhile."""
    portal().acquire()
    yield
    join(portal().release())


@pytest.fixture
async def entered(held: None) -> AsyncIterator[Counter[str]]:
    """Count how often each function is entered, or goes on, on both loops."""
    functions: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(FOLDER):
            functions[frame.f_code.co_qualname] += 1

    async def watch(on: bool) -> None:
        sys.setprofile(note if on else None)

    for on in (True, False):
        await portal().run(watch(on))
        await watch(on)
        functions.clear()
        if on:
            yield functions


async def test_a_lone_call_crosses_in_few_steps(entered: Counter[str]) -> None:
    """There and back, on both loops together."""
    assert await run_on_io_loop(one()) == 1
    assert entered.total() <= 17, entered


async def test_calls_of_a_tick_share_the_crossing(entered: Counter[str]) -> None:
    """Each further call costs its start, its end and its outcome, and no more."""
    assert await asyncio.gather(*(run_on_io_loop(one()) for _ in range(MANY))) == [1] * MANY
    assert entered.total() <= 5.5 * MANY, entered
