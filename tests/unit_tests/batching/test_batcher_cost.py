"""The micro-batcher's share of a call, counted in functions that are entered."""

import asyncio
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from milvus_tools import batching
from milvus_tools.batching import Limits, MicroBatcher

FOLDER = str(pathlib.Path(str(batching.__file__)).parent)
MANY = 100


async def echo(requests: Sequence[int]) -> Sequence[int]:
    """Answer at once."""
    return requests


@contextmanager
def entered() -> Iterator[Counter[str]]:
    """Count how often each function of the batcher is entered, or goes on after an await."""
    functions: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(FOLDER):
            functions[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        yield functions
    finally:
        sys.setprofile(None)


async def test_a_lone_call_takes_the_shortest_way() -> None:
    """From `submit` to its result it enters a few functions, whatever the batcher can do."""
    batcher = MicroBatcher(echo, identity=str)
    assert await batcher.submit(1) == 1
    with entered() as functions:
        assert await batcher.submit(2) == 2
    assert functions.total() <= 18, functions


async def test_calls_of_a_batch_share_its_cost() -> None:
    """Each further call of a batch enters less than half of what a lone one does."""
    batcher = MicroBatcher(echo, limits=Limits(max_batch_size=MANY), identity=str)
    calls = [batcher.submit(number) for number in range(MANY)]
    with entered() as functions:
        assert await asyncio.gather(*calls) == list(range(MANY))
    assert functions.total() <= 7.5 * MANY, functions
