"""The filters of calls: read before the schema is known, written as an expression after."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final, TypeVar

from milvus_tools._io.loop import portal
from milvus_tools.filters.conditions import All, Any_, Condition, Filter, Not, Operator
from milvus_tools.filters.expression import write
from milvus_tools.filters.fields import Fields
from milvus_tools.filters.literals import all_of
from milvus_tools.filters.query_filter import FilterLike, QueryFilter, TypedFilter
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.store.scope import Scope

Result = TypeVar("Result")

LONG: Final = 4_096
"""From how many characters on a text is worth a thread: it takes milliseconds to read."""
ID: Final = "id"
_NONE: Final = QueryFilter()


async def read_filter(filter_: FilterLike, expr: str | None) -> QueryFilter:
    """Read the arguments `filter` and `expr` of a call; long ones in a thread.

    Raises:
        FilterError: If one is malformed, out of bounds, or not safe to join with others.
    """
    if filter_ is None and expr is None:
        return _NONE
    return await _unhurried(_length(filter_) + _length(expr), QueryFilter.read, filter_, expr)


async def write_filter(
    filter_: QueryFilter, mapper: DocumentMapper, scope: Scope, *, lite: bool
) -> str:
    """Write a filter as an expression of this collection; a long one in a thread.

    Args:
        filter_: The filter.
        mapper: Knows the collection's schema, and where Documents' metadata is in it.
        scope: What stored keys are made with.
        lite: Whether the collection is in Milvus Lite.

    Raises:
        FilterError: If a field, an operator or a value does not fit; the message says what does.
        UnsupportedError: If this Milvus can't answer it.
    """

    def written() -> str:
        typed = [_written(one, mapper, scope, lite=lite) for one in filter_.typed]
        return all_of([*typed, filter_.raw])

    return await _unhurried(filter_.size, written)


def _written(filter_: TypedFilter, mapper: DocumentMapper, scope: Scope, *, lite: bool) -> str:
    fields = Fields(
        mapper.schema,
        filter_.fields,
        allow_dynamic=filter_.allow_dynamic,
        lite=lite,
        metadata_field=mapper.metadata_field,
    )
    return write(_with_keys(filter_.conditions, mapper, scope), fields)


async def _unhurried(size: int, work: Callable[..., Result], *given: Any) -> Result:
    """Do work at once, or in a thread if what it reads is long: the loop belongs to all stores."""
    return work(*given) if size < LONG else await portal().computing.run(work, *given)


def _length(expression: object) -> int:
    return len(expression) if isinstance(expression, str) else 0


def is_key(name: str, mapper: DocumentMapper) -> bool:
    """Tell whether a name means the Documents' id."""
    schema = mapper.schema
    return name == schema.primary.name or (name == ID and name not in schema.scalars)


def _with_keys(filter_: Filter, mapper: DocumentMapper, scope: Scope) -> Filter:
    """Let conditions on the id, or on the primary key, compare with what is stored as the key.

    Raises:
        InvalidInputError: If an id does not fit the keys.
    """
    match filter_:
        case Condition():
            return _with_key(filter_, mapper, scope) if is_key(filter_.field, mapper) else filter_
        case Not(inner):
            return Not(_with_keys(inner, mapper, scope))
        case All(filters):
            return All([_with_keys(one, mapper, scope) for one in filters])
        case Any_(filters):
            return Any_([_with_keys(one, mapper, scope) for one in filters])


def _with_key(condition: Condition, mapper: DocumentMapper, scope: Scope) -> Condition:
    value = condition.value
    if condition.operator is not Operator.EXISTS:
        several = isinstance(value, list | tuple)
        keys = [mapper.key(one, scope) for one in (value if several else [value])]
        value = keys if several else keys[0]
    return dataclasses.replace(condition, field=mapper.schema.primary.name, value=value)
