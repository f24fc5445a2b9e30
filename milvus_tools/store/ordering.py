"""Sorting of rows by a field, which Milvus does not do."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from milvus_tools.errors import InvalidInputError
from milvus_tools.store.documents import DocumentMapper
from milvus_tools.transport.requests import Row

MAX_SORTED = 10_000


@dataclasses.dataclass(frozen=True)
class Order:
    """An order of rows by one field.

    Booleans come before numbers, and numbers before strings. Rows with another value, or without
    one, come last in either direction.

    Attributes:
        field: A field of the schema, else a metadata key or a path of keys.
        descending: Whether the greatest values come first.
        most: The most rows that can be sorted. A bound is needed because the sort keys of all
            matching rows are read.
    """

    field: str
    descending: bool = False
    most: int = MAX_SORTED

    def __post_init__(self) -> None:
        """Check the name of the field."""
        if not isinstance(self.field, str):
            raise InvalidInputError("order_by must be the name of a field.")

    def page(
        self, rows: Sequence[Row], mapper: DocumentMapper, offset: int, limit: int
    ) -> Sequence[Row]:
        """Sort rows and return one page of them.

        Raises:
            InvalidInputError: If there are more rows than can be sorted.
        """
        if len(rows) > self.most:
            raise InvalidInputError(
                f"Up to {self.most} entities are sorted, and the filter matches more; narrow the "
                "filter, or leave the order out."
            )
        return self._sorted(rows, mapper)[offset : offset + limit]

    def _sorted(self, rows: Sequence[Row], mapper: DocumentMapper) -> list[Row]:
        primary = mapper.schema.primary.name
        ranked: list[tuple[tuple[int, Any], Row]] = []
        last: list[Row] = []
        place = mapper.place(self.field)
        # By key first: the sort below is stable, so pages of equal values do not overlap.
        for row in sorted(rows, key=lambda row: row[primary]):
            rank = _rank(mapper.value(row, place))
            if rank is None:
                last.append(row)
            else:
                ranked.append((rank, row))
        ranked.sort(key=lambda pair: pair[0], reverse=self.descending)
        return [row for _, row in ranked] + last


def _rank(value: object) -> tuple[int, Any] | None:
    match value:
        case bool():  # before `int`, of which it is a subclass
            return (0, value)
        case int() | float():
            return (1, value)
        case str():
            return (2, value)
    return None
