"""Operations that write. Every write is an upsert, except where Milvus makes the keys."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._io.tasks import run_pipeline
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
from milvus_tools.store.operations.attempt import WriteAttempt
from milvus_tools.store.operations.delete import delete_now, reporting_partial_success
from milvus_tools.store.operations.read import STRONG, is_taken, looks_like_another_scope
from milvus_tools.store.operations.upsert import Columns, Upsert
from milvus_tools.store.scope import LOOKS_EQUAL
from milvus_tools.store.session import Session
from milvus_tools.store.values import checked_vectors, exact_metadata, is_list
from milvus_tools.transport.connection import shared_lock
from milvus_tools.transport.requests import (
    MAX_BYTES,
    DeleteRequest,
    Keys,
    QueryRequest,
    Row,
    WriteRequest,
    weight,
)

BATCHES_IN_FLIGHT = 8  # per call: four that are being embedded and four that are being written
_ROWS_AT_ONCE = 1_000  # that are made before other tasks of the I/O loop have their turn


async def upsert(
    session: Session,
    attempt: WriteAttempt,
    documents: Sequence[Document],
    embeddings: Sequence[Any] | None,
    batch_size: int,
    extra: Mapping[str, Any],
) -> list[str]:
    """Write Documents, each of which replaces the entity that has its id; return the ids.

    Batches are embedded while others are written.

    Args:
        session: The call's session.
        attempt: The ids of the Documents; it notes what becomes of the requests.
        documents: The Documents.
        embeddings: A vector per Document, or a list with one per embedding model; `None` to embed
            the texts.
        batch_size: The most rows per request.
        extra: Further keyword arguments of the call, not yet checked.
    """
    vectors = None if embeddings is None else _columns(session, embeddings)
    allowed = opts.allowed(extra, {}, partition=session.partition("partition_name"))
    options = _with_partition(session, allowed)
    opts.check_limit(batch_size, name="batch_size")
    if not documents:
        return []
    embed = session.collection.embedder.embed_documents
    wanted = Upsert(attempt, documents, vectors, batch_size, options, embed)
    # While rows are to come, Milvus Lite is flushed only if their bytes make that due.
    with session.collection.flusher.unflushed.growing():
        try:
            return await _upsert(session, wanted)
        finally:
            await wanted.embedded.aclose()


async def flush(session: Session) -> None:
    """Flush Milvus Lite, so that searches of recently written entities are fast."""
    if await session.collection.schemas.schema_to_write(session.deadline) is not None:
        await session.collection.flusher.flush()


async def _upsert(session: Session, upsert: Upsert) -> list[str]:
    schema = await session.collection.schemas.schema_to_write(session.deadline)
    # Wrong Documents are refused before the embeddings are paid for.
    if schema is None:
        metadata = exact_metadata(upsert.documents[0].metadata)
        await _fit(session, upsert, session.collection.settings.spec.without_vectors(metadata))
    else:
        fit = functools.partial(_fit, session, upsert)
        schema = await session.collection.schemas.agreed(schema, fit, session.deadline)
    if upsert.vectors is None:
        upsert.embedded.begin(BATCHES_IN_FLIGHT)
    return await _write(session, upsert, schema)


def _with_partition(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    names = session.collection.settings.spec.partition_names
    if names is None or "partition_name" in options:
        return options
    if len(names) > 1:
        raise InvalidInputError(
            f"The store reads the partitions {', '.join(names)}; pass the one to write to as "
            "partition_name."
        )
    return {"partition_name": names[0], **options}


def _columns(session: Session, embeddings: Sequence[Any]) -> Columns:
    """Regroup the vectors of each text into one list of vectors per model."""
    models = len(session.collection.settings.sources)
    if models == 1:
        return [embeddings]
    if not all(is_list(row) and len(row) == models for row in embeddings):
        raise InvalidInputError(
            f"Each text needs a list of {models} embeddings, one per embedding model."
        )
    return [list(column) for column in zip(*embeddings, strict=True)]


async def _write(session: Session, upsert: Upsert, schema: Schema | None) -> list[str]:
    try:
        return await _write_once(session, upsert, schema)
    except (MilvusError, CollectionNotFoundError, DimensionError) as error:
        # Each of these errors can also come of a collection that was made anew since.
        # With `auto_id`, a repeated request could insert its rows a second time.
        sent = not isinstance(error, DimensionError)
        if schema is None or (sent and schema.primary.auto_id):
            raise
        if not await session.collection.schemas.has_changed(schema, error, session.deadline):
            raise
    fresh = await session.collection.schemas.schema_to_write(session.deadline)
    return await _write_once(session, upsert, fresh)


async def _write_once(
    session: Session,
    upsert: Upsert,
    schema: Schema | None,
) -> list[str]:
    first = await upsert.vectors_of(0)
    if schema is None:
        spec, samples = session.collection.settings.spec, [one[0] for one in first]
        spec.require(session.collection.connection.version, samples)
        planned = spec.schema(samples, exact_metadata(upsert.documents[0].metadata))
        # Wrong Documents are refused before the collection is created.
        await _fit_whole(session, spec.described(planned), upsert, first)
        schema = await session.collection.create(planned, session.deadline)
    await _fit_whole(session, schema, upsert, first)
    await _require_distinct_scope(session, schema)
    if schema.primary.auto_id:
        return await _send(session, schema, upsert)
    keys = [upsert.rows[one][schema.primary.name] for batch in upsert.batches for one in batch]
    async with _checked_keys(session, schema, keys):
        await _send(session, schema, upsert)
    # Those of all Documents, though a later one with the same id has replaced some.
    return list(upsert.attempt.ids)


async def _require_distinct_scope(session: Session, schema: Schema) -> None:
    """Refuse a scope that Milvus Lite takes for another one: see `LOOKS_EQUAL`."""
    collection, scope = session.collection, session.scope
    if not (collection.connection.engine_is_lite and scope.needs_client_side_count(schema)):
        return
    values = frozenset(scope.values.items())
    async with shared_lock("scope", *collection.connection.identity, collection.name, values):
        written = collection.written_scopes.get(values)
        if written is None and not await looks_like_another_scope(session, schema):
            collection.written_scopes[values] = written = scope
        if written is None or not scope.holds(written.values):
            raise ScopeError(LOOKS_EQUAL)


async def _fit_whole(session: Session, schema: Schema, upsert: Upsert, first: Columns) -> None:
    """Make the rows and check the known vectors; refuse all Documents if one is wrong."""
    await _fit(session, upsert, schema)
    if upsert.vectors is None:
        _fitting(session, schema, first, len(upsert.batches[0]))
    else:
        upsert.vectors = _fitting(session, schema, upsert.vectors, len(upsert.rows))


async def _fit(session: Session, upsert: Upsert, schema: Schema) -> None:
    """Make the rows of all Documents, without vectors; refuse all if one does not fit."""
    if upsert.rows_schema is schema:
        return
    mapper = session.collection.mapper(schema)
    _require_own_keys(session, auto_id=schema.primary.auto_id)
    upsert.rows = []
    for number, document in enumerate(upsert.documents):
        if number % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
            await asyncio.sleep(0)
        key = _key_of(session, mapper, document, upsert.attempt.ids[number])
        row = mapper.row(document, key, session.scope)
        if not session.collection.connection.engine_is_lite:
            mapper.require_short_json(row)
        upsert.rows.append(row)
    upsert.rows_schema = schema


def _key_of(session: Session, mapper: DocumentMapper, document: Document, id_: str) -> Key | None:
    primary = mapper.schema.primary
    if primary.auto_id:
        if document.id is not None:
            raise InvalidInputError(
                "Milvus makes this collection's ids itself (auto_id); write Documents without ids."
            )
        return None
    if document.id is None and primary.type != DataType.VARCHAR:
        raise InvalidInputError(
            "The collection's keys are integers; give each Document an integer as its id."
        )
    return mapper.key(id_, session.scope)


def _require_own_keys(session: Session, *, auto_id: bool) -> None:
    """Refuse `scoped_ids=True` if Milvus makes the keys: no row could be found by its id."""
    if auto_id and session.scope.in_keys:
        raise InvalidInputError(
            "With scoped_ids=True the keys are made of the scope and the id, but Milvus makes "
            "this collection's keys itself (auto_id); leave scoped_ids out."
        )


def _fitting(session: Session, schema: Schema, vectors: Columns, count: int) -> Columns:
    fields = session.collection.embedder.vector_fields(schema) if vectors else []
    return [
        checked_vectors(column, schema.vectors[name], count)
        for name, column in zip(fields, vectors, strict=True)
    ]


@contextlib.asynccontextmanager
async def _checked_keys(
    session: Session,
    schema: Schema,
    keys: Sequence[Key],
) -> AsyncIterator[None]:
    """Hold the locks of the keys, and check that no entity outside the scope has one.

    Both are left out where a single upsert is safe.
    """
    # Milvus can't check and write in one step; the locks keep out the process's other writes.
    checks = bool(session.scope) and not session.scope.owns_keys
    # Two concurrent replacements of one row would both delete it, and then both insert one.
    by_delete = session.collection.misplaces_upserts(schema)
    async with session.collection.locked(keys if checks or by_delete else ()):
        for batch in Keys(schema.primary.name, tuple(keys) if checks else ()).batches():
            if await is_taken(session, schema, batch):
                raise ScopeError(
                    "An id is taken by an entity outside the store's scope; nothing was written. "
                    "Use other ids, or a store with scoped_ids=True."
                )
        yield


async def _send(session: Session, schema: Schema, upsert: Upsert) -> list[str]:
    """Write all rows, several batches at a time; return the ids that Milvus confirmed."""
    confirmed: dict[int, list[str]] = {}
    written: list[str] = []

    async def send(number: int, batch: Sequence[int]) -> None:
        rows = await _with_vectors(session, schema, upsert, number, batch)
        confirmed[number] = ids = []
        for part in _parts(rows):
            ids += await _send_batch(session, schema, part, upsert)
        upsert.embedded.forget(number)
        # During a load, too: while Milvus Lite flushes by itself, reads miss rows.
        session.collection.flusher.flush_if_due()

    total = sum(map(len, upsert.batches))
    with reporting_partial_success(written, total, "written", session.deadline):
        try:
            if len(upsert.batches) == 1:  # most writes, which need no tasks of their own
                await send(0, upsert.batches[0])
            else:
                await run_pipeline(_each(upsert.batches), send, max_in_flight=BATCHES_IN_FLIGHT)
        finally:  # after an error too: the report names the ids that were written (T26)
            written += itertools.chain.from_iterable(
                confirmed[number] for number in sorted(confirmed)
            )
    return written


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows by their bytes: Milvus refuses requests over 64 MiB."""
    start = total = 0
    for end, row in enumerate(rows):
        bytes_ = weight(row)
        if start < end and total + bytes_ > MAX_BYTES:
            yield rows[start:end]
            start, total = end, 0
        total += bytes_
    yield rows[start:]


async def _with_vectors(
    session: Session, schema: Schema, upsert: Upsert, number: int, batch: Sequence[int]
) -> list[Row]:
    # Copies, so that the batch's vectors are freed when it is written.
    rows = [upsert.rows[one].copy() for one in batch]
    vectors = _fitting(session, schema, await upsert.vectors_of(number), len(batch))
    fields = session.collection.embedder.vector_fields(schema) if vectors else []
    for name, column in zip(fields, vectors, strict=True):
        for row, vector in zip(rows, column, strict=True):
            row[name] = vector
    return rows


async def _send_batch(
    session: Session,
    schema: Schema,
    rows: Sequence[Row],
    upsert: Upsert,
) -> list[str]:
    """Write rows in one request; return the keys that Milvus confirmed, as ids."""
    key = None if schema.primary.auto_id else schema.primary.name
    by_delete = session.collection.misplaces_upserts(schema)
    if by_delete and key is not None:
        await _delete_existing(session, schema, rows)
    replace = key is not None and not by_delete
    name, options = session.collection.name, upsert.options
    request = WriteRequest(name, rows, key, replace=replace, options=options)
    # Before the request, because one that fails may have written.
    session.collection.consistency.upserted = True
    with upsert.attempt.sending(auto_id=key is None):
        keys = await session.collection.transport.upsert(request, session.deadline)
    return [session.scope.id(one) for one in keys]


async def _delete_existing(session: Session, schema: Schema, rows: Sequence[Row]) -> None:
    """Delete the entities that have the rows' keys, so that the rows can be inserted.

    The entities are missing until the insert is done, and lost if it fails (T15).
    """
    primary = schema.primary.name
    name = session.collection.name
    for batch in Keys(primary, tuple(row[primary] for row in rows)).batches():
        request = QueryRequest(name, "", (primary,), STRONG, batch)
        existing = await session.collection.transport.query(request, session.deadline)
        keys = tuple(row[primary] for row in existing)
        if keys:
            await delete_now(session, schema, DeleteRequest(name, "", Keys(primary, keys)))


async def _each(batches: Sequence[Sequence[int]]) -> AsyncIterator[Sequence[int]]:
    for batch in batches:
        yield batch
