"""Writing: upserts that replace, and deletes that count."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import (
    CollectionNotFoundError,
    DimensionError,
    InvalidInputError,
    MilvusError,
    ScopeError,
)
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.deleting import Deletes, partial
from milvus_tools.store.reading import KEYS_PER_REQUEST, STRONG
from milvus_tools.store.requests import (
    Deadline,
    DeleteRequest,
    Keys,
    QueryRequest,
    Row,
    Vector,
    WriteRequest,
)
from milvus_tools.store.rows import Key, batches
from milvus_tools.store.values import checked_vectors, is_list


@dataclasses.dataclass(frozen=True)
class _Upsert:
    """What an upsert is given, and the ids that it makes for Documents without one."""

    documents: Sequence[Document]
    vectors: Sequence[Sequence[Vector]]
    new_ids: Sequence[str]
    batch_size: int
    options: Mapping[str, Any]


class Upserts(Deletes):
    """Writes that replace."""

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
        if schema is None:
            self._require_own_keys(auto_id=self._collection.settings.blueprint.auto_id)
        else:  # refuse before the embeddings are paid for
            schema = await self._collection.agreed(
                schema, lambda one: self._rows_to_write(one, documents, new_ids), deadline
            )
        if vectors is None:
            texts = [document.page_content for document in documents]
            vectors = await self._collection.embed(texts, query=False, schema=None)
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
        models = len(self._collection.settings.sources)
        if models == 1:
            return [embeddings]
        if not all(is_list(row) and len(row) == models for row in embeddings):
            raise InvalidInputError(f"Each text needs a list of {models} embeddings.")
        return [list(column) for column in zip(*embeddings, strict=True)]

    async def _write(
        self, upsert: _Upsert, schema: Schema | None, deadline: Deadline
    ) -> list[str]:
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
        self, upsert: _Upsert, schema: Schema | None, deadline: Deadline
    ) -> list[str]:
        if schema is None:
            samples = [column[0] for column in upsert.vectors]
            planned = self._collection.planned(upsert.documents, samples)
            # or refuse before anything is made
            self._whole_rows(self._collection.described(planned), upsert)
            schema = await self._collection.create(planned, deadline)
        rows = self._whole_rows(schema, upsert)
        if schema.primary.auto_id:
            return await self._send(schema, rows, upsert, deadline)
        keys = [row[schema.primary.name] for row in rows]
        last = dict(zip(keys, rows, strict=True))  # within a call the last row of a key wins
        async with self._owned(schema, list(last), deadline):
            await self._send(schema, list(last.values()), upsert, deadline)
        return [self._id(key) for key in keys]

    def _whole_rows(self, schema: Schema, upsert: _Upsert) -> list[Row]:
        """Write all Documents with their vectors as rows, or refuse them all."""
        rows = self._rows_to_write(schema, upsert.documents, upsert.new_ids)
        self._add_vectors(schema, rows, upsert.vectors)
        return rows

    def _rows_to_write(
        self, schema: Schema, documents: Sequence[Document], new_ids: Sequence[str]
    ) -> list[Row]:
        """Write all Documents as rows without vectors, or refuse them all."""
        layout = self._collection.layout(schema)
        return [
            layout.row(document, self._key_of(schema, document, new_id), self._scope)
            for document, new_id in zip(documents, new_ids, strict=True)
        ]

    def _key_of(self, schema: Schema, document: Document, new_id: str) -> Key | None:
        self._require_own_keys(auto_id=schema.primary.auto_id)
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

    def _require_own_keys(self, *, auto_id: bool) -> None:
        """Refuse scoped ids where Milvus makes the keys: no row could be found by its id."""
        if auto_id and self._scope.in_keys:
            raise InvalidInputError(
                "With scoped_ids=True the keys are made of the scope and the id, but Milvus makes "
                "this collection's keys itself (auto_id)."
            )

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
        """Hold keys that are free or in the scope, where one upsert does not do it all."""
        checks = bool(self._scope) and not self._scope.in_keys
        by_hand = self._collection.misplaces_upserts(schema)  # two at once would both insert
        async with self._collection.locked(keys if checks or by_hand else ()):
            for some in batches(keys if checks else (), KEYS_PER_REQUEST):
                await self._require_ours(schema, some, deadline)
            yield

    async def _require_ours(self, schema: Schema, keys: Sequence[Key], deadline: Deadline) -> None:
        request = QueryRequest(
            self._collection.name,
            "",
            tuple(self._key_fields(schema)),
            STRONG,
            Keys(schema.primary.name, tuple(keys)),
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
        key = None if schema.primary.auto_id else schema.primary.name
        replace = key is not None and not by_hand
        for batch in batches(rows, upsert.batch_size):
            request = WriteRequest(
                self._collection.name, batch, key, replace=replace, options=upsert.options
            )
            with partial(written, len(rows), "written", deadline):
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
            name, chosen = self._collection.name, Keys(primary, tuple(some))
            request = QueryRequest(name, "", (primary,), STRONG, chosen)
            there = await self._collection.transport.query(request, deadline)
            keys = [row[primary] for row in there]
            if keys:
                taken = DeleteRequest(name, "", Keys(primary, tuple(keys)))
                await self._delete_now(schema, keys, taken, deadline)
