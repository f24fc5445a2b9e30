"""`MilvusStore`: the vector store, with its constructor and its life cycle."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from langchain_core.documents import Document
from pymilvus import AsyncMilvusClient, MilvusClient

from milvus_tools._io.blocking import blocking
from milvus_tools._io.lifecycle import Lifecycle
from milvus_tools._io.loop import portal, run_sync
from milvus_tools.embeddings.source import Embedding
from milvus_tools.errors import ScopeError, StoreClosedError, UnsupportedError
from milvus_tools.filters.literals import Scalar
from milvus_tools.store.collection import Collection
from milvus_tools.store.config import (
    Functions,
    Parameters,
    Settings,
    read_scope,
    read_settings,
)
from milvus_tools.store.connection_args import read_connection_args
from milvus_tools.store.scoped import StoreMethods
from milvus_tools.store.session import Session
from milvus_tools.transport.batching import BatchedTransport, OnBatch
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.protocol import StoreStats, Transport

_CLOSED = functools.partial(StoreClosedError, "The store is closed; make a new one.")


class MilvusStore(StoreMethods):
    """A LangChain vector store on Milvus, async first.

    The store takes the arguments of `langchain_milvus.Milvus` and has its methods, each with an
    async twin. It opens at the first call, or with `open`, `aopen` or `async with`.

    The store can be used from any event loop and any thread at the same time. A forked process
    can use it too, unless gRPC, which all clients of Milvus use, was active during the fork: then
    its calls may end with a `DeadlineError`, or with an `UnsupportedError` if the parent was
    importing a part of that client. Fork before the first call, or spawn.

    Example:
        ```python
        store = MilvusStore(embeddings, connection_args={"uri": "./docs.db"})
        await store.aadd_texts(["Milvus is a kite.", "Milvus is a database."])
        await store.asimilarity_search("bird of prey", k=1)
        await store.aclose()
        ```
    """

    def __init__(
        self,
        embedding_function: Embedding | Sequence[Embedding] | None,
        collection_name: str = "LangChainCollection",
        collection_description: str = "",
        collection_properties: Mapping[str, Any] | None = None,
        connection_args: Mapping[str, Any] | None = None,
        consistency_level: str = "Session",
        index_params: Parameters = None,
        search_params: Parameters = None,
        drop_old: bool | None = False,
        auto_id: bool = False,
        *,
        primary_field: str = "pk",
        text_field: str = "text",
        vector_field: str | Sequence[str] = "vector",
        enable_dynamic_field: bool | None = None,
        metadata_field: str | None = None,
        partition_key_field: str | None = None,
        num_partitions: int | None = None,
        partition_names: Sequence[str] | None = None,
        replica_number: int = 1,
        timeout: float | None = None,
        num_shards: int | None = None,
        vector_schema: Parameters = None,
        metadata_schema: Mapping[str, Mapping[str, Any]] | None = None,
        builtin_function: Functions = None,
        scope: Mapping[str, Scalar] | None = None,
        scoped_ids: bool = False,
        batching: bool = True,
        on_batch: OnBatch | None = None,
        transport: Callable[[Connection], Transport] | None = None,
    ) -> None:
        """Check and keep the arguments; nothing is opened yet.

        If the collection exists, its own schema (primary key, fields, metric type, dynamic
        fields, `auto_id`) takes precedence over these arguments.

        Args:
            embedding_function: The embedding model; a list for several vector fields; `None` if
                `builtin_function` embeds the texts. The store calls the model on an event loop of
                its own. If your code uses the model on another loop too, pass a function that
                makes the model: it is called once, in a thread, when the model is needed.
            collection_name: The collection's name. The first write creates the collection.
            collection_description: A description for people.
            collection_properties: Milvus's collection properties.
            connection_args: `{"uri": …, "token": …, "db_name": …}`. A `uri` that is a path and
                ends in `.db` opens Milvus Lite, a database in this process: its memory grows with
                what is loaded, and a filter looks at every entity. `host` and `port`, or
                `address`, can take the place of `uri`.
            consistency_level: `Strong`, `Bounded`, `Session` or `Eventually`, for reads of other
                clients' writes. The store always reads its own writes.
            index_params: `{"index_type": …, "metric_type": …, "params": {…}}` of a new
                collection; by default `AUTOINDEX` with `COSINE`, on Milvus Lite `FLAT`. A list for
                several vector fields.
            search_params: `{"params": {…}}` for all searches. A list for several vector fields.
            drop_old: Whether to drop the collection at the first call. A process that is forked
                after that does not drop it again.
            auto_id: Whether Milvus makes the primary keys of a new collection. Writes are then
                inserts, and replace nothing.
            primary_field: The primary key of a new collection.
            text_field: The field that holds the text.
            vector_field: The vector field, or a list with one per embedding model.
            enable_dynamic_field: Whether a new collection keeps any metadata key; by default it
                does, unless `metadata_field` is given.
            metadata_field: The JSON field that holds all metadata.
            partition_key_field: The metadata key by which Milvus assigns entities to partitions.
            num_partitions: The number of partitions for the partition key.
            partition_names: The partitions to load and to read; all if `None`. If it is a single
                partition, writes go to it. A new collection gets these partitions.
            replica_number: The number of replicas to load. With 1, a collection that is loaded
                keeps its replicas and their resource groups.
            timeout: Seconds for a call without a `timeout` of its own; 30 if `None`.
            num_shards: The number of shards of a new collection.
            vector_schema: `{"dtype": …, "kwargs": {…}}` of the vector field. A list for several.
            metadata_schema: `{"dtype": …, "kwargs": {…}}` per metadata key, for a new collection.
            builtin_function: Milvus's functions, such as
                `langchain_milvus.BM25BuiltInFunction()`.
            scope: The field values of every entity that this store reads or writes.
            scoped_ids: Whether to make stored keys of the scope and the id, so that two scopes
                can use the same id.
            batching: Whether concurrent calls share requests to Milvus and to the embedding
                models. The results are the same, but a model does not see the context variables
                of the callers, because there may be several.
            on_batch: Called on the I/O loop after each request that calls may share, with its
                kind (`search`, `query`, `upsert` or `delete`) and its outcome.
            transport: Makes what carries requests to Milvus, in place of the store's own:
                `BatchedTransport` over `DirectTransport`, each of which may be wrapped. See
                `Transport`. `batching` alone decides whether
                calls share requests to the embedding models.

        Raises:
            InvalidInputError: If the arguments contradict each other.
        """
        settings = read_settings(
            embedding_function,
            builtin_function,
            vector_field,
            vector_schema=vector_schema,
            index_params=index_params,
            search_params=search_params,
            enable_dynamic_field=enable_dynamic_field,
            metadata_field=metadata_field,
            metadata_schema=metadata_schema,
            consistency_level=consistency_level,
            partition_names=partition_names,
            num_partitions=num_partitions,
            num_shards=num_shards,
            replica_number=replica_number,
            drop_old=drop_old,
            timeout=timeout,
            collection_name=collection_name,
            description=collection_description,
            properties=collection_properties,
            primary_field=primary_field,
            text_field=text_field,
            auto_id=auto_id,
            partition_key_field=partition_key_field,
        )
        self._connection_args = read_connection_args(connection_args)
        carry = transport or functools.partial(_transport, batching=batching, on_batch=on_batch)
        make = functools.partial(
            _make_collection, settings, self._connection_args, carry, batching=batching
        )
        # A flush in the background needs the I/O loop's thread, so an open store always holds it.
        lifecycle = Lifecycle(make, _CLOSED, held_from_io_loop=True, forget=Collection.forget)
        fixed = read_scope(scope, in_keys=scoped_ids, auto_id=auto_id)
        super().__init__(settings, lifecycle, fixed)

    async def aopen(self) -> Self:
        """Connect now, and check that the embedding models fit the collection.

        Raises:
            DimensionError: If a model's vectors have another dimension than the vector field.
        """
        await self._run(_probe, None)
        return self

    def open(self) -> Self:
        """Connect now; the blocking version of `aopen`."""
        return run_sync(self.aopen())

    async def aclose(self) -> None:
        """Close the store and what it opened; calls under way raise `StoreClosedError`."""
        await self._lifecycle.aclose()

    def close(self) -> None:
        """Close the store; the blocking version of `aclose`."""
        self._lifecycle.close()

    async def __aenter__(self) -> Self:
        """Open the store; close it if that fails."""
        try:
            return await self.aopen()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        await self.aclose()

    def __enter__(self) -> Self:
        """Open the store; close it if that fails."""
        try:
            return self.open()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    async def adrop(self, timeout: float | None = None) -> None:
        """Drop the collection with all that is in it; the next write makes it again.

        Args:
            timeout: Seconds for the call; `None` for the store's.

        Raises:
            ScopeError: If the store has a scope.
        """
        if self._scope:
            raise ScopeError("A store with a scope can't drop the collection.")
        await self._run(_drop, timeout)

    drop = blocking(adrop)

    @property
    def stats(self) -> StoreStats:
        """The number of calls of this store and its views, and of the requests they became.

        All numbers are 0 with `batching=False` and before the first call.
        """
        collection = self._lifecycle.resource
        return StoreStats() if collection is None else collection.transport.stats

    @property
    def client(self) -> MilvusClient:
        """A blocking pymilvus client with a channel of its own, which the store closes.

        The store is opened first, if it is not open.

        Raises:
            ScopeError: If the store has a scope, because a client would not apply it.
            StoreClosedError: If the store is closed.
        """
        return self._opened().given_client()

    @property
    def aclient(self) -> AsyncMilvusClient:
        """A new pymilvus client for the loop that first awaits it; its caller closes it.

        The store is opened first, if it is not open. A client of Milvus Lite works until the
        store is closed.

        Raises:
            ScopeError: If the store has a scope, because a client would not apply it.
            StoreClosedError: If the store is closed.
            UnsupportedError: If the process was forked while a store was open, because an async
                channel would crash it.
        """
        connection = self._opened()
        if portal().forked_from_open:
            raise UnsupportedError(
                "A process that was forked while a store was open can't have an async client; "
                "use the blocking one."
            )
        return connection.async_client()

    @property
    def alias(self) -> str:
        """The name of `client`'s connection among those of pymilvus."""
        return str(self.client._using)  # noqa: SLF001 - as langchain-milvus has it

    def _opened(self) -> Connection:
        """Return the connection, open, for one who wants to reach past the store."""
        if self._scope:
            raise ScopeError("A store with a scope gives no client.")
        return run_sync(self._run(_connection, None))

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Any,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str = "LangChainCollection",
        connection_args: Mapping[str, Any] | None = None,
        consistency_level: str = "Session",
        index_params: Parameters = None,
        search_params: Parameters = None,
        drop_old: bool = False,
        *,
        ids: list[str] | None = None,
        auto_id: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Make a store and write texts into it.

        Args:
            texts: The texts.
            embedding: The embedding model, or a list of several.
            metadatas: A dictionary per text.
            collection_name: See `MilvusStore`.
            connection_args: See `MilvusStore`.
            consistency_level: See `MilvusStore`.
            index_params: See `MilvusStore`.
            search_params: See `MilvusStore`.
            drop_old: See `MilvusStore`.
            ids: An id per text.
            auto_id: See `MilvusStore`.
            **kwargs: Further arguments of `MilvusStore`.

        Returns:
            The store, open.
        """
        store = cls(
            embedding,
            collection_name=collection_name,
            connection_args=connection_args,
            consistency_level=consistency_level,
            index_params=index_params,
            search_params=search_params,
            drop_old=drop_old,
            auto_id=auto_id,
            **kwargs,
        )
        try:
            await store.aadd_texts(texts, metadatas, ids=ids)
        except BaseException:
            await store.aclose()
            raise
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Any,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str = "LangChainCollection",
        connection_args: Mapping[str, Any] | None = None,
        consistency_level: str = "Session",
        index_params: Parameters = None,
        search_params: Parameters = None,
        drop_old: bool = False,
        *,
        ids: list[str] | None = None,
        auto_id: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Make a store and write texts into it; the blocking version of `afrom_texts`."""
        made = cls.afrom_texts(
            texts,
            embedding,
            metadatas,
            collection_name,
            connection_args,
            consistency_level,
            index_params,
            search_params,
            drop_old,
            ids=ids,
            auto_id=auto_id,
            **kwargs,
        )
        return run_sync(made)

    @classmethod
    async def afrom_documents(
        cls, documents: list[Document], embedding: Any, **kwargs: Any
    ) -> Self:
        """Make a store and write Documents into it.

        Args:
            documents: The Documents.
            embedding: The embedding model, or a list of several.
            **kwargs: `ids`, in place of the Documents' own, and further arguments of
                `MilvusStore`.

        Returns:
            The store, open.
        """
        ids = kwargs.pop("ids", None) or [document.id for document in documents]
        texts = [document.page_content for document in documents]
        metadatas = [document.metadata for document in documents]
        return await cls.afrom_texts(texts, embedding, metadatas, ids=ids, **kwargs)

    @classmethod
    def from_documents(cls, documents: list[Document], embedding: Any, **kwargs: Any) -> Self:
        """Make a store and write Documents into it; the blocking version of `afrom_documents`."""
        return run_sync(cls.afrom_documents(documents, embedding, **kwargs))


async def _probe(session: Session) -> None:
    await session.collection.probe(session.deadline)


async def _drop(session: Session) -> None:
    await session.collection.drop(session.deadline)


async def _connection(session: Session) -> Connection:
    return session.collection.connection


def _transport(connection: Connection, *, batching: bool, on_batch: OnBatch | None) -> Transport:
    direct = DirectTransport(connection)
    if not batching:
        return direct
    return BatchedTransport(direct, lite=connection.lite, on_batch=on_batch)


def _make_collection(
    settings: Settings,
    connection_args: Mapping[str, Any],
    transport: Callable[[Connection], Transport],
    first: bool,
    *,
    batching: bool,
) -> Collection:
    connection = Connection(connection_args)
    # The child of a fork must not drop what its parent dropped and wrote since.
    settings = dataclasses.replace(settings, drop_old=settings.drop_old and first)
    return Collection(settings, connection, transport(connection), batching=batching)
