"""The two sides: ours and langchain-milvus, with the same arguments, and how to look at both."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import Milvus
from pymilvus import MilvusClient

from benchmarking.results import OURS, PEER
from milvus_tools import MilvusStore

Store = MilvusStore | Milvus
Pairs = list[tuple[str, str]]

# Exact search, so that both sides must find the same.
_INDEX: dict[str, Any] = {"index_type": "FLAT", "metric_type": "COSINE", "params": {}}
_ALL = 16_384  # the most rows that Milvus reads at once


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a store's collection is.

    Attributes:
        uri: Milvus's address, or a Milvus Lite file.
        collection_name: The collection's name.
    """

    uri: str
    collection_name: str

    @property
    def connection_args(self) -> dict[str, Any]:
        """Arguments for pymilvus.

        Milvus Lite breaks connections that ping it, as pymilvus's do: ours don't, and here
        langchain-milvus's don't either.
        """
        without_pings = {"grpc_options": {"grpc.keepalive_time_ms": 2**31 - 1}}
        return {"uri": self.uri, **(without_pings if self.uri.endswith(".db") else {})}


def make_ours(model: Embeddings, place: Place) -> Store:
    """Make our store."""
    return MilvusStore(
        model,
        collection_name=place.collection_name,
        connection_args=place.connection_args,
        index_params=_INDEX,
    )


def make_peer(model: Embeddings, place: Place) -> Store:
    """Make langchain-milvus's store; it connects at once."""
    return Milvus(
        model,
        collection_name=place.collection_name,
        connection_args=place.connection_args,
        index_params=_INDEX,
        enable_dynamic_field=True,
    )


_MAKERS: dict[str, Callable[[Embeddings, Place], Store]] = {PEER: make_peer, OURS: make_ours}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A side's store, and ways past it to what is in its collection.

    Attributes:
        store: The store.
        place: Where its collection is.
    """

    store: Store
    place: Place

    @classmethod
    def make(cls, side: str, model: Embeddings, place: Place) -> Self:
        """Make a side's store; langchain-milvus's connects at once."""
        return cls(_MAKERS[side](model, place), place)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, side: str, model: Embeddings, place: Place) -> AsyncIterator[Self]:
        """Make a side's store, without a collection yet; drop and close it afterwards."""
        subject = cls.make(side, model, place)
        try:
            await subject.open()
            yield subject
        finally:
            await subject.drop()
            await subject.close()

    async def open(self) -> None:
        """Connect, if it has not done so yet."""
        if isinstance(self.store, MilvusStore):
            await self.store.aopen()

    async def close(self) -> None:
        """Close the store."""
        if isinstance(self.store, MilvusStore):
            await self.store.aclose()
        else:
            await self.store.aclient.close()
            self.store.client.close()

    async def drop(self) -> None:
        """Drop the collection."""
        client = await self.client()
        await asyncio.to_thread(client.drop_collection, self.place.collection_name)

    @property
    def sent(self) -> int:
        """How many requests for rows or hits a store of ours has sent to Milvus; else 0."""
        if not isinstance(self.store, MilvusStore):
            return 0
        stats = self.store.stats
        return sum(one.batches for one in (stats.search, stats.query, stats.upsert, stats.delete))

    async def rows(self, expression: str) -> Pairs:
        """Read ids and texts of the rows that match an expression, in the ids' order."""
        read = await self._query(expression, ["pk", "text"], limit=_ALL)
        return sorted((row["pk"], row["text"]) for row in read)

    async def count(self) -> int:
        """Count the rows."""
        (row,) = await self._query("", ["count(*)"])
        return int(row["count(*)"])

    async def _query(self, expression: str, fields: list[str], **more: Any) -> Any:
        client = await self.client()
        return await asyncio.to_thread(
            client.query,
            self.place.collection_name,
            filter=expression,
            output_fields=fields,
            consistency_level="Strong",
            **more,
        )

    async def client(self) -> MilvusClient:
        """Return a blocking client that reaches past the store."""
        return await asyncio.to_thread(lambda: self.store.client)


def found(documents: Iterable[Document]) -> Pairs:
    """Return ids and texts, in order; langchain-milvus has ids in the metadata."""
    return [(one.id or one.metadata["pk"], one.page_content) for one in documents]
