"""The state of one upsert: batches of Documents, their rows and their vectors."""

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

Columns = Sequence[Sequence[Vector]]  # for each embedding model a vector per text


class Embedded:
    """Embeds each batch once and keeps its vectors until the batch is written."""

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Awaitable[Columns]],
        batches: Sequence[Sequence[str]],
    ) -> None:
        """Keep the texts; nothing is embedded yet.

        Args:
            embed: Embeds texts.
            batches: The texts of each batch.
        """
        self._embed = embed
        self._batches = batches
        self._begun: dict[int, asyncio.Task[Columns]] = {}
        self._made: dict[int, Columns] = {}

    def begin(self, count: int) -> None:
        """Start to embed the first batches concurrently, if there are several."""
        if len(self._batches) > 1:
            for number in range(min(count, len(self._batches))):
                self._begun[number] = asyncio.create_task(self._make(number))

    async def vectors(self, number: int) -> Columns:
        """Return a batch's vectors; embed them unless that has begun."""
        if number in self._begun:
            # Popped, because a caller that is cancelled here cancels the task with it.
            return await self._begun.pop(number)
        return self._made[number] if number in self._made else await self._make(number)

    def forget(self, number: int) -> None:
        """Free the vectors of a batch that was written."""
        self._made.pop(number, None)

    async def aclose(self) -> None:
        """Cancel the embedding of batches that will not be written."""
        await cancel_and_wait(self._begun.values())

    async def _make(self, number: int) -> Columns:
        # Kept, so that a write that is repeated with a newer schema does not embed again.
        self._made[number] = columns = await self._embed(self._batches[number])
        return columns


class Upsert:
    """The Documents of an upsert, with their rows and their vectors.

    Attributes:
        documents: The Documents.
        ids: Their ids; new ones for Documents without. Unused if Milvus makes the keys.
        vectors: The given vectors, per embedding model, or `None` if the texts are embedded.
        options: The partition to write to, as keyword arguments.
        batches: The positions of the Documents in each batch; of Documents with the same id only
            the last one.
        rows_schema: The schema that `rows` were made for.
        rows: The Documents as rows, without vectors.
        embedded: The vectors of texts that are embedded.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        vectors: Columns | None,
        batch_size: int,
        options: Mapping[str, Any],
        embed: Callable[[Sequence[str]], Awaitable[Columns]],
    ) -> None:
        """Cut the Documents into batches.

        Args:
            documents: The Documents.
            vectors: The vectors, per embedding model, or `None` to embed the texts.
            batch_size: The most Documents in a batch.
            options: The partition to write to, as keyword arguments.
            embed: Embeds texts.
        """
        self.documents = documents
        # Made here, once: a write that is repeated replaces its own rows.
        self.ids = [str(uuid.uuid4()) if one.id is None else id_text(one.id) for one in documents]
        self.vectors = vectors
        self.options = options
        # Of two rows with one key a server keeps the first, and Milvus Lite the last (T18).
        last = {id_: number for number, id_ in enumerate(self.ids)}
        self.batches = list(batches(sorted(last.values()), batch_size))
        self.rows_schema: Schema | None = None
        self.rows: list[Row] = []
        texts = [[documents[one].page_content for one in batch] for batch in self.batches]
        self.embedded = Embedded(embed, texts)

    async def vectors_of(self, number: int) -> Columns:
        """Return a batch's vectors."""
        if self.vectors is None:
            return await self.embedded.vectors(number)
        return [[column[one] for one in self.batches[number]] for column in self.vectors]
