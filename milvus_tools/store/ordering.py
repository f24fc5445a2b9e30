"""Which rows to return, where Milvus can't say it itself: in an order, and by ids in a scope."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters import All, Any_, Condition, Filter, Not, Operator
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.store.scope import Scope
from milvus_tools.transport.requests import (
    Row,
)

MAX_SORTED = 10_000
ID = "id"


@dataclasses.dataclass(frozen=True)
class Order:
    """An order of rows by one field.

    Attributes:
        field: The primary key, a field, or a metadata key. Booleans come before numbers, numbers
            before strings; rows that have neither come last, whichever the direction.
        descending: Whether the greatest come first.
        most: The most rows to sort; Milvus does not sort, so all their keys are read.
    """

    field: str
    descending: bool = False
    most: int = MAX_SORTED

    def __post_init__(self) -> None:
        """Refuse what names no field."""
        if not isinstance(self.field, str):
            raise InvalidInputError("order_by must be the name of a field.")

    def resolved(self, mapper: DocumentMapper) -> "Order":
        """Name the primary key where the Documents' id is meant."""
        named = mapper.schema.primary.name if is_key(self.field, mapper) else self.field
        return dataclasses.replace(self, field=named)

    def page(
        self, rows: Sequence[Row], mapper: DocumentMapper, offset: int, limit: int
    ) -> Sequence[Row]:
        """Sort rows and cut a page out of them.

        Raises:
            InvalidInputError: If there are more rows than are sorted.
        """
        if len(rows) > self.most:
            raise InvalidInputError(
                f"Up to {self.most} entities are sorted, and the filter matches more: narrow it, "
                "or leave the order out."
            )
        return self._sorted(rows, mapper)[offset : offset + limit]

    def _sorted(self, rows: Sequence[Row], mapper: DocumentMapper) -> list[Row]:
        primary = mapper.schema.primary.name
        ranked: list[tuple[tuple[int, Any], Row]] = []
        last: list[Row] = []
        for row in sorted(rows, key=lambda row: row[primary]):
            rank = _rank(mapper.value(row, self.field))
            if rank is None:
                last.append(row)
            else:
                ranked.append((rank, row))
        ranked.sort(key=lambda pair: pair[0], reverse=self.descending)
        return [row for _, row in ranked] + last


def _rank(value: object) -> tuple[int, Any] | None:
    match value:
        case bool():
            return (0, value)
        case int() | float():
            return (1, value)
        case str():
            return (2, value)
    return None


def is_key(name: str, mapper: DocumentMapper) -> bool:
    """Tell whether a name means the Documents' id."""
    schema = mapper.schema
    return name == schema.primary.name or (name == ID and name not in schema.scalars)


def with_keys(filter_: Filter, mapper: DocumentMapper, scope: Scope) -> Filter:
    """Let conditions on the id, or on the primary key, compare with what is stored as the key.

    Raises:
        InvalidInputError: If an id does not fit the keys.
    """
    primary = mapper.schema.primary.name

    def change(condition: Condition) -> Condition:
        if not is_key(condition.field, mapper):
            return condition
        value = condition.value
        if condition.operator is not Operator.EXISTS:
            several = isinstance(value, list | tuple)
            keys = [mapper.key(one, scope) for one in (value if several else [value])]
            value = keys if several else keys[0]
        return dataclasses.replace(condition, field=primary, value=value)

    return _changed(filter_, change)


def _changed(filter_: Filter, change: Callable[[Condition], Condition]) -> Filter:
    match filter_:
        case Condition():
            return change(filter_)
        case Not(inner):
            return Not(_changed(inner, change))
        case All(filters):
            return All([_changed(one, change) for one in filters])
        case Any_(filters):
            return Any_([_changed(one, change) for one in filters])
