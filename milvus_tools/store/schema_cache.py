"""`SchemaCache`: the schema of a collection, as far as a store knows it.

Everything here runs on the I/O loop.
"""

import asyncio
from collections.abc import Awaitable, Callable

from milvus_tools.errors import (
    AccessError,
    CollectionNotFoundError,
    DeadlineError,
    InvalidInputError,
    UnavailableError,
)
from milvus_tools.schema import Schema
from milvus_tools.spec import CollectionSpec
from milvus_tools.transport import ddl
from milvus_tools.transport.connection import Connection, forget_schemas
from milvus_tools.transport.grpc_errors import NOT_LOADED
from milvus_tools.transport.lite_flush import Flusher
from milvus_tools.transport.lite_servers import schema_now
from milvus_tools.transport.requests import Deadline


class SchemaCache:
    """Keeps a collection's schema; callers who need it read anew at one time share a reading.

    Attributes:
        known: The schema; `None` if the collection was not there when it was read last.
    """

    def __init__(self, connection: Connection, spec: CollectionSpec, flusher: Flusher) -> None:
        """Know nothing yet.

        Args:
            connection: Where to read.
            spec: Names the collection, and tells how to load it.
            flusher: Told whether this collection may be flushed.
        """
        self.known: Schema | None = None
        self._connection = connection
        self._spec = spec
        self._flusher = flusher
        self._place = (*connection.identity, spec.collection_name)
        self._was_there = False
        self._on_lite: object | None = None  # Milvus Lite's own schema, of which `known` was read
        self._ended: asyncio.Event | None = None  # set when the reading under way has ended
        self._begun = self._latest = 0  # numbers of readings; the latest that ended well

    async def schema(self, deadline: Deadline) -> Schema | None:
        """Return the schema, or `None` if the collection was never there.

        Raises:
            CollectionNotFoundError: If it was there and is gone.
        """
        schema = self.known or await self._read_with_others(deadline)
        if schema is None and self._was_there:
            raise CollectionNotFoundError(
                f"The collection {self._spec.collection_name!r} is gone: it was dropped. "
                "The next write makes it again."
            )
        return schema

    async def schema_to_write(self, deadline: Deadline) -> Schema | None:
        """Return the schema to write with, or `None` if the collection must be made first."""
        return self.known or await self._read_with_others(deadline)

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

    async def has_changed(self, schema: Schema, error: Exception, deadline: Deadline) -> bool:
        """Tell whether an error came of a collection that was dropped, remade or released."""
        if isinstance(error, UnavailableError | DeadlineError | AccessError):
            return False
        forget_schemas()
        fresh = await self._read_with_others(deadline)  # loads it, too
        return fresh != schema or getattr(error, "code", 0) == NOT_LOADED

    def forget_if_remade(self) -> None:
        """Read the schema anew if Milvus Lite has another one by now; a server says so itself."""
        if self.known is not None and schema_now(*self._place) is not self._on_lite:
            self.known = None

    async def read(self, deadline: Deadline) -> None:
        """Ask Milvus, and load the collection if it is there."""
        before = schema_now(*self._place) if self._connection.lite else None
        schema = await self._connection.administer(ddl.open_existing, deadline, self._spec)
        if schema is None:
            self.known = None
        else:
            self.keep(schema, before)

    def keep(self, schema: Schema, on_lite: object | None = None) -> None:
        """Take what was read, or made, for what the collection is.

        Args:
            schema: The schema.
            on_lite: Milvus Lite's own schema before the reading, or `None` for the present one.
        """
        self.known = schema
        if self._connection.lite:
            self._on_lite = on_lite or schema_now(*self._place)
        self._was_there = True
        self._flusher.allowed = schema.searches_all

    def forget(self) -> None:
        """Know of no collection: the store has dropped it."""
        self.known, self._was_there = None, False

    async def _read_with_others(self, deadline: Deadline) -> Schema | None:
        """Read the schema once for all who ask while an earlier reading is under way.

        All of them go on in one tick, so that what they do next goes out together.
        """
        asked = self._begun
        while self._latest <= asked:  # none that began since has ended well
            if self._ended is None:
                await self._read_for_all(deadline)
            else:
                await self._ended.wait()
        return self.known

    async def _read_for_all(self, deadline: Deadline) -> None:
        self._ended = ended = asyncio.Event()
        self._begun = number = self._begun + 1
        try:
            await self.read(deadline)
            self._latest = number
        finally:
            self._ended = None
            ended.set()
