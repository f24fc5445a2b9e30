"""One collection behind one connection: what a store and all its views share.

Everything here runs on the I/O loop.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from pymilvus import CollectionSchema

from milvus_tools._io.loop import portal
from milvus_tools._io.tasks import cancel_and_wait
from milvus_tools.errors import (
    AccessError,
    DeadlineError,
    EmbeddingError,
    InvalidInputError,
    MilvusError,
    StoreClosedError,
    UnavailableError,
)
from milvus_tools.filters.literals import Scalar
from milvus_tools.schema import Schema
from milvus_tools.spec import is_collection_name, wrong_name
from milvus_tools.store.config import Settings
from milvus_tools.store.consistency import ReadYourWrites
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.store.embedder import Embedder
from milvus_tools.store.schema_cache import SchemaCache
from milvus_tools.store.scope import Scope
from milvus_tools.transport import ddl
from milvus_tools.transport.connection import Connection, forget_schemas, shared_lock
from milvus_tools.transport.lite_flush import Flusher
from milvus_tools.transport.protocol import Transport
from milvus_tools.transport.requests import Deadline

Result = TypeVar("Result")

_PROBE = "dimension"
_TURN = 1_000  # locks, which take some milliseconds


class Collection:
    """The collection, opened once.

    Attributes:
        settings: The settings with which the store uses it.
        name: Its name.
        connection: The connection to its Milvus.
        transport: Carries requests there.
        embedder: The store's embedding models.
        schemas: Its schema, as far as the store knows it.
        consistency: Chooses the consistency level of reads, by the store's own writes.
        flusher: Flushes it on Milvus Lite.
        written_scopes: The scopes of written rows, as far as Milvus Lite might take others for
            them; by their fields and values, of which `True` equals 1.
    """

    def __init__(
        self, settings: Settings, connection: Connection, transport: Transport, *, batching: bool
    ) -> None:
        """Keep the parts; nothing is opened yet."""
        self.settings = settings.on_lite() if connection.lite else settings
        self.name = settings.spec.collection_name
        self.connection = connection
        self.transport = transport
        self.embedder = Embedder(self.settings, batching=batching)
        self.flusher = Flusher(connection, self.name)
        self.schemas = SchemaCache(connection, self.settings.spec, self.flusher)
        self.consistency = ReadYourWrites()
        self.written_scopes: dict[frozenset[tuple[str, Scalar]], Scope] = {}
        self._opened = False
        self._closed = False
        self._opening = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(
        self, work: Callable[["Collection", Deadline], Awaitable[Result]], seconds: float
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
        # As `Deadline.after` does, but every call comes by here.
        deadline = Deadline(time.monotonic() + seconds)
        try:
            # As `within` does, but every call comes by here.
            async with asyncio.timeout(seconds) as limit:
                if not self._opened:
                    await self.open(deadline)
                elif self.connection.lite:
                    self.schemas.forget_if_remade()
                return await work(self, deadline)
        except (TimeoutError, EmbeddingError) as error:
            # A model may make an error of its own of the cancelling, or run out of its own time.
            if not limit.expired():
                raise
            late = f"No answer within {seconds:g} s; a write's outcome is unknown."
            raise DeadlineError(late) from error
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
        async with self._opening:
            if self._opened:
                return
            await self.connection.open(deadline.remaining)
            forget_schemas()  # of an earlier server at this address
            if not is_collection_name(self.name):
                await self._require_there(deadline)
            if self.settings.drop_old:
                await self.connection.settle()  # no earlier drop may come after this one
                await self._drop(deadline)
                self.schemas.forget()
            await self.schemas.read(deadline)
            self._opened = True

    async def _require_there(self, deadline: Deadline) -> None:
        """Refuse a name that a server refuses, unless there is a collection of this name.

        Milvus Lite takes any name. What it has under one stays usable, and can be made anew.
        """
        try:
            await self.schemas.read(deadline)
        except (UnavailableError, DeadlineError, AccessError):
            raise
        except (MilvusError, InvalidInputError) as error:
            raise InvalidInputError(wrong_name(self.name)) from error
        if self.schemas.known is None:
            raise InvalidInputError(wrong_name(self.name))

    def forget(self) -> Coroutine[Any, Any, None]:
        """Return what closes it in the background, because its owner did not. Does not block."""
        self.connection.forget()
        return self.close()

    async def close(self) -> None:
        """Cancel what is under way and close the connection."""
        self._closed = True
        current = asyncio.current_task()
        await cancel_and_wait(task for task in self._running if task is not current)
        # What uses the connection ends before it, and all end though one of them fails.
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(self.connection.close)
            last_first.push_async_callback(self.transport.aclose)
            last_first.push_async_callback(self.embedder.aclose)
            last_first.push_async_callback(self.flusher.aclose)
            await portal().waiting.run(self.connection.take_back)

    async def probe(self, deadline: Deadline) -> None:
        """Check that the embedding models fit the collection, by embedding one word."""
        schema = await self.schemas.schema(deadline)
        if schema is not None:
            self.mapper(schema)
            await self.embedder.embed_documents([_PROBE], schema)

    async def create(self, planned: CollectionSchema, deadline: Deadline) -> Schema:
        """Make the collection, unless another store was faster, and load it."""
        async with shared_lock("creating", *self.connection.identity, self.name):
            if self.schemas.known is not None:
                return self.schemas.known
            spec = self.settings.spec
            made = await self.connection.administer(ddl.create, deadline, spec, planned)
            self.schemas.keep(made)
            return made

    async def drop(self, deadline: Deadline) -> None:
        """Drop the collection; the next write makes it again."""
        await self._drop(deadline)
        self.consistency.deleting()
        self.written_scopes.clear()
        self.schemas.forget()

    async def _drop(self, deadline: Deadline) -> None:
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self.flusher.instead())
            try:
                await self.connection.administer(ddl.drop, deadline, self.settings.spec)
            except asyncio.CancelledError:  # the drop may go on in its thread
                self.connection.release_when_settled(held.pop_all())
                raise

    def misplaces_upserts(self, schema: Schema) -> bool:
        """Tell whether this Milvus upserts rows into other partitions than it reads them from.

        Servers before 2.4 take the partition from another field than the partition key: see
        <https://github.com/milvus-io/milvus/pull/30772>. They insert rightly.
        """
        return schema.has_partition_key and self.connection.version < (2, 4)

    def mapper(self, schema: Schema) -> DocumentMapper:
        """Return where a Document's parts stand in this collection.

        Raises:
            InvalidInputError: If the collection has no such text field.
        """
        spec = self.settings.spec
        if spec.text_field not in schema.scalars and not schema.keeps_text(spec.text_field):
            raise InvalidInputError(
                f"The collection has no field {spec.text_field!r} for the text; name one of "
                f"its fields as text_field: {', '.join(schema.scalars) or 'none'}."
            )
        metadata_field = spec.metadata_field if spec.metadata_field in schema.scalars else None
        return DocumentMapper(schema, spec.text_field, metadata_field)

    @contextlib.asynccontextmanager
    async def locked(self, keys: Iterable[object]) -> AsyncIterator[None]:
        """Hold the locks of some keys, against all stores of the process.

        A key has one lock, in whichever collection it is: a collection has many names, since
        addresses have several spellings, and collections have aliases.
        """
        held: list[asyncio.Lock] = []
        try:
            for number, key in enumerate(sorted(set(keys), key=repr), 1):  # one order: no deadlock
                lock = shared_lock("key", key)
                await lock.acquire()
                held.append(lock)
                if number % _TURN == 0:  # a free lock is no pause for the other calls
                    await asyncio.sleep(0)
            yield
        finally:
            for lock in held:
                lock.release()
