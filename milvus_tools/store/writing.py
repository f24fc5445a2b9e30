"""Writing: upserts that replace, and deletes that count."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import (
    CollectionNotFoundError,
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
    ScopeError,
)
from milvus_tools.filters import all_of, checked, one_of
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.reading import KEYS_PER_REQUEST, STRONG, Reads, _require_list
from milvus_tools.store.rows import Key, batches, checked_vectors
from milvus_tools.store.transport import (
    Deadline,
    DeleteRequest,
    QueryRequest,
    Row,
    Vector,
    WriteRequest,
)


@dataclasses.dataclass(frozen=True)
class DeleteResult:
    """What a delete did. It is true whatever the count: a delete that failed raises.

    Attributes:
        count: How many entities were there and are gone.
        missing: How many of the given ids were not there, or outside the filter or the scope.
    """

    count: int
    missing: int = 0

    def __bool__(self) -> bool:
        """Say that the delete succeeded."""
        return True


@dataclasses.dataclass(frozen=True)
class _Upsert:
    """What an upsert is given, and the ids that it makes for Documents without one."""

    documents: Sequence[Document]
    vectors: Sequence[Sequence[Vector]]
    new_ids: Sequence[str]
    batch_size: int
    options: Mapping[str, Any]


class Writes(Reads):
    """Upserts and deletes."""

    async def upsert(
        self,
        documents: Sequence[Document],
        vectors: Sequence[Sequence[Vector]] | None,
        batch_size: int,
        extra: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[str]:
        """Write Documents, each in place of the one that had its id; return the ids.

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
        opts.limit(batch_size, name="batch_size")
        if not documents:
            return []
        new_ids = [str(uuid.uuid4()) for _ in documents]
        schema = await self._collection.schema_to_write(deadline)
        if schema is not None:  # refuse before the embeddings are paid for
            self._rows_to_write(schema, documents, new_ids)
        if vectors is None:
            texts = [document.page_content for document in documents]
            vectors = await self._collection.embed(texts, query=False, schema=schema)
        upsert = _Upsert(documents, vectors, new_ids, batch_size, options)
        return await self._write(upsert, schema, deadline)

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Name the partition to write to, if the store reads but some."""
        names = self._collection.settings.partition_names
        if names is None or "partition_name" in options:
            return options
        if len(names) > 1:
            raise InvalidInputError(
                f"The store reads the partitions {', '.join(names)}: name the one to write to "
                "as partition_name."
            )
        return {"partition_name": names[0], **options}

    def columns(self, embeddings: Sequence[Any]) -> list[Sequence[Vector]]:
        """Turn a vector, or a list of one per model, per text into a column per model."""
        models = len(self._collection.models)
        if models == 1:
            return [embeddings]
        if any(len(row) != models for row in embeddings):
            raise InvalidInputError(f"Each text needs {models} embeddings, one per model.")
        return [list(column) for column in zip(*embeddings, strict=True)]

    async def _write(
        self, upsert: _Upsert, schema: Schema | None, deadline: Deadline
    ) -> list[str]:
        try:
            return await self._write_once(upsert, schema, deadline)
        except (MilvusError, CollectionNotFoundError) as error:
            if schema is None or schema.primary.auto_id:
                raise
            if not await self._collection.has_changed(schema, error, deadline):
                raise
        fresh = await self._collection.schema_to_write(deadline)
        return await self._write_once(upsert, fresh, deadline)

    async def _write_once(
        self, upsert: _Upsert, schema: Schema | None, deadline: Deadline
    ) -> list[str]:
        if schema is None:
            samples = [column[0] for column in upsert.vectors]
            planned = self._collection.planned(upsert.documents, samples)
            self._rows_to_write(planned, upsert.documents, upsert.new_ids)
            schema = await self._collection.create(upsert.documents, samples, deadline)
        rows = self._rows_to_write(schema, upsert.documents, upsert.new_ids)
        self._add_vectors(schema, rows, upsert.vectors)
        if schema.primary.auto_id:
            return await self._send(schema, rows, upsert, deadline)
        keys = [row[schema.primary.name] for row in rows]
        last = dict(zip(keys, rows, strict=True))  # within a call the last row of a key wins
        async with self._owned(schema, list(last), deadline):
            await self._send(schema, list(last.values()), upsert, deadline)
        return [self._id(key) for key in keys]

    def _id(self, key: Key) -> str:
        return self._scope.id(key) if isinstance(key, str) else str(key)

    def _rows_to_write(
        self, schema: Schema, documents: Sequence[Document], new_ids: Sequence[str]
    ) -> list[Row]:
        """Write all Documents as rows, or refuse them all."""
        layout = self._collection.layout(schema)
        return [
            layout.row(document, self._key_of(schema, document, new_id), self._scope)
            for document, new_id in zip(documents, new_ids, strict=True)
        ]

    def _key_of(self, schema: Schema, document: Document, new_id: str) -> Key | None:
        if schema.primary.auto_id:
            if document.id is not None:
                raise InvalidInputError(
                    "Milvus makes this collection's ids itself (auto_id): write Documents "
                    "without id."
                )
            return None
        if document.id is None and schema.primary.type != DataType.VARCHAR:
            raise InvalidInputError("The collection's keys are integers: give each Document one.")
        layout = self._collection.layout(schema)
        return layout.key(new_id if document.id is None else document.id, self._scope)

    def _add_vectors(
        self, schema: Schema, rows: Sequence[Row], vectors: Sequence[Sequence[Vector]]
    ) -> None:
        fields = self._collection.vector_fields(schema) if vectors else []
        for name, column in zip(fields, vectors, strict=True):
            fitting = checked_vectors(column, schema.vectors[name], len(rows))
            for row, vector in zip(rows, fitting, strict=True):
                row[name] = vector

    @contextlib.asynccontextmanager
    async def _owned(
        self, schema: Schema, keys: Sequence[Key], deadline: Deadline
    ) -> AsyncIterator[None]:
        """Hold keys that are free or in the scope; needless where the scope is in the keys."""
        if not self._scope or self._scope.in_keys:
            yield
            return
        async with self._collection.locked(keys):
            for some in batches(keys, KEYS_PER_REQUEST):
                await self._require_ours(schema, some, deadline)
            yield

    async def _require_ours(self, schema: Schema, keys: Sequence[Key], deadline: Deadline) -> None:
        request = QueryRequest(
            self._collection.name,
            one_of(schema.primary.name, keys),
            tuple(self._key_fields(schema)),
            STRONG,
        )
        rows = await self._collection.transport.query(request, deadline)
        if not all(self._scope.holds(row) for row in rows):
            raise ScopeError(
                "An id is taken by an entity outside the store's scope; nothing was written. "
                "Use other ids, or a store with scoped_ids=True."
            )

    async def _send(
        self,
        schema: Schema,
        rows: Sequence[Row],
        upsert: _Upsert,
        deadline: Deadline,
    ) -> list[str]:
        """Write rows batch by batch and return the keys that Milvus confirmed, as ids."""
        written: list[str] = []
        by_hand = self._collection.misplaces_upserts(schema)
        replace = not schema.primary.auto_id and not by_hand
        for batch in batches(rows, upsert.batch_size):
            request = WriteRequest(
                self._collection.name, batch, replace=replace, options=upsert.options
            )
            with _partial(written, len(rows), "written", deadline):
                if by_hand and not schema.primary.auto_id:
                    await self._make_way(schema, batch, deadline)
                self._collection.memory.upserted = True
                keys = await self._collection.transport.upsert(request, deadline)
            written += map(self._id, keys)
        return written

    async def _make_way(self, schema: Schema, rows: Sequence[Row], deadline: Deadline) -> None:
        """Delete what has the rows' keys, so that they can be inserted.

        Between the two the entities are gone for a moment, and for good if the insert fails.
        """
        primary = schema.primary.name
        for some in batches([row[primary] for row in rows], KEYS_PER_REQUEST):
            request = QueryRequest(
                self._collection.name, one_of(primary, some), (primary,), STRONG
            )
            there = await self._collection.transport.query(request, deadline)
            if there:
                keys = one_of(primary, [row[primary] for row in there])
                await self._delete_now(DeleteRequest(self._collection.name, keys), deadline)

    async def _delete_now(self, request: DeleteRequest, deadline: Deadline) -> None:
        self._collection.memory.deleting()
        try:
            await self._collection.transport.delete(request, deadline)
        finally:
            self._collection.memory.deleting()

    async def delete(
        self,
        ids: Sequence[str] | None,
        expr: str | None,
        extra: Mapping[str, Any],
        deadline: Deadline,
    ) -> DeleteResult:
        """Delete the rows that have one of the ids and match the filter, as far as given."""
        options = opts.allowed(extra, {}, partition=self._partition("partition_name"))
        filter_ = checked(expr)
        if ids is not None:
            _require_list(ids)
        elif not filter_:
            raise InvalidInputError("delete needs ids or an expression: it never deletes all.")

        async def work(schema: Schema) -> DeleteResult:
            if ids is None:
                keys = await self._matching(schema, filter_, STRONG, deadline)
                return await self._delete(schema, keys, len(keys), options, deadline)
            layout = self._collection.layout(schema)
            asked = list(dict.fromkeys(layout.key(id_, self._scope) for id_ in ids))
            async with self._collection.locked(asked if self._scope else ()):
                fields = self._key_fields(schema)
                rows = await self._rows_of(schema, asked, fields, STRONG, deadline, filter_)
                return await self._delete(schema, list(rows), len(asked), options, deadline)

        absent = DeleteResult(0, len(set(map(str, ids or ()))))
        return await self._collection.with_schema(work, absent, deadline)

    async def _delete(
        self,
        schema: Schema,
        keys: Sequence[Key],
        asked: int,
        options: Mapping[str, Any],
        deadline: Deadline,
    ) -> DeleteResult:
        """Delete rows that were just read.

        By key alone that takes the server 2 ms, with the scope 200 ms; but with it, a row that
        went over to another scope in between stays.
        """
        scope = self._scope.expression(schema)
        deleted: list[str] = []
        for some in batches(keys, KEYS_PER_REQUEST):
            filter_ = all_of([scope, one_of(schema.primary.name, some)])
            request = DeleteRequest(self._collection.name, filter_, options)
            with _partial(deleted, len(keys), "deleted", deadline):
                await self._delete_now(request, deadline)
            deleted += map(self._id, some)
        return DeleteResult(len(keys), asked - len(keys))


@contextlib.contextmanager
def _partial(done: Sequence[str], total: int, verb: str, deadline: Deadline) -> Iterator[None]:
    """Say what was done when a later batch fails, or its deadline passes."""
    try:
        yield
    except (MilvusToolsError, asyncio.CancelledError) as error:
        cancelled_by_caller = isinstance(error, asyncio.CancelledError) and not deadline.passed
        if not done or cancelled_by_caller:
            raise
        reason = str(error) or "the deadline passed"
        raise PartialWriteError(
            f"{len(done)} of {total} entities were {verb} before an error: {reason}", done
        ) from error
