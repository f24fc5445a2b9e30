"""The filters of calls: parsed before the schema is known, made an expression after that."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from milvus_tools._io.loop import portal
from milvus_tools.filters.conditions import Condition, Operator, map_conditions, values_of
from milvus_tools.filters.expression import write
from milvus_tools.filters.fields import Fields
from milvus_tools.filters.literals import all_of
from milvus_tools.filters.names import locate
from milvus_tools.filters.query_filter import FilterLike, QueryFilter, TypedFilter
from milvus_tools.filters.stored import stored
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.store.scope import Scope

Result = TypeVar("Result")

LONG: Final = 4_096
"""The number of characters from which on a text is read in a thread: that takes milliseconds."""
_NONE: Final = QueryFilter()


async def read_filter(filter_: FilterLike, expr: str | None) -> QueryFilter:
    """Parse the arguments `filter` and `expr` of a call; long ones in a thread.

    Raises:
        FilterError: If one is malformed, out of bounds, or not safe to join with others.
    """
    if filter_ is None and expr is None:
        return _NONE
    size = _length(filter_) + _length(expr)
    return await _in_thread_if_long(size, QueryFilter.read, filter_, expr)


async def write_filter(
    filter_: QueryFilter, mapper: DocumentMapper, scope: Scope, *, lite: bool
) -> str:
    """Return a filter as an expression of this collection; make a long one in a thread.

    Args:
        filter_: The filter.
        mapper: The collection's mapper, with its schema and its metadata field.
        scope: The scope, of which stored keys may be made.
        lite: Whether the collection is in Milvus Lite.

    Raises:
        FilterError: If a field, an operator or a value does not fit. The message says what does.
        UnsupportedError: If this Milvus can't evaluate the filter.
    """

    def written() -> str:
        typed = [_written(one, mapper, scope, lite=lite) for one in filter_.typed]
        return all_of([*typed, filter_.raw])

    return await _in_thread_if_long(filter_.size, written)


def _written(filter_: TypedFilter, mapper: DocumentMapper, scope: Scope, *, lite: bool) -> str:
    fields = Fields(
        mapper.schema,
        filter_.fields,
        allow_dynamic=filter_.allow_dynamic,
        lite=lite,
        metadata_field=mapper.metadata_field,
    )
    keyed = functools.partial(_with_key, mapper=mapper, scope=scope)
    return write(map_conditions(filter_.conditions, keyed), fields)


async def _in_thread_if_long(size: int, function: Callable[..., Result], *args: Any) -> Result:
    """Call a function, in a thread if its input is long, because all stores share the I/O loop."""
    return function(*args) if size < LONG else await portal().computing.run(function, *args)


def _length(expression: object) -> int:
    return len(expression) if isinstance(expression, str) else 0


def _is_key(condition: Condition, mapper: DocumentMapper) -> bool:
    place = locate(condition.field, mapper.schema, mapper.metadata_field)
    return place is not None and place.field is mapper.schema.primary


def _with_key(condition: Condition, *, mapper: DocumentMapper, scope: Scope) -> Condition:
    """Return a condition on the Documents' ids with stored keys in their place.

    Raises:
        InvalidInputError: If an id does not fit the collection's keys.
    """
    if not _is_key(condition, mapper):
        return condition
    value = condition.value
    if condition.operator is not Operator.EXISTS:
        several = isinstance(value, list | tuple | np.ndarray)
        keys = [mapper.key(stored(one), scope) for one in values_of(value)]
        value = keys if several else keys[0]
    return dataclasses.replace(condition, field=mapper.schema.primary.name, value=value)
