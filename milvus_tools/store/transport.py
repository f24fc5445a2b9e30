"""The seam between the store and what is outside: Milvus, and the embedding models.

The store makes requests, as values; a `Transport` carries them out. Whoever wants to batch,
count or record them wraps one.
"""

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_milvus.utils.sparse import BaseSparseEmbedding
from pymilvus import AnnSearchRequest

from milvus_tools.connection import Connection
from milvus_tools.errors import MilvusError, UnsupportedError, translated
from milvus_tools.filters import all_of, one_of

Vector = Any  # `(dim,)` float32 values, `{index: weight}`, bytes, or a text for full-text search
Row = dict[str, Any]
Hit = tuple[Row, float]
EmbeddingModel = Embeddings | BaseSparseEmbedding


@dataclasses.dataclass(frozen=True)
class Deadline:
    """A point in time by which an answer must be there.

    Attributes:
        at: Seconds on the monotonic clock.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Make the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return time.monotonic() >= self.at

    @property
    def remaining(self) -> float:
        """Seconds left, never quite none: gRPC takes zero for no limit."""
        return max(self.at - time.monotonic(), 0.001)


@dataclasses.dataclass(frozen=True)
class Route:
    """What to search in one vector field.

    Attributes:
        vector: The query vector, or the query's text where Milvus embeds it.
        field: The vector field.
        params: Milvus's search parameters, `{"metric_type": …, "params": {…}}`.
        limit: The most hits, of which the request may pass over some (`offset`).
        filter: A filter expression, or `""`.
    """

    vector: Vector
    field: str
    params: Mapping[str, Any]
    limit: int
    filter: str = ""


@dataclasses.dataclass(frozen=True)
class SearchRequest:
    """A search: one route, or several whose hits a ranker fuses.

    Attributes:
        collection_name: The collection.
        routes: One per vector field.
        limit: The most hits in the answer.
        output_fields: The fields of a hit's row.
        ranker: Milvus's ranker or rerank function; only for several routes.
        options: Further keyword arguments of pymilvus's `search`.
    """

    collection_name: str
    routes: tuple[Route, ...]
    limit: int
    output_fields: tuple[str, ...]
    ranker: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Keys:
    """Primary keys, one of which a row must have.

    Attributes:
        field: The primary key's name.
        values: The keys.
    """

    field: str
    values: tuple[str | int, ...]

    def within(self, filter_: str) -> str:
        """Write the condition that a row has one of the keys and matches a filter."""
        return all_of([filter_, one_of(self.field, self.values)])


@dataclasses.dataclass(frozen=True)
class QueryRequest:
    """A read by filter expression, by keys, or by both.

    Attributes:
        collection_name: The collection.
        filter: The filter expression, or `""` for all rows.
        output_fields: The fields of a row.
        options: Further keyword arguments of pymilvus's `query`, such as `limit`.
        keys: The keys of the rows, or `None` for any.
    """

    collection_name: str
    filter: str
    output_fields: tuple[str, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keys: Keys | None = None

    @property
    def expression(self) -> str:
        """The filter and the keys."""
        return self.filter if self.keys is None else self.keys.within(self.filter)


@dataclasses.dataclass(frozen=True)
class WriteRequest:
    """Rows to write.

    Attributes:
        collection_name: The collection.
        rows: The rows, no key twice.
        key: The primary key's name, or `None` if Milvus makes the keys.
        replace: Whether a row replaces the one that has its key; else none has it.
        options: Further keyword arguments of pymilvus's `upsert`, such as `partition_name`.
    """

    collection_name: str
    rows: Sequence[Row]
    key: str | None = None
    replace: bool = True
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DeleteRequest:
    """Rows to delete, by keys that were there a moment ago.

    Attributes:
        collection_name: The collection.
        filter: A filter expression that they must still match, or `""`.
        keys: The keys.
        options: Further keyword arguments of pymilvus's `delete`.
    """

    collection_name: str
    filter: str
    keys: Keys
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Transport(Protocol):
    """Carries out requests. All methods run on the I/O loop and raise our errors."""

    async def search(self, request: SearchRequest, deadline: Deadline) -> list[Hit]:
        """Return the hits, best first, each a row and its distance."""
        ...

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Return the rows, in no order."""
        ...

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write the rows and return their keys, in the rows' order."""
        ...

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete the rows; tell how many Milvus says it has deleted."""
        ...

    async def embed(
        self, model: EmbeddingModel, texts: Sequence[str], *, query: bool
    ) -> list[Vector]:
        """Embed texts, as a query or as documents; one vector per text."""
        ...

    async def aclose(self) -> None:
        """End what is under way; the connection is closed afterwards."""
        ...


class DirectTransport:
    """One request to Milvus per request of the store."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection, which its owner opens and closes."""
        self._connection = connection

    async def search(self, request: SearchRequest, deadline: Deadline) -> list[Hit]:
        """Search, in one field or in several."""
        (hits,) = await self.search_all([request], deadline)
        return hits

    async def search_all(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Make searches that differ in nothing but their vectors, in one request."""
        first = requests[0]
        vectors = [
            [_on_the_wire(request.routes[number].vector) for request in requests]
            for number in range(len(first.routes))
        ]
        call = self._search_one if len(first.routes) == 1 else self._search_many
        with translated():
            answers = await call(first, vectors, deadline.remaining)
        if len(answers) != len(requests):
            raise MilvusError(
                f"Milvus answered {len(requests)} searches with {len(answers)} results."
            )
        return [[(hit["entity"], hit["distance"]) for hit in hits] for hits in answers]

    async def _search_one(
        self, request: SearchRequest, vectors: Sequence[Sequence[Vector]], timeout: float
    ) -> Any:
        (route,) = request.routes
        return await self._connection.client.search(
            request.collection_name,
            data=list(vectors[0]),
            anns_field=route.field,
            search_params=dict(route.params),
            filter=route.filter,
            limit=request.limit,
            output_fields=list(request.output_fields),
            timeout=timeout,
            **request.options,
        )

    async def _search_many(
        self, request: SearchRequest, vectors: Sequence[Sequence[Vector]], timeout: float
    ) -> Any:
        if self._connection.version < (2, 4):
            raise UnsupportedError("Hybrid search needs Milvus 2.4 or Milvus Lite.")
        return await self._connection.client.hybrid_search(
            request.collection_name,
            reqs=[
                AnnSearchRequest(
                    data=list(several),
                    anns_field=route.field,
                    param=dict(route.params),
                    limit=route.limit,
                    expr=route.filter or None,
                )
                for route, several in zip(request.routes, vectors, strict=True)
            ],
            ranker=request.ranker,
            limit=request.limit,
            output_fields=list(request.output_fields),
            timeout=timeout,
            **request.options,
        )

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Query by filter."""
        with translated():
            rows = await self._connection.client.query(
                request.collection_name,
                filter=request.expression,
                output_fields=list(request.output_fields),
                timeout=deadline.remaining,
                **request.options,
            )
        return [dict(row) for row in rows]

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write rows, each in place of the whole row that had its key."""
        client = self._connection.client
        # Milvus Lite's upsert merges the new row into the old one; its insert replaces it.
        replaces = client.insert if self._connection.lite else client.upsert
        write = replaces if request.replace else client.insert
        with translated():
            answer = await self._one_at_a_time(
                write,
                request.collection_name,
                list(request.rows),
                timeout=deadline.remaining,
                **request.options,
            )
        return list(answer["ids"])

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete by filter.

        pymilvus's async client does not look at the status that the server answered, as its sync
        client does; but the answer to a failure counts nothing.
        """
        with translated():
            answer = await self._one_at_a_time(
                self._connection.client.delete,
                request.collection_name,
                filter=request.keys.within(request.filter),
                timeout=deadline.remaining,
                **request.options,
            )
        return len(answer) if isinstance(answer, list) else int(answer["delete_count"])

    async def _one_at_a_time(
        self, write: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Write when no other write to the same Milvus Lite file is under way."""
        async with self._connection.writing:
            return await write(*args, **kwargs)

    async def embed(
        self, model: EmbeddingModel, texts: Sequence[str], *, query: bool
    ) -> list[Vector]:
        """Embed texts; queries one by one, as LangChain's interface has them."""
        if query:
            return [await model.aembed_query(text) for text in texts]
        return list(await model.aembed_documents(list(texts)))

    async def aclose(self) -> None:
        """End nothing: what is under way is its callers'."""


def _on_the_wire(vector: Vector) -> Vector:
    """Give pymilvus float32 where a list of Python floats would be converted one by one."""
    return np.asarray(vector, dtype=np.float32) if isinstance(vector, list) else vector
