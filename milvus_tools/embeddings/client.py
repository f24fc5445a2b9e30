"""Texts on their way to an embedding model, in requests that their callers share."""

import asyncio
import copy
import itertools
from collections.abc import Sequence
from typing import Final

from langchain_core.embeddings import Embeddings

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.batching import (
    BatcherClosedError,
    BatcherStats,
    Limits,
    MicroBatcher,
)
from milvus_tools.embeddings.failures import is_invalid
from milvus_tools.embeddings.models import QueryEmbedder
from milvus_tools.embeddings.retrying import RetryPolicy
from milvus_tools.embeddings.vectors import Embed, Vector
from milvus_tools.errors import DimensionError

CLOSED: Final = "These embeddings are closed; make new ones."


class EmbeddingClient:
    """Sends texts to a model. It belongs to the event loop of its first call."""

    def __init__(
        self,
        model: Embeddings,
        query_method: QueryEmbedder,
        embed_documents: Embed,
        queries: Limits,
        documents: Limits,
        policy: RetryPolicy,
    ) -> None:
        """Make the batchers; queries and documents never wait for each other.

        Args:
            model: The model.
            query_method: How it embeds queries.
            embed_documents: How it embeds documents.
            queries: The bounds of queries.
            documents: The bounds of documents, in texts.
            policy: How requests are tried again.
        """
        self._name = type(model).__name__
        self._threads = portal().threads_of(model)
        self._embed_queries = query_method.embed
        self._embed_documents = embed_documents
        self._policy = policy
        self._size = documents.max_batch_size
        self._queries: MicroBatcher[str, Vector] = MicroBatcher(
            self._send_queries,
            limits=queries if query_method.shared else _one_at_a_time(queries),
            identity=lambda text: text,
            is_invalid=is_invalid,
            cancel_abandoned=True,
        )
        self._documents = MicroBatcher(
            self._send_documents,
            limits=documents,
            weigh=len,
            is_invalid=is_invalid,
            cancel_abandoned=True,
        )

    @property
    def stats(self) -> BatcherStats:
        """What became of the queries."""
        return self._queries.stats

    async def query(self, text: str) -> Vector:
        """Embed a query, together with others."""
        # Callers who asked the same get one object: what one of them changes is its own.
        return copy.copy(await self._queries.submit(text))

    async def documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Embed documents in as many requests as their number needs, at once."""
        starts = range(0, len(texts), self._size)
        parts = [list(texts[start : start + self._size]) for start in starts]
        if len(parts) == 1:
            return await self._documents.submit(parts[0])
        vectors = await gather_or_cancel(self._documents.submit(part) for part in parts)
        return list(itertools.chain.from_iterable(vectors))

    async def close(self) -> None:
        """Refuse new texts, and return when nothing is under way."""
        closed = BatcherClosedError(CLOSED)
        await asyncio.gather(
            self._queries.aclose(error=closed), self._documents.aclose(error=closed)
        )

    async def _send_queries(self, texts: Sequence[str]) -> Sequence[Vector]:
        return await self._embed(self._embed_queries, list(texts))

    async def _send_documents(self, parts: Sequence[list[str]]) -> list[Sequence[Vector]]:
        texts = list(itertools.chain.from_iterable(parts))
        vectors = await self._embed(self._embed_documents, texts)
        if len(parts) == 1:
            return [vectors]
        ends = itertools.accumulate(map(len, parts))
        return [vectors[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]

    async def _embed(self, embed: Embed, texts: list[str]) -> Sequence[Vector]:
        """Send a request.

        Raises:
            DimensionError: If there is not one vector per text.
        """
        with self._threads.used():
            vectors = await self._policy.run(embed, texts)
        if len(vectors) != len(texts):
            raise DimensionError(
                f"The embedding model {self._name} made {len(vectors)} vectors of {len(texts)} "
                f"{'text' if len(texts) == 1 else 'texts'}."
            )
        return vectors


def _one_at_a_time(limits: Limits) -> Limits:
    return Limits(max_batch_size=1, max_in_flight=limits.max_in_flight)
