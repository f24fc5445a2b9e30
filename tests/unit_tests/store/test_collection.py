"""The locks of keys."""

import asyncio
import itertools
from typing import Any, cast

from milvus_tools.store.collection import Collection

KEYS = range(10_000)
NO_COLLECTION = cast(Any, None)  # the locks are all collections'


async def test_other_calls_have_their_turns_while_many_keys_are_locked() -> None:
    """A delete of many thousand keys does not hold up the I/O loop."""
    turns = itertools.count()

    async def work() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    async with Collection.locked(NO_COLLECTION, KEYS):
        assert next(turns) >= 5
    working.cancel()


async def test_a_cancelled_call_leaves_no_key_locked() -> None:
    """It may be cancelled at any key; those before it are free again."""
    async with Collection.locked(NO_COLLECTION, [5_000]):
        waiting = asyncio.create_task(Collection.locked(NO_COLLECTION, KEYS).__aenter__())
        for _ in KEYS:  # more turns than it takes until it waits for that key
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with asyncio.timeout(60), Collection.locked(NO_COLLECTION, KEYS):
        assert waiting.cancelled()
