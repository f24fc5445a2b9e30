"""The two sides, ours and langchain-milvus, with the same arguments."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

from langchain_core.documents import Document
from langchain_milvus import Milvus
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr
from pymilvus import MilvusClient

from benchmarking.comparing import OURS
from milvus_tools import MilvusStore

Store = MilvusStore | Milvus
Pairs = list[tuple[str, str]]

# Exact search, so that both sides must find the same.
_INDEX: dict[str, Any] = {"index_type": "FLAT", "metric_type": "COSINE", "params": {}}
_ALL = 16_384  # the most rows that Milvus reads at once
_numbers = itertools.count(1)
# A client closes its connections when it is collected; with Python 3.11 the event loop then loses
# new ones that got the same numbers from the operating system, and their callers wait for ever.
_kept: list[OpenAIEmbeddings] = []


def openai_model(base_url: str) -> OpenAIEmbeddings:
    """Return a new model that uses the service at an address.

    LangChain keeps one HTTP client per address, bound to the event loop that first used it, so
    each model gets an address of its own.
    """
    model = OpenAIEmbeddings(
        model="benchmark",
        base_url=f"{base_url.removesuffix('/v1')}/{next(_numbers)}/v1",
        api_key=SecretStr("any"),
        check_embedding_ctx_length=False,
    )
    _kept.append(model)
    return model


@dataclasses.dataclass(frozen=True)
class Place:
    """A collection: the address of Milvus or a Milvus Lite file, and a name."""

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


@dataclasses.dataclass(frozen=True)
class Subject:
    """A side's store, and ways past it to its collection."""

    store: Store
    place: Place

    @classmethod
    def make(cls, side: str, model: OpenAIEmbeddings, place: Place) -> Self:
        """Make a side's store; langchain-milvus's connects at once."""
        shared: Any = {
            "collection_name": place.collection_name,
            "connection_args": place.connection_args,
            "index_params": _INDEX,
        }
        ours = side == OURS
        store = (
            MilvusStore(model, **shared)
            if ours
            else Milvus(model, enable_dynamic_field=True, **shared)
        )
        return cls(store, place)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, side: str, model: OpenAIEmbeddings, place: Place) -> AsyncIterator[Self]:
        """Make a side's store, without a collection yet; drop and close it afterwards."""
        subject = cls.make(side, model, place)
        try:
            await subject.open()
            yield subject
        finally:
            await subject.drop()
            await subject.close()

    async def open(self) -> None:
        """Connect, if the constructor has not done so."""
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
        client = await self._client()
        await asyncio.to_thread(client.drop_collection, self.place.collection_name)

    @property
    def sent(self) -> int:
        """The requests for rows or hits that a store of ours has sent to Milvus; else 0."""
        if not isinstance(self.store, MilvusStore):
            return 0
        stats = self.store.stats
        kinds = (stats.search, stats.query, stats.by_value, stats.upsert, stats.delete)
        return sum(one.batches for one in kinds)

    async def rows(self, expression: str) -> Pairs:
        """Read ids and texts of the rows that match an expression, in the order of the ids."""
        read = await self._query(expression, ["pk", "text"], limit=_ALL)
        return sorted((row["pk"], row["text"]) for row in read)

    async def count(self) -> int:
        """Count the rows."""
        (row,) = await self._query("", ["count(*)"])
        return int(row["count(*)"])

    async def _query(self, expression: str, fields: list[str], **more: Any) -> Any:
        client = await self._client()
        return await asyncio.to_thread(
            client.query,
            self.place.collection_name,
            filter=expression,
            output_fields=fields,
            consistency_level="Strong",
            **more,
        )

    async def _client(self) -> MilvusClient:
        return await asyncio.to_thread(lambda: self.store.client)


def found(documents: Iterable[Document]) -> Pairs:
    """Return ids and texts, in order; langchain-milvus keeps ids in the metadata."""
    return [(one.id or one.metadata["pk"], one.page_content) for one in documents]
