"""Texts on their way to an embedding model, in requests that their callers share."""

import asyncio
import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Final

from langchain_core.embeddings import Embeddings

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.batching import BatcherClosedError, BatcherStats, Limits, MicroBatcher
from milvus_tools.embeddings.failures import is_invalid
from milvus_tools.embeddings.models import (
    QueryEmbedder,
    document_method,
    query_method,
    retries_itself,
)
from milvus_tools.embeddings.retrying import RetryPolicy, Sleep
from milvus_tools.embeddings.source import Embed, Vector
from milvus_tools.errors import DimensionError

CLOSED: Final = "These embeddings are closed; make new ones."
_RETRIES: Final = 4
_QUERIES: Final = 256  # in one request
_DOCUMENTS: Final = 1_000  # the usual chunk size of LangChain's models for services
# Blocking callers arrive one at a time, each with a request of its own: they would soon fill 4.
_IN_FLIGHT: Final = 16
_IN_FLIGHT_DOCUMENTS: Final = 4
_IN_FLIGHT_ALONE: Final = 64  # for queries that can't share a request


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
            queries: The limits of requests with queries.
            documents: The limits of requests with documents; the weight is the number of texts.
            policy: The policy by which a request is sent again.
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
            identity=str.__str__,  # the text itself, whatever subclass of `str` it is
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
        """Counts of queries, and of the requests that they became."""
        return self._queries.stats

    async def query(self, text: str) -> Vector:
        """Embed a query, together with others."""
        # Callers with the same text get the same vector from the batcher. The copy keeps the
        # changes of one caller from the others.
        return copy.copy(await self._queries.submit(text))

    async def documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Split documents into parts that fit a request, and submit all parts concurrently."""
        starts = range(0, len(texts), self._size)
        parts = [list(texts[start : start + self._size]) for start in starts]
        # Most calls: one part needs no task of its own.
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
        # A model that hangs must hold up no other's work: it gets threads of its own (R09).
        with self._threads.used():
            vectors = await self._policy.run(embed, texts)
        if len(vectors) != len(texts):
            raise DimensionError(
                f"The embedding model {self._name} made {len(vectors)} vectors of {len(texts)} "
                f"{'text' if len(texts) == 1 else 'texts'}."
            )
        return vectors


def client_maker(
    model: Embeddings,
    *,
    embeds_alike: bool | None = None,
    embed_queries: Embed | None = None,
    max_batch_size: int | None = None,
    max_in_flight: int | None = None,
    retries: int | None = None,
    retry_seconds: float = 60.0,
    sleep: Sleep = asyncio.sleep,
) -> Callable[..., EmbeddingClient]:
    """Read the arguments of `BatchingEmbeddings`; return a factory of clients for the model.

    Raises:
        ValueError: If a limit is invalid, or `embeds_alike` and `embed_queries` are both
            given.
    """
    if embeds_alike and embed_queries is not None:
        raise ValueError("Give embeds_alike=True or embed_queries, not both.")
    method = query_method(model, embeds_alike, embed_queries)
    in_flight = _IN_FLIGHT if method.shared else _IN_FLIGHT_ALONE
    queries = _limits(max_batch_size, _QUERIES, max_in_flight, in_flight)
    documents = _limits(max_batch_size, _DOCUMENTS, max_in_flight, _IN_FLIGHT_DOCUMENTS)
    embed_documents = document_method(model)
    if retries is None:
        # Two who try again multiply their attempts.
        retries = 0 if retries_itself(model) else _RETRIES
    policy = RetryPolicy(retries, retry_seconds, sleep)

    # `Lifecycle` tells whether it is the first client; embeddings make no difference.
    def make(*_: object) -> EmbeddingClient:
        return EmbeddingClient(model, method, embed_documents, queries, documents, policy)

    return make


def _limits(size: int | None, usual: int, in_flight: int | None, usual_in_flight: int) -> Limits:
    most = usual if size is None else size
    return Limits(
        max_batch_size=most,
        # A part of documents weighs as many texts as it has, a query 1.
        max_batch_weight=most,
        max_in_flight=usual_in_flight if in_flight is None else in_flight,
    )


def _one_at_a_time(limits: Limits) -> Limits:
    return Limits(max_batch_size=1, max_in_flight=limits.max_in_flight)
