"""One collection behind one connection: what a store and all its views share.

Everything here runs on the I/O loop.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.documents import Document
from pymilvus import CollectionSchema, MilvusClient

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import cancel_and_wait, gather_or_cancel
from milvus_tools._io.thread_pools import Threads
from milvus_tools.embeddings.source import EmbeddingModel
from milvus_tools.errors import (
    AccessError,
    CollectionNotFoundError,
    DeadlineError,
    EmbeddingError,
    InvalidInputError,
    StoreClosedError,
    UnavailableError,
    embedding,
)
from milvus_tools.schema import DENSE, Index, Schema
from milvus_tools.store.config import Settings
from milvus_tools.store.consistency import ReadYourWrites
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.store.values import checked_vectors, compact
from milvus_tools.transport import ddl
from milvus_tools.transport.connection import Connection, forget_schemas, shared_lock
from milvus_tools.transport.direct import (
    Transport,
)
from milvus_tools.transport.grpc_errors import NOT_LOADED
from milvus_tools.transport.lite_flush import Flusher
from milvus_tools.transport.requests import (
    Deadline,
    Vector,
)

Result = TypeVar("Result")

_PROBE = "dimension"


class Collection:
    """The collection, opened once; its schema, as far as it is known; its locks."""

    def __init__(self, settings: Settings, connection: Connection, transport: Transport) -> None:
        """Keep the parts; nothing is opened yet."""
        self.settings = settings.on_lite() if connection.lite else settings
        self.connection = connection
        self.transport = transport
        self.consistency = ReadYourWrites()
        self.flusher = Flusher(connection, self.name)
        self._given: MilvusClient | None = None
        self._giving = threading.Lock()
        self._making: asyncio.Task[list[EmbeddingModel]] | None = None
        self._threads: list[Threads] = []  # of the models, kept while the collection is used
        self._schema: Schema | None = None
        self._was_there = False
        self._opened = False
        self._closed = False
        self._opening = asyncio.Lock()
        self._read: asyncio.Event | None = None  # set when the reading under way has ended
        self._readings = self._latest = 0
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.settings.spec.collection_name

    async def run(
        self, work: Callable[["Collection", Deadline], Awaitable[Result]], timeout: float
    ) -> Result:
        """Run an operation within its deadline, opening the collection first if need be.

        Raises:
            DeadlineError: If it took longer.
            StoreClosedError: If the store was closed meanwhile.
        """
        if self._closed:
            raise StoreClosedError("The store was closed during the call.")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task here
        self._running.add(task)
        deadline = Deadline.after(timeout)
        try:
            async with asyncio.timeout(timeout) as limit:
                await self.open(deadline)
                return await work(self, deadline)
        except (TimeoutError, EmbeddingError) as error:
            if not limit.expired():  # the deadline ended nothing
                raise
            raise DeadlineError(
                f"No answer within {timeout:g} s; a write's outcome is unknown."
            ) from error
        except asyncio.CancelledError:
            if self._closed:
                raise StoreClosedError("The store was closed during the call.") from None
            raise
        finally:
            self._running.discard(task)
            if not self._closed:
                self.flusher.flush_if_due()

    async def open(self, deadline: Deadline) -> None:
        """Open the connection and read the collection's schema, once."""
        if self._opened:
            return
        async with self._opening:
            if self._opened:
                return
            await self.connection.open(deadline.remaining)
            forget_schemas()
            if self.settings.drop_old:
                await self.connection.settle()  # no earlier drop may come after this one
                await self._drop(deadline)
            await self._read_schema(deadline)
            self._opened = True

    async def close(self) -> None:
        """Cancel what is under way and close the connection."""
        self._closed = True
        making = [] if self._making is None else [self._making]
        running = [one for one in (*self._running, *making) if one is not asyncio.current_task()]
        await cancel_and_wait(running)
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(self.connection.close)
            last_first.push_async_callback(self.transport.aclose)
            last_first.push_async_callback(self.flusher.aclose)
            await portal().waiting.run(self._take_back)

    def client(self) -> MilvusClient:
        """Return the blocking client that is given away. Blocks, and may be called anywhere.

        Raises:
            StoreClosedError: If the store is closed.
        """
        with self._giving:
            if self._closed:
                raise StoreClosedError("The store is closed; make a new one.")
            if self._given is None:
                self._given = self.connection.sync_client()
            return self._given

    def _take_back(self) -> None:
        with self._giving:
            if self._given is not None:
                self._given.close()

    async def drop(self, deadline: Deadline) -> None:
        """Drop the collection; the next write makes it anew."""
        await self._drop(deadline)
        self.consistency.deleting()
        self._schema, self._was_there = None, False

    async def _drop(self, deadline: Deadline) -> None:
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self.flusher.instead())
            try:
                await self._administer(ddl.drop, deadline)
            except asyncio.CancelledError:  # the drop may go on in its thread
                self.connection.release_when_settled(held.pop_all())
                raise

    async def schema(self, deadline: Deadline) -> Schema | None:
        """Return the schema, or `None` if the collection was never there.

        Raises:
            CollectionNotFoundError: If it was there and is gone.
        """
        schema = self._schema or await self._read_again(deadline)
        if schema is None and self._was_there:
            raise CollectionNotFoundError(
                f"The collection {self.name!r} is gone: somebody dropped it. "
                "The next write would make it anew."
            )
        return schema

    async def _read_schema(self, deadline: Deadline) -> Schema | None:
        self._schema = await self._administer(ddl.open_existing, deadline)
        self._note()
        return self._schema

    def _note(self) -> None:
        if self._schema is not None:
            self._was_there = True
            self.flusher.allowed = self._schema.searches_all

    async def _read_again(self, deadline: Deadline) -> Schema | None:
        """Read the schema once for all who ask while an earlier reading is under way.

        All of them go on in one tick, so that what they do next goes out together.
        """
        asked = self._readings
        while self._latest <= asked:  # none that began since has ended well
            if self._read is None:
                await self._read_now(deadline)
            else:
                await self._read.wait()
        return self._schema

    async def _read_now(self, deadline: Deadline) -> None:
        self._read = ended = asyncio.Event()
        self._readings = reading = self._readings + 1
        try:
            await self._read_schema(deadline)
            self._latest = reading
        finally:
            self._read = None
            ended.set()

    async def has_changed(self, schema: Schema, error: Exception, deadline: Deadline) -> bool:
        """Tell whether an error came of a collection that somebody dropped, remade or released."""
        if isinstance(error, UnavailableError | DeadlineError | AccessError):
            return False
        forget_schemas()
        fresh = await self._read_again(deadline)  # loads it, too
        return fresh != schema or getattr(error, "code", 0) == NOT_LOADED

    async def schema_to_write(self, deadline: Deadline) -> Schema | None:
        """Return the schema to write with, or `None` if the collection must be made first."""
        return self._schema or await self._read_again(deadline)

    async def agreed(
        self, schema: Schema, check: Callable[[Schema], Awaitable[None]], deadline: Deadline
    ) -> Schema | None:
        """Return the schema that `check` accepts: the one given, or a newer one.

        Raises:
            InvalidInputError: If `check` refuses what the collection now is.
        """
        try:
            await check(schema)
        except InvalidInputError as error:
            if not await self.has_changed(schema, error, deadline):
                raise
        else:
            return schema
        fresh = await self.schema_to_write(deadline)
        if fresh is not None:
            await check(fresh)
        return fresh

    def planned(
        self, documents: Sequence[Document], samples: Sequence[Vector]
    ) -> CollectionSchema:
        """Return what a new collection is to be.

        Args:
            documents: What will be written; the first one shapes a static collection.
            samples: One vector per embedding model.

        Raises:
            UnsupportedError: If this Milvus can't hold it.
        """
        spec = self.settings.spec
        spec.require(self.connection.version, samples)
        return spec.schema(samples, documents[0].metadata)

    def described(self, planned: CollectionSchema) -> Schema:
        """Return a planned collection as Milvus will describe it once it is there."""
        spec = self.settings.spec
        indexes = {
            field.name: Index(**_kinds(spec.index_of(field.name, field.dtype)))
            for field in planned.fields
            if field.name in spec.all_vector_fields
        }
        return Schema.from_description(planned.to_dict(), indexes)

    def misplaces_upserts(self, schema: Schema) -> bool:
        """Tell whether this Milvus upserts rows into other partitions than it reads them from.

        Servers before 2.4 take the partition from another field than the partition key: see
        <https://github.com/milvus-io/milvus/pull/30772>. They insert rightly.
        """
        return schema.has_partition_key and self.connection.version < (2, 4)

    async def create(self, planned: CollectionSchema, deadline: Deadline) -> Schema:
        """Make the collection, unless somebody else was faster, and load it."""
        async with shared_lock("creating", *self.connection.identity, self.name):
            if self._schema is None:
                self._schema = await self._administer(ddl.create, deadline, planned)
                self._note()
            return self._schema

    def mapper(self, schema: Schema) -> DocumentMapper:
        """Return where a Document's parts stand in this collection.

        Raises:
            InvalidInputError: If the collection has no such text field.
        """
        spec = self.settings.spec
        if spec.text_field not in schema.scalars:
            raise InvalidInputError(
                f"The collection has no field {spec.text_field!r} for the text; name one of "
                f"its fields as text_field: {', '.join(schema.scalars) or 'none'}."
            )
        return DocumentMapper(schema, spec.text_field, self._metadata_field(schema))

    def _metadata_field(self, schema: Schema) -> str | None:
        name = self.settings.spec.metadata_field
        return name if name in schema.scalars else None

    def vector_fields(self, schema: Schema) -> list[str]:
        """Return the fields of the embedding models, in the models' order.

        Raises:
            InvalidInputError: If the collection has them not.
        """
        names = list(self.settings.spec.vector_fields)
        if all(name in schema.vectors for name in names):
            return names
        dense = [field.name for field in schema.vectors.values() if field.type in DENSE]
        if len(names) == len(dense) == 1:
            return dense
        raise InvalidInputError(
            f"The collection has not the vector fields {', '.join(names)}; it has "
            f"{', '.join(schema.vectors)}. Name them as vector_field, one per embedding."
        )

    async def embed(
        self, texts: Sequence[str], *, query: bool, schema: Schema | None
    ) -> list[Sequence[Vector]]:
        """Embed texts with every model.

        Args:
            texts: The texts.
            query: Whether they are questions rather than documents.
            schema: The collection to fit, if it is there.

        Returns:
            Per model the vectors, one per text.

        Raises:
            EmbeddingError: If a model fails.
            DimensionError: If they don't fit the collection.
        """
        models = await self._models()
        embedded = await gather_or_cancel(
            self._embed(model, texts, query=query) for model in models
        )
        if schema is None:
            return list(embedded)
        fields = [schema.vectors[name] for name in self.vector_fields(schema)]
        return [
            checked_vectors(vectors, field, len(texts))
            for vectors, field in zip(embedded, fields, strict=True)
        ]

    async def _models(self) -> list[EmbeddingModel]:
        """Return the models, made once for all who ask, even if the first of them gives up."""
        self._making = self._making or asyncio.create_task(self._make_models())
        return await asyncio.shield(self._making)

    async def _make_models(self) -> list[EmbeddingModel]:
        try:
            with embedding():
                models = [await source.make() for source in self.settings.sources]
        except BaseException:
            self._making = None  # the next call tries again
            raise
        self._threads = [portal().threads_of(model) for model in models]
        return models

    async def _embed(
        self, model: EmbeddingModel, texts: Sequence[str], *, query: bool
    ) -> Sequence[Vector]:
        with embedding(), portal().threads_of(model).used():
            return compact(await self.transport.embed(model, texts, query=query))

    async def probe(self, deadline: Deadline) -> None:
        """Check that the embedding models fit the collection, by embedding one word."""
        schema = await self.schema(deadline)
        if schema is not None:
            self.mapper(schema)
            await self.embed([_PROBE], query=False, schema=schema)

    @contextlib.asynccontextmanager
    async def locked(self, keys: Iterable[object]) -> AsyncIterator[None]:
        """Hold the locks of some keys, against all stores of the process.

        A key has one lock, in whichever collection it is: a collection has many names, since
        addresses have several spellings, and collections have aliases.
        """
        async with contextlib.AsyncExitStack() as stack:
            for key in sorted(set(keys), key=repr):  # one order, so that no deadlock is possible
                await stack.enter_async_context(shared_lock("key", key))
            yield

    async def _administer(
        self, action: Callable[..., Result], deadline: Deadline, *args: Any
    ) -> Result:
        return await self.connection.administer(
            action, deadline.remaining, self.settings.spec, deadline, *args
        )


def _kinds(index: Mapping[str, Any]) -> dict[str, str]:
    return {kind: str(index.get(kind, "")) for kind in ("metric_type", "index_type")}
