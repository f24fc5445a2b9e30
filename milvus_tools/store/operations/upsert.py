"""One upsert: its Documents in batches, what they are as rows, and their vectors."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools._io.tasks import cancel_and_wait
from milvus_tools.schema import Schema
from milvus_tools.store.documents import batches
from milvus_tools.store.values import id_text
from milvus_tools.transport.requests import Row, Vector

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
        await cancel_and_wait(self._begun.values())

    async def _make(self, number: int) -> Columns:
        self._made[number] = columns = await self._embed(self._batches[number])
        return columns


class Upsert:
    """What an upsert is given, and what is made of it.

    Attributes:
        documents: The Documents.
        ids: Their ids; new ones for those without, unless Milvus makes them.
        vectors: The vectors, per embedding model, or `None` to make them here.
        options: Where to write.
        batches: Which Documents to write together: of those with one id only the last.
        fitted: The collection that `rows` are rows of.
        rows: The Documents as rows, without vectors.
        embedded: The vectors that are made here.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        vectors: Columns | None,
        batch_size: int,
        options: Mapping[str, Any],
        embed: Callable[[Sequence[str]], Awaitable[Columns]],
    ) -> None:
        """Cut it into batches.

        Args:
            documents: The Documents.
            vectors: The vectors, per embedding model, or `None` to make them here.
            batch_size: The most Documents in a batch.
            options: Where to write.
            embed: Embeds texts.
        """
        self.documents = documents
        self.ids = [str(uuid.uuid4()) if one.id is None else id_text(one.id) for one in documents]
        self.vectors = vectors
        self.options = options
        last = {id_: number for number, id_ in enumerate(self.ids)}
        self.batches = list(batches(sorted(last.values()), batch_size))
        self.fitted: Schema | None = None
        self.rows: list[Row] = []
        texts = [[documents[one].page_content for one in batch] for batch in self.batches]
        self.embedded = Embedded(embed, texts)

    async def vectors_of(self, number: int) -> Columns:
        """Return a batch's vectors."""
        if self.vectors is None:
            return await self.embedded.of(number)
        return [[column[one] for one in self.batches[number]] for column in self.vectors]
