"""Writing: upserts that replace, and deletes that count."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._io.pipeline import run_pipeline
from milvus_tools.errors import (
    CollectionNotFoundError,
    DimensionError,
    InvalidInputError,
    MilvusError,
    ScopeError,
)
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import DocumentMapper, Key
from milvus_tools.store.operations.delete import Deletes, partial
from milvus_tools.store.operations.read import STRONG
from milvus_tools.store.operations.upsert import Columns, Upsert
from milvus_tools.store.values import checked_vectors, is_list
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Keys,
    QueryRequest,
    Row,
    WriteRequest,
)

BATCHES_IN_FLIGHT = 8  # of one call: four that are embedded, four that are written
_ROWS_AT_ONCE = 1_000  # that are made before other calls have their turn


class Upserts(Deletes):
    """Writes that replace."""

    async def upsert(
        self,
        documents: Sequence[Document],
        vectors: Columns | None,
        batch_size: int,
        extra: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[str]:
        """Write Documents, each in place of the one that had its id; return the ids.

        Batches are embedded while others are written.

        Args:
            documents: The Documents; those without id get a new one.
            vectors: The vectors, per embedding model, or `None` to make them here.
            batch_size: The most rows per request.
            extra: Further keyword arguments, of the allow-list.
            deadline: The call's deadline.
        """
        options = self._placed(
            opts.allowed(extra, {}, partition=self._partition("partition_name"))
        )
        opts.check_limit(batch_size, name="batch_size")
        if not documents:
            return []
        upsert = Upsert(documents, vectors, batch_size, options, self._embed_texts)
        with self._collection.flusher.unflushed.growing():
            try:
                return await self._upsert(upsert, deadline)
            finally:
                await upsert.embedded.aclose()

    async def flush(self, deadline: Deadline) -> None:
        """Make what was written fast to search, where Milvus does not do so itself."""
        if await self._collection.schema_to_write(deadline) is not None:
            await self._collection.flusher.flush()

    async def _embed_texts(self, texts: Sequence[str]) -> Columns:
        return await self._collection.embed(texts, query=False, schema=None)

    async def _upsert(self, upsert: Upsert, deadline: Deadline) -> list[str]:
        schema = await self._collection.schema_to_write(deadline)
        if schema is None:
            self._require_own_keys(auto_id=self._collection.settings.spec.auto_id)
        else:  # refuse before the embeddings are paid for
            schema = await self._collection.agreed(
                schema, lambda one: self._fit(one, upsert), deadline
            )
        if upsert.vectors is None:
            upsert.embedded.begin(BATCHES_IN_FLIGHT)
        return await self._write(upsert, schema, deadline)

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Name the partition to write to, if the store reads but some."""
        names = self._collection.settings.spec.partition_names
        if names is None or "partition_name" in options:
            return options
        if len(names) > 1:
            raise InvalidInputError(
                f"The store reads the partitions {', '.join(names)}: name the one to write to "
                "as partition_name."
            )
        return {"partition_name": names[0], **options}

    def columns(self, embeddings: Sequence[Any]) -> Columns:
        """Turn a vector, or a list of one per model, per text into a column per model."""
        models = len(self._collection.settings.sources)
        if models == 1:
            return [embeddings]
        if not all(is_list(row) and len(row) == models for row in embeddings):
            raise InvalidInputError(f"Each text needs a list of {models} embeddings.")
        return [list(column) for column in zip(*embeddings, strict=True)]

    async def _write(self, upsert: Upsert, schema: Schema | None, deadline: Deadline) -> list[str]:
        try:
            return await self._write_once(upsert, schema, deadline)
        except (MilvusError, CollectionNotFoundError, DimensionError) as error:
            sent = not isinstance(error, DimensionError)
            if schema is None or (sent and schema.primary.auto_id):
                raise
            if not await self._collection.has_changed(schema, error, deadline):
                raise
        fresh = await self._collection.schema_to_write(deadline)
        return await self._write_once(upsert, fresh, deadline)

    async def _write_once(
        self, upsert: Upsert, schema: Schema | None, deadline: Deadline
    ) -> list[str]:
        first = await upsert.vectors_of(0)
        if schema is None:
            planned = self._collection.planned(upsert.documents, [one[0] for one in first])
            # or refuse before anything is made
            await self._fit_whole(self._collection.described(planned), upsert, first)
            schema = await self._collection.create(planned, deadline)
        await self._fit_whole(schema, upsert, first)
        if schema.primary.auto_id:
            return await self._send(schema, upsert, deadline)
        keys = [upsert.rows[one][schema.primary.name] for batch in upsert.batches for one in batch]
        async with self._owned(schema, keys, deadline):
            await self._send(schema, upsert, deadline)
        return list(upsert.ids)

    async def _fit_whole(self, schema: Schema, upsert: Upsert, first: Columns) -> None:
        """Write all Documents as rows, or refuse them all if one or a known vector is wrong."""
        await self._fit(schema, upsert)
        if upsert.vectors is None:
            self._fitting(schema, first, len(upsert.batches[0]))
        else:
            upsert.vectors = self._fitting(schema, upsert.vectors, len(upsert.rows))

    async def _fit(self, schema: Schema, upsert: Upsert) -> None:
        """Write all Documents as rows without vectors, or refuse them all."""
        if upsert.fitted is schema:
            return
        mapper = self._collection.mapper(schema)
        self._require_own_keys(auto_id=schema.primary.auto_id)
        upsert.rows = []
        for number, document in enumerate(upsert.documents):
            if number % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
                await asyncio.sleep(0)
            key = self._key_of(mapper, document, upsert.ids[number])
            upsert.rows.append(mapper.row(document, key, self._scope))
        upsert.fitted = schema

    def _key_of(self, mapper: DocumentMapper, document: Document, id_: str) -> Key | None:
        primary = mapper.schema.primary
        if primary.auto_id:
            if document.id is not None:
                raise InvalidInputError(
                    "Milvus makes this collection's ids itself (auto_id): write Documents "
                    "without id."
                )
            return None
        if document.id is None and primary.type != DataType.VARCHAR:
            raise InvalidInputError("The collection's keys are integers: give each Document one.")
        return mapper.key(id_, self._scope)

    def _require_own_keys(self, *, auto_id: bool) -> None:
        """Refuse scoped ids where Milvus makes the keys: no row could be found by its id."""
        if auto_id and self._scope.in_keys:
            raise InvalidInputError(
                "With scoped_ids=True the keys are made of the scope and the id, but Milvus makes "
                "this collection's keys itself (auto_id)."
            )

    def _fitting(self, schema: Schema, vectors: Columns, count: int) -> Columns:
        """Return vectors as their fields need them."""
        fields = self._collection.vector_fields(schema) if vectors else []
        return [
            checked_vectors(column, schema.vectors[name], count)
            for name, column in zip(fields, vectors, strict=True)
        ]

    @contextlib.asynccontextmanager
    async def _owned(
        self, schema: Schema, keys: Sequence[Key], deadline: Deadline
    ) -> AsyncIterator[None]:
        """Hold keys that are free or in the scope, where one upsert does not do it all."""
        checks = bool(self._scope) and not self._scope.in_keys
        by_hand = self._collection.misplaces_upserts(schema)  # two at once would both insert
        async with self._collection.locked(keys if checks or by_hand else ()):
            for some in Keys(schema.primary.name, tuple(keys) if checks else ()).batches():
                await self._require_ours(schema, some, deadline)
            yield

    async def _require_ours(self, schema: Schema, keys: Keys, deadline: Deadline) -> None:
        fields = tuple(self._key_fields(schema))
        request = QueryRequest(self._collection.name, "", fields, STRONG, keys)
        rows = await self._collection.transport.query(request, deadline)
        if not all(self._scope.holds(row) for row in rows):
            raise ScopeError(
                "An id is taken by an entity outside the store's scope; nothing was written. "
                "Use other ids, or a store with scoped_ids=True."
            )

    async def _send(self, schema: Schema, upsert: Upsert, deadline: Deadline) -> list[str]:
        """Write all rows, a few batches at once; return the keys that Milvus made, as ids."""
        confirmed: dict[int, list[str]] = {}
        written: list[str] = []

        async def send(number: int, batch: Sequence[int]) -> None:
            rows = await self._with_vectors(schema, upsert, number, batch)
            confirmed[number] = await self._send_batch(schema, rows, upsert.options, deadline)
            upsert.embedded.forget(number)
            self._collection.flusher.flush_if_due()

        with partial(written, sum(map(len, upsert.batches)), "written", deadline):
            try:
                if len(upsert.batches) == 1:
                    await send(0, upsert.batches[0])
                else:
                    await run_pipeline(
                        _each(upsert.batches), send, max_in_flight=BATCHES_IN_FLIGHT
                    )
            finally:
                written += itertools.chain.from_iterable(
                    confirmed[number] for number in sorted(confirmed)
                )
        return written

    async def _with_vectors(
        self, schema: Schema, upsert: Upsert, number: int, batch: Sequence[int]
    ) -> list[Row]:
        """Return a batch's rows, whole."""
        rows = [upsert.rows[one].copy() for one in batch]
        vectors = self._fitting(schema, await upsert.vectors_of(number), len(batch))
        fields = self._collection.vector_fields(schema) if vectors else []
        for name, column in zip(fields, vectors, strict=True):
            for row, vector in zip(rows, column, strict=True):
                row[name] = vector
        return rows

    async def _send_batch(
        self,
        schema: Schema,
        rows: Sequence[Row],
        options: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[str]:
        """Write rows in one request; return the keys that Milvus confirmed, as ids."""
        key = None if schema.primary.auto_id else schema.primary.name
        by_hand = self._collection.misplaces_upserts(schema)
        if by_hand and key is not None:
            await self._make_way(schema, rows, deadline)
        replace = key is not None and not by_hand
        request = WriteRequest(self._collection.name, rows, key, replace=replace, options=options)
        self._collection.consistency.upserted = True
        return [
            self._id(one) for one in await self._collection.transport.upsert(request, deadline)
        ]

    async def _make_way(self, schema: Schema, rows: Sequence[Row], deadline: Deadline) -> None:
        """Delete what has the rows' keys, so that they can be inserted.

        Between the two the entities are gone for a moment, and for good if the insert fails.
        """
        primary = schema.primary.name
        name = self._collection.name
        for chosen in Keys(primary, tuple(row[primary] for row in rows)).batches():
            request = QueryRequest(name, "", (primary,), STRONG, chosen)
            there = await self._collection.transport.query(request, deadline)
            keys = tuple(row[primary] for row in there)
            if keys:
                taken = DeleteRequest(name, "", Keys(primary, keys))
                await self._delete_now(schema, taken, deadline)


async def _each(some: Sequence[Sequence[int]]) -> AsyncIterator[Sequence[int]]:
    for batch in some:
        yield batch
