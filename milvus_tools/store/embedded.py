"""The vectors of an upsert's batches, made a few batches ahead of the writing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from milvus_tools.store.requests import Vector

Columns = Sequence[Sequence[Vector]]  # per embedding model the vectors, one per text


class Embedded:
    """Embeds each batch once, and keeps its vectors until the batch is written."""

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Awaitable[Columns]],
        batches: Sequence[Sequence[str]],
    ) -> None:
        """Embed nothing yet.

        Args:
            embed: Embeds texts.
            batches: The texts of each batch.
        """
        self._embed = embed
        self._batches = batches
        self._begun: dict[int, asyncio.Task[Columns]] = {}
        self._made: dict[int, Columns] = {}

    def begin(self, count: int) -> None:
        """Begin with the first batches, if there are several: they are needed soon."""
        if len(self._batches) > 1:
            for number in range(min(count, len(self._batches))):
                self._begun[number] = asyncio.create_task(self._make(number))

    async def of(self, number: int) -> Columns:
        """Return a batch's vectors."""
        if number in self._begun:
            return await self._begun.pop(number)
        return self._made[number] if number in self._made else await self._make(number)

    def forget(self, number: int) -> None:
        """Let go of the vectors of a batch that is written."""
        self._made.pop(number, None)

    async def aclose(self) -> None:
        """End what nobody needs any more."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    async def _make(self, number: int) -> Columns:
        self._made[number] = columns = await self._embed(self._batches[number])
        return columns
