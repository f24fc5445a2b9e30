"""Deletes that count."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milvus_tools.errors import (
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
)
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import Key
from milvus_tools.store.operations.read import STRONG, Reads, require_list
from milvus_tools.store.threads import read_expression
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Keys,
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


class Deletes(Reads):
    """Deletes by id, by filter, or by both."""

    async def _delete_now(
        self, schema: Schema, request: DeleteRequest, deadline: Deadline
    ) -> bool:
        """Delete rows that were just read; tell whether it was this request that did."""
        self._collection.consistency.deleting()
        try:
            count = await self._collection.transport.delete(request, deadline)
        finally:
            self._collection.consistency.deleting()
        if not count:
            await self._require_gone(schema, request.keys.values, deadline)
        return bool(count)

    async def delete(
        self,
        ids: Sequence[str] | None,
        expr: str | None,
        extra: Mapping[str, Any],
        deadline: Deadline,
    ) -> DeleteResult:
        """Delete the rows that have one of the ids and match the filter, as far as given."""
        options = opts.allowed(extra, {}, partition=self._partition("partition_name"))
        filter_ = await read_expression(expr)
        if ids is not None:
            require_list(ids)
        elif not filter_:
            raise InvalidInputError("delete needs ids or an expression: it never deletes all.")

        async def work(schema: Schema) -> DeleteResult:
            if ids is None:
                return await self._delete_matching(schema, filter_, options, deadline)
            mapper = self._collection.mapper(schema)
            asked = list(dict.fromkeys(mapper.key(id_, self._scope) for id_ in ids))
            async with self._collection.locked(asked):
                fields = self._key_fields(schema)
                rows = await self._rows_of(schema, asked, fields, STRONG, deadline, filter_)
                count = await self._delete(schema, list(rows), options, deadline)
            return DeleteResult(count, len(asked) - count)

        absent = DeleteResult(0, len(set(map(str, ids or ()))))
        return await self._collection.with_schema(work, absent, deadline)

    async def _delete_matching(
        self, schema: Schema, filter_: str, options: Mapping[str, Any], deadline: Deadline
    ) -> DeleteResult:
        """Delete what matches now, but for what another delete took away meanwhile."""
        log = self._collection.consistency.deletes
        with log.reading() as since:
            keys = await self._matching(schema, filter_, STRONG, deadline)
            async with self._collection.locked(keys):
                there = [key for key in keys if not log.has(key, since)]
                return DeleteResult(await self._delete(schema, there, options, deadline))

    async def _delete(
        self,
        schema: Schema,
        keys: Sequence[Key],
        options: Mapping[str, Any],
        deadline: Deadline,
    ) -> int:
        """Delete rows that were just read, and count them.

        By key alone that takes the server 2 ms, with the scope 200 ms; but with it, a row that
        went over to another scope in between stays.
        """
        scope = self._scope.expression(schema)
        deleted: list[str] = []
        for chosen in Keys(schema.primary.name, tuple(keys)).batches():
            request = DeleteRequest(self._collection.name, scope, chosen, options)
            with partial(deleted, len(keys), "deleted", deadline):
                if await self._delete_now(schema, request, deadline):
                    deleted += map(self._id, chosen.values)
            self._collection.consistency.deletes.note(chosen.values)
        return len(deleted)

    async def _require_gone(self, schema: Schema, keys: Sequence[Key], deadline: Deadline) -> None:
        """Demand that somebody else deleted the rows of which Milvus says that it deleted none.

        Raises:
            MilvusError: If they are still there: Milvus answers so when a delete failed.
        """
        rows = await self._rows_of(schema, keys, self._key_fields(schema), STRONG, deadline)
        if rows:
            raise MilvusError("Milvus deleted none of the entities that it was asked to delete.")

    def _id(self, key: Key) -> str:
        return self._scope.id(key) if isinstance(key, str) else str(key)


@contextlib.contextmanager
def partial(done: Sequence[str], total: int, verb: str, deadline: Deadline) -> Iterator[None]:
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
