"""Operations that read without a vector search: by filter and by id."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.equality import Equality
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
    fields = [*key_fields(session, schema), mapper.place(order.field).column]
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
    fields = key_fields(session, schema)
    expression = await session.expression(schema, filter_)
    found = await rows_of(session, schema, keys, fields, STRONG, expression)
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
    return await session.with_schema(_count, 0, await read_filter(filter_, expr), options)


async def _count(
    session: Session, schema: Schema, filter_: QueryFilter, options: Mapping[str, Any]
) -> int:
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
    return session.collection.connection.lite and inexact


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
    equality = _equality(schema, expression) if keys is None else None
    if equality is not None:
        found = await _query_by_value(session, schema, equality, fields, options)
    else:
        found = await _query(session, session.in_scope(schema, expression), fields, options, keys)
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
    primary = schema.primary.name
    by_key = bool(session.scope) and not expression and _has_plain_names(session.scope, schema)
    if by_key:
        keys = await _own_keys(session, schema, keys, options)
    found: dict[Key, Row] = {}
    for batch in Keys(primary, tuple(keys)).batches():
        read = await (
            _query(session, "", fields, options, batch)
            if by_key
            else rows(session, schema, expression, fields, options, batch)
        )
        found |= {row[primary]: row for row in read if session.scope.holds(row)}
    return found


def _has_plain_names(scope: Scope, schema: Schema) -> bool:
    # A server fails on other names of dynamic keys, and the whole dynamic field is metadata (T25).
    return all(
        name.isidentifier() and name.isascii() for name in scope.values if schema.is_dynamic(name)
    )


async def _own_keys(
    session: Session, schema: Schema, keys: Sequence[Key], options: Mapping[str, Any]
) -> list[Key]:
    """Return those of the keys that rows of the scope have; read nothing else of any row."""
    primary = schema.primary.name
    dynamic = tuple(name for name in session.scope.values if schema.is_dynamic(name))
    fields = [primary, *(name for name in session.scope.values if name not in dynamic)]
    own: set[Key] = set()
    for batch in Keys(primary, tuple(keys)).batches():
        read = await _query(session, "", fields, options, batch, dynamic)
        own |= {row[primary] for row in read if session.scope.holds(row)}
    return [key for key in keys if key in own]


def _equality(schema: Schema, expression: str) -> Equality | None:
    """Return what an expression says of one field, if its values come back as they are."""
    equality = Equality.read(expression)
    place = None if equality is None else schema.locate((equality.field,))
    if equality is None or place is None:
        return None
    fits = place.field is None or place.field.type in _COMPARED[type(equality.value)]
    return equality if fits else None


async def _query_by_value(
    session: Session,
    schema: Schema,
    equality: Equality,
    fields: Sequence[str],
    options: Mapping[str, Any],
) -> list[Row]:
    """Read the rows of the scope that have a value, and that value with them."""
    dynamic = schema.is_dynamic(equality.field)
    named = dynamic and DYNAMIC_FIELD not in fields
    more = [] if dynamic else [equality.field]
    keys = (equality.field,) if named else ()
    scope = session.in_scope(schema, "")
    return await _query(session, scope, [*fields, *more], options, None, keys, equality)


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
    return await session.collection.transport.query(request, session.deadline)


async def matching(
    session: Session,
    schema: Schema,
    filter_: QueryFilter,
    options: Mapping[str, Any],
) -> list[Key]:
    """Return the stored keys of the rows that match a filter."""
    expression = await session.expression(schema, filter_)
    found = await rows(session, schema, expression, key_fields(session, schema), options)
    return [row[schema.primary.name] for row in found]


def key_fields(session: Session, schema: Schema) -> list[str]:
    """Return the fields to read if only keys are wanted: the key, and those of the scope.

    Every read is checked against the scope, so its fields are always read. A dynamic key is read
    with the whole dynamic field, because a server fails on a name with a space (T25).
    """
    fields = dict.fromkeys(
        DYNAMIC_FIELD if schema.is_dynamic(name) else name for name in session.scope.values
    )
    return [schema.primary.name, *fields]


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
