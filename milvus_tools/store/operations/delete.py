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
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import Key
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.operations.read import (
    STRONG,
    key_fields,
    matching,
    require_list,
    rows_of,
)
from milvus_tools.store.session import Session
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


async def delete_now(
    session: Session,
    schema: Schema,
    request: DeleteRequest,
) -> bool:
    """Delete rows that were just read; tell whether it was this request that did."""
    session.collection.consistency.deleting()
    try:
        count = await session.collection.transport.delete(request, session.deadline)
    finally:
        session.collection.consistency.deleting()
    if not count:
        await _require_gone(session, schema, request.keys.values)
    return bool(count)


async def delete(
    session: Session,
    ids: Sequence[str] | None,
    filter_: FilterLike,
    expr: str | None,
    extra: Mapping[str, Any],
) -> DeleteResult:
    """Delete the rows that have one of the ids and match the filter, as far as given."""
    options = opts.allowed(extra, {}, partition=session.partition("partition_name"))
    read = await read_filter(filter_, expr)
    if ids is None:
        if not read:
            raise InvalidInputError("delete needs ids or a filter: it never deletes all.")
        return await session.with_schema(_delete_matching, DeleteResult(0), read, options)
    require_list(ids)
    absent = DeleteResult(0, len(set(map(str, ids))))
    return await session.with_schema(_delete_by_ids, absent, ids, read, options)


async def _delete_by_ids(
    session: Session,
    schema: Schema,
    ids: Sequence[str],
    filter_: QueryFilter,
    options: Mapping[str, Any],
) -> DeleteResult:
    mapper = session.collection.mapper(schema)
    asked = list(dict.fromkeys(mapper.key(id_, session.scope) for id_ in ids))
    async with session.collection.locked(asked):
        fields = key_fields(session, schema)
        expression = await session.expression(schema, filter_)
        there = await rows_of(session, schema, asked, fields, STRONG, expression)
        count = await _delete(session, schema, list(there), options)
    return DeleteResult(count, len(asked) - count)


async def _delete_matching(
    session: Session,
    schema: Schema,
    filter_: QueryFilter,
    options: Mapping[str, Any],
) -> DeleteResult:
    """Delete what matches now, but for what another delete took away meanwhile."""
    log = session.collection.consistency.deletes
    with log.reading() as since:
        keys = await matching(session, schema, filter_, STRONG)
        async with session.collection.locked(keys):
            there = [key for key in keys if not log.has(key, since)]
            return DeleteResult(await _delete(session, schema, there, options))


async def _delete(
    session: Session,
    schema: Schema,
    keys: Sequence[Key],
    options: Mapping[str, Any],
) -> int:
    """Delete rows that were just read, and count them.

    By key alone that takes the server 2 ms, with the scope 200 ms; but with it, a row that
    went over to another scope in between stays.
    """
    scope = session.scope.expression(schema)
    deleted: list[str] = []
    for chosen in Keys(schema.primary.name, tuple(keys)).batches():
        request = DeleteRequest(session.collection.name, scope, chosen, options)
        with partial(deleted, len(keys), "deleted", session.deadline):
            if await delete_now(session, schema, request):
                deleted += map(session.scope.id, chosen.values)
        session.collection.consistency.deletes.note(chosen.values)
    return len(deleted)


async def _require_gone(session: Session, schema: Schema, keys: Sequence[Key]) -> None:
    """Demand that somebody else deleted the rows of which Milvus says that it deleted none.

    Raises:
        MilvusError: If they are still there: Milvus answers so when a delete failed.
    """
    if await rows_of(session, schema, keys, key_fields(session, schema), STRONG):
        raise MilvusError("Milvus deleted none of the entities that it was asked to delete.")


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
