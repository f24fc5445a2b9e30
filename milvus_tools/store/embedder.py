"""`Embedder`: the embedding models of a store, which fill its vector fields.

Everything here runs on the I/O loop.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from langchain_core.embeddings import Embeddings

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import cancel_and_wait, gather_or_cancel, shielded
from milvus_tools._io.thread_pools import Threads
from milvus_tools.embeddings import BatchingEmbeddings
from milvus_tools.embeddings.client import EmbeddingClient, client_maker
from milvus_tools.embeddings.source import EmbeddingModel
from milvus_tools.errors import InvalidInputError, embedding
from milvus_tools.schema import DENSE, Schema
from milvus_tools.store.config import Settings
from milvus_tools.store.values import checked_vectors, compact
from milvus_tools.transport.requests import Vector


class _Methods(NamedTuple):
    """A model that embeds a query, and documents."""

    query: Callable[[str], Coroutine[Any, Any, Vector]]
    documents: Callable[[list[str]], Coroutine[Any, Any, Sequence[Vector]]]


class Embedder:
    """The embedding models, each made once and, if it may, sharing requests between calls."""

    def __init__(self, settings: Settings, *, batching: bool) -> None:
        """Make no model yet.

        Args:
            settings: The models, and the vector fields that they fill.
            batching: Whether calls that are made at the same time share requests to a model.
        """
        self._sources = settings.sources
        self._names = settings.spec.vector_fields
        self._batching = batching
        self._methods: list[_Methods] | None = None
        self._making: asyncio.Task[list[_Methods]] | None = None
        # By the id of the model, which fields may share: the sources keep it alive.
        self._clients: dict[int, EmbeddingClient] = {}

    async def embed_query(self, text: str, schema: Schema) -> dict[str, Vector]:
        """Embed a question with every model.

        Args:
            text: The question.
            schema: The collection to fit.

        Returns:
            A vector per model, by the field that it is for.

        Raises:
            EmbeddingError: If a model fails.
            DimensionError: If a vector does not fit the collection.
        """
        methods = self._methods or await self._made()
        with embedding():
            if len(methods) == 1:  # it needs no task of its own
                vectors = [await methods[0].query(text)]
            else:
                vectors = await gather_or_cancel(one.query(text) for one in methods)
        checked: dict[str, Vector] = {}
        for name, vector in zip(self.vector_fields(schema), vectors, strict=True):
            (checked[name],) = checked_vectors([vector], schema.vectors[name], 1)
        return checked

    async def embed_documents(
        self, texts: Sequence[str], schema: Schema | None = None
    ) -> list[Sequence[Vector]]:
        """Embed documents with every model.

        Args:
            texts: The documents.
            schema: The collection to fit, if it is there.

        Returns:
            Per model the vectors, one per text.

        Raises:
            EmbeddingError: If a model fails.
            DimensionError: If they don't fit the collection.
        """
        methods = self._methods or await self._made()
        with embedding():
            made = await gather_or_cancel(one.documents(list(texts)) for one in methods)
            columns = [compact(vectors) for vectors in made]
        if schema is None:
            return columns
        return [
            checked_vectors(column, schema.vectors[name], len(texts))
            for column, name in zip(columns, self.vector_fields(schema), strict=True)
        ]

    def vector_fields(self, schema: Schema) -> list[str]:
        """Return the fields of the embedding models, in the models' order.

        Raises:
            InvalidInputError: If the collection has them not.
        """
        if schema.vectors.keys() >= set(self._names):
            return list(self._names)
        dense = [field.name for field in schema.vectors.values() if field.type in DENSE]
        if len(self._names) == len(dense) == 1:
            return dense
        raise InvalidInputError(
            f"The collection has not the vector fields {', '.join(self._names)}; it has "
            f"{', '.join(schema.vectors)}. Name them as vector_field, one per embedding."
        )

    async def aclose(self) -> None:
        """End what makes the models, and what they are asked for."""
        # First, because models that are still made would add clients.
        if self._making is not None:
            await cancel_and_wait([self._making])
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _made(self) -> list[_Methods]:
        """Make the models, once for all who ask, even if the first of them gives up."""
        self._making = self._making or asyncio.create_task(self._make())
        self._methods = await shielded(self._making)
        return self._methods

    async def _make(self) -> list[_Methods]:
        try:
            with embedding():
                models = [await source.make() for source in self._sources]
        except BaseException:
            self._making = None  # the next call tries again
            raise
        return list(map(self._methods_of, models))

    def _methods_of(self, model: EmbeddingModel) -> _Methods:
        if isinstance(model, BatchingEmbeddings):  # it shares with its other users, too
            return _Methods(
                functools.partial(_one_by, model),
                functools.partial(model.avectors, query=False),
            )
        if self._batching and isinstance(model, Embeddings):
            client = self._clients.get(id(model))
            if client is None:
                client = self._clients[id(model)] = client_maker(model)()
            return _Methods(client.query, client.documents)
        threads = portal().threads_of(model)
        return _Methods(
            functools.partial(_in_threads, threads, model.aembed_query),
            functools.partial(_in_threads, threads, model.aembed_documents),
        )


async def _in_threads(
    threads: Threads, call: Callable[[Any], Coroutine[Any, Any, Any]], given: str | list[str]
) -> Any:
    """Call a model, which may run in threads, in threads of its own."""
    with threads.used():
        return await call(given)


async def _one_by(model: BatchingEmbeddings, text: str) -> Vector:
    (vector,) = await model.avectors([text], query=True)
    return vector
