"""Operations that read without a vector search: by filter and by id."""

import functools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import AnswerTooLargeError, InvalidInputError
from milvus_tools.filters.equality import Equality
from milvus_tools.filters.literals import reference
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import DYNAMIC_FIELD, Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import DocumentMapper, Key
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.ordering import Order
from milvus_tools.store.scope import Scope
from milvus_tools.store.session import Session
from milvus_tools.store.values import id_text
from milvus_tools.transport.requests import Keys, QueryRequest, Row

# For reads that decide on a write or answer what exists: they must see other clients' writes.
STRONG = {"consistency_level": "Strong"}
# The types of fields whose values Milvus compares with a string, or an integer, as Python does.
_COMPARED: Final[Mapping[type, AbstractSet[DataType]]] = {
    str: {DataType.VARCHAR},
    int: {DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64},
}


async def search_by_metadata(
    session: Session,
    filter_: FilterLike,
    expr: str | None,
    fields: Sequence[str] | None,
    limit: int,
    order: Order | None,
    extra: Mapping[str, Any],
) -> list[Document]:
    """Return the Documents that match a filter, sorted if an order is given."""
    options = _options(session, extra, opts.QUERY)
    options["limit"] = opts.check_limit(limit, options.get("offset", 0), name="limit")
    read = await read_filter(filter_, expr)
    # No rows if there is no collection; all that fails raises (T07).
    return await session.with_schema(_search_by_metadata, [], read, fields, order, options)


async def _search_by_metadata(
    session: Session,
    schema: Schema,
    filter_: QueryFilter,
    fields: Sequence[str] | None,
    order: Order | None,
    options: Mapping[str, Any],
) -> list[Document]:
    _check_fields(schema, fields)
    mapper = session.collection.mapper(schema)
    expression = await session.expression(schema, filter_)
    if order is not None:
        found = await _ordered(session, schema, expression, order, options)
    else:
        found = await rows(session, schema, expression, schema.output_fields, options)
    return [mapper.document(row, session.scope, fields) for row in found]


async def _ordered(
    session: Session,
    schema: Schema,
    expression: str,
    order: Order,
    options: Mapping[str, Any],
) -> list[Row]:
    """Read the keys and sort values of all matching rows, sort them, and read one page."""
    mapper = session.collection.mapper(schema)
    fields = [schema.primary.name, mapper.place(order.field).column]
    others = {name: value for name, value in options.items() if name not in ("offset", "limit")}
    # One row more than can be sorted shows that there are too many.
    found = await rows(session, schema, expression, fields, {**others, "limit": order.most + 1})
    page = order.page(found, mapper, options.get("offset", 0), options["limit"])
    keys = [row[schema.primary.name] for row in page]
    by_key = await rows_of(session, schema, keys, schema.output_fields, others)
    # A row may have been deleted between the two reads.
    return [by_key[key] for key in keys if key in by_key]


async def get_by_ids(session: Session, ids: Sequence[str], filter_: FilterLike) -> list[Document]:
    """Return the Documents that have the given ids, in their order; missing ones are left out."""
    require_list(ids)
    return await session.with_schema(_get_by_ids, [], ids, await read_filter(filter_, None))


async def _get_by_ids(
    session: Session, schema: Schema, ids: Sequence[str], filter_: QueryFilter
) -> list[Document]:
    mapper = session.collection.mapper(schema)
    keys = _keys_of(session, mapper, ids)
    expression = await session.expression(schema, filter_)
    found = await rows_of(session, schema, keys, schema.output_fields, {}, expression)
    return [mapper.document(found[key], session.scope) for key in keys if key in found]


async def existing_ids(session: Session, ids: Sequence[str], filter_: FilterLike) -> set[str]:
    """Return those of the given ids that exist, read with Strong consistency."""
    require_list(ids)
    return await session.with_schema(_existing_ids, set(), ids, await read_filter(filter_, None))


async def _existing_ids(
    session: Session, schema: Schema, ids: Sequence[str], filter_: QueryFilter
) -> set[str]:
    mapper = session.collection.mapper(schema)
    keys = _keys_of(session, mapper, ids)
    expression = await session.expression(schema, filter_)
    found = await rows_of(session, schema, keys, [schema.primary.name], STRONG, expression)
    return {session.scope.id(key) for key in found}


def _keys_of(session: Session, mapper: DocumentMapper, ids: Sequence[str]) -> list[Key]:
    return list(dict.fromkeys(mapper.key(id_, session.scope) for id_ in ids))


async def get_pks(
    session: Session, filter_: FilterLike, expr: str | None, extra: Mapping[str, Any]
) -> list[Any]:
    """Return the ids of the rows that match a filter; integers if the primary key is one."""
    options = _options(session, extra, opts.KEYS)
    if "limit" in options:
        opts.check_limit(options["limit"], options.get("offset", 0), name="limit")
    elif "offset" in options:
        raise InvalidInputError("offset needs a limit; pass both.")
    read = await read_filter(filter_, expr)
    if not read and not session.scope:
        raise InvalidInputError("get_pks needs a filter, unless the store has a scope.")
    keys = await session.with_schema(matching, [], read, options)
    return [session.scope.id(key) if isinstance(key, str) else key for key in keys]


async def count(
    session: Session, filter_: FilterLike, expr: str | None, extra: Mapping[str, Any]
) -> int:
    """Count the rows that match a filter."""
    options = _options(session, extra, opts.COUNT)
    return await session.with_schema(count_rows, 0, await read_filter(filter_, expr), options)


async def count_rows(
    session: Session, schema: Schema, filter_: QueryFilter, options: Mapping[str, Any]
) -> int:
    """Count the rows that match a filter, within the scope."""
    # A count can't be checked against the scope afterwards, as rows are.
    if _needs_client_side_count(session, schema, options):
        return len(await matching(session, schema, filter_, options))
    expression = await session.expression(schema, filter_)
    request = QueryRequest(
        session.collection.name,
        session.in_scope(schema, expression),
        ("count(*)",),
        session.reading(options),
    )
    (row,) = await session.collection.transport.query(request, session.deadline)
    return int(row["count(*)"])


def _needs_client_side_count(session: Session, schema: Schema, options: Mapping[str, Any]) -> bool:
    """Tell whether Milvus Lite's `count(*)` would include rows of other scopes or partitions."""
    in_partitions = "partition_names" in session.reading(options)
    inexact = in_partitions or session.scope.needs_client_side_count(schema)
    return session.collection.connection.engine_is_lite and inexact


async def filter_expression(session: Session, filter_: QueryFilter) -> str | None:
    """Return a filter as an expression of this collection; `None` if there is no collection."""
    return await session.with_schema(Session.expression, None, filter_)


async def schema(session: Session) -> Schema | None:
    """Return the collection as Milvus describes it, or `None` if it is not there."""
    return await session.collection.schemas.schema(session.deadline)


def _options(
    session: Session, extra: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    return opts.allowed(extra, known, partition=session.partition("partition_names"))


async def rows(
    session: Session,
    schema: Schema,
    expression: str,
    fields: Sequence[str],
    options: Mapping[str, Any],
    keys: Keys | None = None,
) -> list[Row]:
    """Read the rows that match an expression and the scope; check that they are in the scope."""
    read, dynamic = _with_scope(session.scope, schema, fields)
    equality = _equality(schema, expression) if keys is None else None
    if equality is not None:
        expression = ""
        read, dynamic = _with_value(schema, equality.field, read, dynamic)
    within = session.in_scope(schema, expression)
    found = await _query(session, within, read, options, keys, dynamic, equality)
    # Checked once more, however Milvus reads the expression.
    session.scope.require(found)
    return found


async def rows_of(
    session: Session,
    schema: Schema,
    keys: Sequence[Key],
    fields: Sequence[str],
    options: Mapping[str, Any],
    expression: str = "",
) -> dict[Key, Row]:
    """Return the rows of the scope that have the given keys, by key.

    Milvus finds keys fast only if the request has no other condition. So inside a scope the keys
    and the scope's values are read first, and then the rows of those keys that the scope has. A
    row that moves to another scope between the two reads is left out.
    """
    by_key = session.scope and not expression and _has_plain_names(session.scope, schema)
    read = functools.partial(_rows_by_key if by_key else rows, session, schema)
    found: list[Row] = []
    for batch in Keys(schema.primary.name, tuple(keys)).batches():
        found += await read(expression, fields, options, batch)
    return {row[schema.primary.name]: row for row in found}


async def _rows_by_key(
    session: Session,
    schema: Schema,
    _: str,
    fields: Sequence[str],
    options: Mapping[str, Any],
    keys: Keys,
) -> list[Row]:
    there = await _scopes_of(session, schema, keys, options)
    own = list(filter(session.scope.holds, there))
    if not own or set(fields) <= own[0].keys():
        return own
    wanted = Keys(keys.field, tuple(row[keys.field] for row in own))
    found = await _query(session, "", fields, options, wanted)
    return list(filter(session.scope.holds, found))


async def _scopes_of(
    session: Session, schema: Schema, keys: Keys, options: Mapping[str, Any]
) -> list[Row]:
    """Return the keys and the scope's values of rows of any scope; read nothing else of them."""
    fields, dynamic = _with_scope(session.scope, schema, [keys.field])
    return await _query(session, "", fields, options, keys, dynamic)


async def is_taken(session: Session, schema: Schema, keys: Keys) -> bool:
    """Tell whether a row outside the scope has one of some keys."""
    if _has_plain_names(session.scope, schema):
        there = await _scopes_of(session, schema, keys, STRONG)
        return not all(map(session.scope.holds, there))
    own = await rows(session, schema, "", [keys.field], STRONG, keys)
    there = await _query(session, "", [keys.field], STRONG, keys)
    return not {row[keys.field] for row in there} <= {row[keys.field] for row in own}


async def looks_like_another_scope(session: Session, schema: Schema) -> bool:
    """Tell whether an entity is in another scope that Milvus Lite takes for this one."""
    fields, dynamic = _with_scope(session.scope, schema, [schema.primary.name])
    options = {**STRONG, "limit": 1}
    found = await _query(session, session.in_scope(schema, ""), fields, options, None, dynamic)
    return not all(map(session.scope.holds, found))


def _with_scope(
    scope: Scope, schema: Schema, fields: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Return fields and dynamic keys to read: those given, and the scope's to check rows by.

    A dynamic key of another name is read with the whole dynamic field, which is fit for rows that
    Milvus found in the scope.
    """
    dynamic = tuple(name for name in scope.values if schema.is_dynamic(name))
    static = [name for name in scope.values if name not in dynamic]
    if dynamic and (DYNAMIC_FIELD in fields or not _has_plain_names(scope, schema)):
        static, dynamic = [*static, DYNAMIC_FIELD], ()
    return [*fields, *static], dynamic


def _has_plain_names(scope: Scope, schema: Schema) -> bool:
    # A server fails on other names of dynamic keys, and on words of the language (T25, T55).
    return all(
        reference(name, dynamic=True) == name for name in scope.values if schema.is_dynamic(name)
    )


def _equality(schema: Schema, expression: str) -> Equality | None:
    """Return what an expression says of one field, if its values come back as they are."""
    equality = Equality.read(expression)
    place = None if equality is None else schema.locate((equality.field,))
    if equality is None or place is None:
        return None
    fits = place.field is None or place.field.type in _COMPARED[type(equality.value)]
    return equality if fits else None


def _with_value(
    schema: Schema, name: str, fields: list[str], dynamic: tuple[str, ...]
) -> tuple[list[str], tuple[str, ...]]:
    """Return fields and dynamic keys to read: those given, and the one that tells rows apart."""
    if not schema.is_dynamic(name):
        return [*fields, name], dynamic
    there = DYNAMIC_FIELD in fields or name in dynamic
    return fields, dynamic if there else (*dynamic, name)


async def _query(
    session: Session,
    expression: str,
    fields: Sequence[str],
    options: Mapping[str, Any],
    keys: Keys | None,
    dynamic: tuple[str, ...] = (),
    equality: Equality | None = None,
) -> list[Row]:
    request = QueryRequest(
        session.collection.name,
        expression,
        tuple(dict.fromkeys(fields)),
        session.reading(options),
        keys,
        dynamic,
        equality,
    )
    try:
        return await session.collection.transport.query(request, session.deadline)
    except AnswerTooLargeError:
        if keys is None or len(keys.values) == 1:
            raise
    found: list[Row] = []
    for half in keys.halves():
        found += await _query(session, expression, fields, options, half, dynamic)
    return found


async def matching(
    session: Session,
    schema: Schema,
    filter_: QueryFilter,
    options: Mapping[str, Any],
) -> list[Key]:
    """Return the stored keys of the rows that match a filter."""
    expression = await session.expression(schema, filter_)
    found = await rows(session, schema, expression, [schema.primary.name], options)
    return [row[schema.primary.name] for row in found]


def _check_fields(schema: Schema, fields: Sequence[str] | None) -> None:
    # A string is a sequence, too: of its characters.
    if isinstance(fields, str) or not isinstance(fields or (), Sequence | AbstractSet):
        raise InvalidInputError("fields must be a list of metadata keys, not a single key.")
    for name in fields or ():
        if not isinstance(name, str):
            raise InvalidInputError("fields must be a list of metadata keys.")
        if name not in schema.vectors:
            schema.is_dynamic(name)  # raises if the collection can't have such a key


def require_list(ids: object) -> None:
    """Check that a value is a list of ids."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Sequence):
        raise InvalidInputError("ids must be a list of ids.")
    for id_ in ids:
        id_text(id_)
