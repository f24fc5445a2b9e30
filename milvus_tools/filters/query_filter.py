"""The filter of a call: its arguments `filter` and `expr`, read before the schema is known."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import FieldType, Filter, parse, size
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import all_of
from milvus_tools.filters.names import path_of


@dataclasses.dataclass(frozen=True, init=False)
class TypedFilter:
    """Typed conditions, with the dynamic keys that they may name.

    Example:
        ```python
        since = {"field": "year", "operator": "gte", "value": 2000}
        recent = TypedFilter(since, {"year": "integer"}, allow_dynamic=False)
        await store.asimilarity_search("kites", filter=recent)
        ```

    Attributes:
        conditions: The conditions, within bounds.
        fields: Metadata keys, or paths of keys, with the types of their values.
        allow_dynamic: Whether conditions may also name other metadata keys, and compare them with
            any scalar.
    """

    conditions: Filter
    fields: Mapping[str, FieldType]
    allow_dynamic: bool

    def __init__(
        self,
        conditions: Any,
        fields: Mapping[str, FieldType | str] | None = None,
        *,
        allow_dynamic: bool = True,
    ) -> None:
        """Read the conditions.

        Args:
            conditions: Conditions, or a form that `parse` reads.
            fields: Metadata keys, or paths of keys, with the types of their values:
                `{"year": "integer", "specs.screen": "string"}`.
            allow_dynamic: Whether conditions may also name other metadata keys.

        Raises:
            FilterError: If the conditions have another form or an unknown operator, or are too
                deep or too long, or if a type is unknown.
        """
        # The attributes differ from the arguments, and a frozen class has no other assignment.
        object.__setattr__(self, "conditions", parse(conditions))
        object.__setattr__(self, "fields", _types(fields))
        object.__setattr__(self, "allow_dynamic", allow_dynamic)


def _types(fields: object) -> dict[str, FieldType]:
    if not isinstance(fields, Mapping | None):
        raise FilterError("fields must be a dictionary from keys to their types.")
    try:
        types = {name: FieldType(type_) for name, type_ in (fields or {}).items()}
    except ValueError as error:
        raise FilterError(f"The types of fields are {', '.join(FieldType)}.") from error
    for name in types:
        path_of(name)  # raises if it is no name
    return types


@dataclasses.dataclass(frozen=True, slots=True)
class QueryFilter:
    """The whole filter of a call, read by `read` and within bounds.

    The store writes it as one expression as soon as it knows the collection's schema.

    Attributes:
        typed: Typed conditions, which must all hold.
        raw: A raw expression that `checked` returned; `""` for none.
    """

    typed: tuple[TypedFilter, ...] = ()
    raw: str = ""

    @classmethod
    def read(cls, filter_: "FilterLike", expr: str | None = None) -> Self:
        """Read the arguments `filter` and `expr` of a call, which must both hold.

        Args:
            filter_: A condition, a list of conditions that must all hold, a group of them, a
                `TypedFilter`, or a raw expression.
            expr: A raw expression.

        Raises:
            FilterError: If one of them is malformed, out of bounds, or not safe to join with
                others.
        """
        raw = checked(expr)
        match filter_:
            case None:
                return cls((), raw)
            case QueryFilter():
                return cls(filter_.typed, all_of([filter_.raw, raw]))
            case TypedFilter():
                return cls((filter_,), raw)
            case str():
                return cls((), all_of([checked(filter_), raw]))
        return cls((TypedFilter(filter_),), raw)

    def __bool__(self) -> bool:
        """Tell whether the filter has any condition."""
        return bool(self.typed or self.raw)

    def __and__(self, other: "QueryFilter") -> "QueryFilter":
        """Join two filters, which must both hold."""
        return QueryFilter(self.typed + other.typed, all_of([self.raw, other.raw]))

    @property
    def size(self) -> int:
        """The approximate number of characters of the typed conditions' expression."""
        return sum(size(one.conditions) for one in self.typed)


FilterLike = Filter | TypedFilter | QueryFilter | Mapping[str, Any] | Sequence[Any] | str | None
