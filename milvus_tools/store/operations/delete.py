"""Operations that delete, with exact counts."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milvus_tools.errors import InvalidInputError, MilvusError, MilvusToolsError, PartialWriteError
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import Key
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.operations.read import STRONG, matching, require_list, rows_of
from milvus_tools.store.session import Session
from milvus_tools.transport.requests import Deadline, DeleteRequest, Keys


@dataclasses.dataclass(frozen=True)
class DeleteResult:
    """The outcome of a delete. It is always true, because a delete that fails raises.

    Attributes:
        count: The number of entities that existed and were deleted.
        missing: The number of given ids that do not exist, or are outside the filter or the
            scope.
    """

    count: int
    missing: int = 0

    def __bool__(self) -> bool:
        """Return `True`, because the delete succeeded."""
        return True


async def delete_now(
    session: Session,
    schema: Schema,
    request: DeleteRequest,
) -> bool:
    """Delete rows that were just read; return whether this request deleted them."""
    session.collection.written_scopes.clear()  # their rows may be gone
    # Noted twice: reads during the request need Strong consistency, and so do those after it.
    session.collection.consistency.deleting()
    try:
        count = await session.collection.transport.delete(request, session.deadline)
    finally:
        session.collection.consistency.deleting()
    # Another request deleted the rows, or the delete failed and pymilvus hides that (T01).
    if not count:
        await _require_gone(session, schema, request.keys.values)
    # Not the number: a server counts the keys of the request, there or not (T02).
    return bool(count)


async def delete(
    session: Session,
    ids: Sequence[str] | None,
    filter_: FilterLike,
    expr: str | None,
    extra: Mapping[str, Any],
) -> DeleteResult:
    """Delete the rows that have one of the ids and match the filter; one of them may be unset."""
    options = opts.allowed(extra, {}, partition=session.partition("partition_name"))
    read = await read_filter(filter_, expr)
    if ids is None:
        if not read:
            raise InvalidInputError("delete needs ids or a filter; it never deletes all entities.")
        return await session.with_schema(_delete_matching, DeleteResult(0), read, options)
    require_list(ids)
    absent = DeleteResult(0, len(set(map(str, ids))))  # as text, since 1 and "1" are one id
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
    # Locked, so that two deletes of one row do not both count it.
    async with session.collection.locked(asked):
        # The filter holds beside the ids (T14).
        expression = await session.expression(schema, filter_)
        key = [schema.primary.name]
        there = await rows_of(session, schema, asked, key, STRONG, expression)
        count = await _delete(session, schema, list(there), options)
    return DeleteResult(count, len(asked) - count)


async def _delete_matching(
    session: Session,
    schema: Schema,
    filter_: QueryFilter,
    options: Mapping[str, Any],
) -> DeleteResult:
    """Delete the rows that match, except those that another call deleted since they were read.

    Their keys are known only after the read, so the read can't be under their locks. The log
    tells which of them another call deleted before this one held the locks.
    """
    log = session.collection.consistency.deletes
    with log.reading() as since:
        keys = await matching(session, schema, filter_, STRONG)
        async with session.collection.locked(keys):
            there = [key for key in keys if not log.has(key, since)]
            if session.scope and session.collection.connection.lite:
                # The request will not name the scope: see `_delete`.
                key = [schema.primary.name]
                there = list(await rows_of(session, schema, there, key, STRONG))
            return DeleteResult(await _delete(session, schema, there, options))


async def _delete(
    session: Session,
    schema: Schema,
    keys: Sequence[Key],
    options: Mapping[str, Any],
) -> int:
    """Delete rows that were just read; return how many this call deleted.

    On a server the request names the scope beside the keys, so that a row that moved to another
    scope since the read is kept; this takes 200 ms in place of 2 ms (T57). Milvus Lite would scan
    all rows for it. There the rows were read under the locks of their keys, which are still held.
    """
    lite = session.collection.connection.lite
    scope = "" if lite else session.scope.expression(schema)
    deleted: list[str] = []
    for chosen in Keys(schema.primary.name, tuple(keys)).batches():
        request = DeleteRequest(session.collection.name, scope, chosen, options)
        with reporting_partial_success(deleted, len(keys), "deleted", session.deadline):
            if await delete_now(session, schema, request):
                deleted += map(session.scope.id, chosen.values)
        # Under the locks: a delete by filter that waits for them looks here next.
        session.collection.consistency.deletes.note(chosen.values)
    return len(deleted)


async def _require_gone(session: Session, schema: Schema, keys: Sequence[Key]) -> None:
    """Check that another request deleted the rows, after Milvus answered that it deleted none.

    Raises:
        MilvusError: If a row still exists, because Milvus also answers 0 if a delete failed.
    """
    if await rows_of(session, schema, keys, [schema.primary.name], STRONG):
        raise MilvusError("Milvus deleted none of the entities that it was asked to delete.")


@contextlib.contextmanager
def reporting_partial_success(
    done: Sequence[str], total: int, verb: str, deadline: Deadline
) -> Iterator[None]:
    """Raise `PartialWriteError` if a batch fails, or its deadline passes, after others succeeded.

    Args:
        done: The ids of the batches that succeeded; read when an error occurs.
        total: The number of entities in all batches.
        verb: The past participle for the message: `"written"` or `"deleted"`.
        deadline: The call's deadline, which cancels the batch when it passes.
    """
    try:
        yield
    except (MilvusToolsError, asyncio.CancelledError) as error:
        # A deadline that passes cancels the batch too, with an error that has no message.
        cancelled_by_caller = isinstance(error, asyncio.CancelledError) and not deadline.passed
        if not done or cancelled_by_caller:
            raise
        reason = str(error) or "the deadline passed"
        raise PartialWriteError(
            f"{len(done)} of {total} entities were {verb} before an error: {reason}", done
        ) from error
