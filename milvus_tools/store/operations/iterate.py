"""Operations that read all rows that match a filter, page by page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document

from milvus_tools.errors import AnswerTooLargeError
from milvus_tools.filters.literals import all_of, literal, reference
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import Key
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.operations.read import count_rows, matching, rows, rows_of
from milvus_tools.store.session import Session
from milvus_tools.transport.requests import Row

# What pymilvus's iterators send. Without it, servers from 2.4 on may return any rows that match;
# with it, older ones return more rows than the limit.
_IN_ORDER: Final = {"iterator": "True", "reduce_stop_for_best": "True"}


@dataclasses.dataclass
class Iteration:
    """How far an iteration got. It has an end, whatever is written meanwhile.

    Attributes:
        filter_: The filter.
        options: The options of its reads.
        size: The most rows of a page.
        last: The greatest key so far, behind which the next page begins.
        left: How many of the rows that there were at first are still to come, if none is deleted.
        end: The greatest key, read when none was left: later rows are not read.
        keys: On Milvus Lite, the keys of the rows to come.
    """

    filter_: QueryFilter
    options: Mapping[str, Any]
    size: int
    last: Key | None = None
    left: int | None = None
    end: Key | None = None
    keys: list[Key] | None = None


async def begin(
    session: Session, filter_: FilterLike, expr: str | None, size: int, extra: Mapping[str, Any]
) -> Iteration:
    """Check the arguments of an iteration; nothing is read yet."""
    options = opts.allowed(extra, opts.COUNT, partition=session.partition("partition_names"))
    opts.check_limit(size, name="batch_size")
    return Iteration(await read_filter(filter_, expr), options, size)


async def next_page(session: Session, iteration: Iteration) -> list[Document]:
    """Return the next Documents, or an empty list at the end."""
    return await session.with_schema(_next_page, [], iteration)


async def _next_page(session: Session, schema: Schema, iteration: Iteration) -> list[Document]:
    mapper = session.collection.mapper(schema)
    lite = session.collection.connection.engine_is_lite
    found = await (_by_key if lite else _by_order)(session, schema, iteration)
    return [mapper.document(row, session.scope) for row in found]


async def _by_key(session: Session, schema: Schema, iteration: Iteration) -> list[Row]:
    """Read the next page by its keys, because Milvus Lite scans all rows for any condition."""
    if iteration.keys is None:
        keys = await matching(session, schema, iteration.filter_, iteration.options)
        iteration.keys = keys[::-1]
    found: list[Row] = []
    while iteration.keys and not found:  # all rows of a page may be gone
        page = iteration.keys[: -iteration.size - 1 : -1]
        by_key = await rows_of(session, schema, page, schema.output_fields, iteration.options)
        found = [by_key[key] for key in page if key in by_key]
        del iteration.keys[-len(page) :]
    return found


async def _by_order(session: Session, schema: Schema, iteration: Iteration) -> list[Row]:
    """Read the rows that come next in the order of the keys."""
    if iteration.left is None:
        iteration.left = await count_rows(session, schema, iteration.filter_, iteration.options)
    if iteration.left <= 0:
        # Rows that were written since may follow. Those that there are now are the last ones.
        if iteration.end is None:
            iteration.end = await _greatest_key(session, schema, iteration)
        if iteration.end == iteration.last:
            return []
    found = await _page(session, schema, iteration, schema.output_fields, iteration.last)
    if found:
        iteration.left -= len(found)
        iteration.last = _greatest(found, schema)
    return found


async def _greatest_key(session: Session, schema: Schema, iteration: Iteration) -> Key | None:
    last = iteration.last
    while found := await _page(session, schema, iteration, [schema.primary.name], last):
        last = _greatest(found, schema)
    return last


async def _page(
    session: Session,
    schema: Schema,
    iteration: Iteration,
    fields: Sequence[str],
    last: Key | None,
) -> list[Row]:
    """Read the rows that follow a key; make pages smaller if Milvus can't send so much."""
    key = reference(schema.primary.name, dynamic=False)
    bounds = [(">", last), ("<=", iteration.end)]
    within = [f"{key} {sign} {literal(one)}" for sign, one in bounds if one is not None]
    filter_ = await session.expression(schema, iteration.filter_)
    options = dict(iteration.options)
    if session.collection.connection.version >= (2, 4):
        options |= {**_IN_ORDER, "collection_id": schema.collection_id}
    while True:
        options["limit"] = iteration.size
        try:
            return await rows(session, schema, all_of([filter_, *within]), fields, options)
        except AnswerTooLargeError:
            if iteration.size == 1:
                raise
            iteration.size //= 2


def _greatest(found: Sequence[Row], schema: Schema) -> Key:
    # Python, as Milvus, has texts in the order of their code points.
    return max(row[schema.primary.name] for row in found)  # type: ignore[no-any-return]
