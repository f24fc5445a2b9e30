"""Typed conditions: filters that a model or a form fills in.

A condition has a field, an operator and a value; `all`, `any` and `not` combine conditions. A
filter finds the rows that Python would find, on Milvus Lite and on the server alike:

- A row without the field matches `ne`, `not_in` and every other negation, and nothing else. A
  null, and `None` in a Document's metadata, count as a missing field.
- Values that can't be compared, such as a string and a number, are not equal and have no order:
  they match `ne` and `not_in`, but neither `gt` nor its negation.
- In a field that can hold any scalar, `True` equals 1 and `False` equals 0.
"""

import dataclasses
import difflib
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from milvus_tools._text import listed, named, quoted, shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.literals import MAX_EXPRESSION

# Models and forms send filters: these bounds keep the work of reading and writing them short.
MAX_DEPTH: Final = 4
MAX_CONDITIONS: Final = 100
MAX_ALL_VALUES: Final = MAX_EXPRESSION // 3  # each takes a digit, a comma and a space at least
MAX_KEYS: Final = 3
_MEAN_CHARS: Final = 4  # of a number
# A longer name is not a misspelled one, and `difflib` would take long to compare it.
MAX_HINT_CHARS: Final = 100

_FORM: Final = (
    'A condition is {"field": …, "operator": …, "value": …}; groups are {"all": […]}, '
    '{"any": […]} and {"not": …}.'
)
_TOO_DEEP: Final = f"A filter can nest at most {MAX_DEPTH} levels deep."
_EMPTY: Final = "A group of filters needs at least one filter."


class Operator(enum.StrEnum):
    """The operators of conditions."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"
    BETWEEN = "between"
    PREFIX = "prefix"
    LIKE = "like"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    EXISTS = "exists"


class FieldType(enum.StrEnum):
    """The types of fields that filters distinguish.

    A `datetime` is a date or a time, held as text in ISO 8601: `2024-01-31`, or with a time zone
    in UTC, `2024-01-31T12:00:00+00:00`, as the store writes Python's dates and datetimes. Values
    to compare with may be text too, in any time zone.
    """

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    STRINGS = "list of strings"
    INTEGERS = "list of integers"
    NUMBERS = "list of numbers"
    BOOLEANS = "list of booleans"
    ANY = "any"


@dataclasses.dataclass(frozen=True)
class Condition:
    """A comparison of one field.

    Attributes:
        field: The field's name.
        operator: The operator.
        value: The value to compare with. A list for `in`, `not_in`, `contains_any` and `between`
            (two values, both included); a boolean for `exists`; a scalar for the others. A date
            or a datetime is compared as the store writes it; a date means its whole day in `lt`,
            `lte`, `gt`, `gte` and `between`.
    """

    field: str
    operator: Operator
    value: Any = True  # the default is for `exists`


@dataclasses.dataclass(frozen=True)
class All:
    """A group of filters that must all hold."""

    filters: Sequence["Filter"]


@dataclasses.dataclass(frozen=True)
class Any_:  # noqa: N801 - typing has the name without the underscore
    """A group of filters of which at least one must hold."""

    filters: Sequence["Filter"]


@dataclasses.dataclass(frozen=True)
class Not:
    """The negation of a filter."""

    filter: "Filter"


Filter = Condition | All | Any_ | Not

_PHRASES: Final = {
    Operator.EQ: "is {}",
    Operator.NE: "is not {}",
    Operator.GT: "is more than {}",
    Operator.GTE: "is at least {}",
    Operator.LT: "is less than {}",
    Operator.LTE: "is at most {}",
    Operator.IN: "is one of {}",
    Operator.NOT_IN: "is none of {}",
    Operator.BETWEEN: "is from {} to {}",
    Operator.PREFIX: "begins with {}",
    Operator.LIKE: "matches {}",
    Operator.CONTAINS: "contains {}",
    Operator.CONTAINS_ANY: "contains one of {}",
}


def parse(data: Any) -> Filter:
    """Read a filter from its JSON form.

    Args:
        data: `{"field": …, "operator": …, "value": …}`, `{"all": […]}`, `{"any": […]}`,
            `{"not": …}`, or a list of filters that must all hold.

    Returns:
        The filter.

    Raises:
        FilterError: If the filter has another form or an unknown operator, or is too deep or too
            long.
    """
    filter_ = _parsed(data, iter(range(MAX_CONDITIONS)))
    require_bounds(filter_)
    return filter_


def _parsed(data: Any, room: Iterator[int], depth: int = 0) -> Filter:
    """Read a filter, and stop at the first condition for which there is no room."""
    # One level more than allowed is read; `require_bounds` refuses it with the same message.
    if depth > MAX_DEPTH + 1:
        raise FilterError(_TOO_DEEP)
    match data:
        case Condition() | All() | Any_() | Not():
            for _ in _conditions(data, depth):
                _take(room)
            return data
        # Before the patterns with `**rest`, which copy the mapping, however large it is.
        case Mapping() if len(data) > MAX_KEYS:
            raise FilterError(_FORM)
        case list(parts):
            return All(_all_parsed(parts, room, depth))
        case {"all": list(parts), **rest} if not rest:
            return All(_all_parsed(parts, room, depth))
        case {"any": list(parts), **rest} if not rest:
            return Any_(_all_parsed(parts, room, depth))
        case {"not": inner, **rest} if not rest:
            return Not(_parsed(inner, room, depth + 1))
        case {"field": str(field), "operator": str(operator), **rest} if not rest.keys() - {
            "value"
        }:
            _take(room)
            return Condition(field, _known(operator), **_value(operator, rest))
    raise FilterError(_wrong_form(data))


def _wrong_form(data: Any) -> str:
    """Return a message with the form of a filter, for the field that was meant if there is one."""
    match data:
        case {**fields} if len(fields) == 1 and isinstance(field := next(iter(fields)), str):
            meant = f'{{"field": {quoted(field)}, "operator": "eq", "value": …}}'
            return f"To filter by {quoted(field)}, write {meant}. {_FORM}"
    return _FORM


def _all_parsed(parts: Sequence[Any], room: Iterator[int], depth: int) -> list[Filter]:
    if not parts:
        raise FilterError(_EMPTY)
    return [_parsed(part, room, depth + 1) for part in parts]


def _take(room: Iterator[int]) -> None:
    if next(room, None) is None:
        raise FilterError(f"A filter can have at most {MAX_CONDITIONS} conditions.")


def _known(operator: str) -> Operator:
    try:
        return Operator(operator)
    except ValueError as error:
        near = difflib.get_close_matches(operator[:MAX_HINT_CHARS], list(Operator), n=1)
        hint = f" Did you mean {str(near[0])!r}?" if near else ""
        raise FilterError(
            f"There is no operator {shown(operator)}; there are {', '.join(Operator)}.{hint}"
        ) from error


def _value(operator: str, rest: Mapping[Any, Any]) -> dict[str, Any]:
    if "value" not in rest and operator != Operator.EXISTS:
        raise FilterError(f"The operator {operator} needs a value.")
    return dict(rest)


def describe(filter_: Filter) -> str:
    """Describe a filter in words, for people who confirm or read it."""
    match filter_:
        case Condition():
            return _described(filter_)
        case Not(inner):
            return f"not ({describe(inner)})"
        case All(parts):
            return " and ".join(map(_in_brackets, parts))
        case Any_(parts):
            return " or ".join(map(_in_brackets, parts))


def _in_brackets(filter_: Filter) -> str:
    group = isinstance(filter_, All | Any_) and len(filter_.filters) > 1
    return f"({describe(filter_)})" if group else describe(filter_)


def _described(condition: Condition) -> str:
    name = named(condition.field)
    if condition.operator is Operator.EXISTS:
        return f"{name} is {'there' if condition.value else 'missing'}"
    phrase = _PHRASES[condition.operator]
    match condition.value:
        case [low, high] if condition.operator is Operator.BETWEEN:
            return f"{name} {phrase.format(quoted(low), quoted(high))}"
        case list() | tuple() | np.ndarray():
            value = listed(values_of(condition.value))
        case _:
            value = quoted(condition.value)
    # A `between` without two values is refused only when the expression is written.
    return f"{name} {phrase.replace('from {} to {}', 'between {}').format(value)}"


def map_conditions(filter_: Filter, change: Callable[[Condition], Filter]) -> Filter:
    """Return a filter with what a function makes of each condition in its place."""
    match filter_:
        case Condition():
            return change(filter_)
        case Not(inner):
            return Not(map_conditions(inner, change))
        case All(parts):
            return All([map_conditions(part, change) for part in parts])
        case Any_(parts):
            return Any_([map_conditions(part, change) for part in parts])


def require_bounds(filter_: Filter) -> None:
    """Refuse what is no filter, or is empty, too deep or too long, without reading all of it."""
    room = iter(range(MAX_CONDITIONS))
    values = 0
    for condition in _conditions(filter_):
        _take(room)
        values += len(values_of(condition.value))
        if values > MAX_ALL_VALUES:
            raise FilterError(f"A filter can have at most {MAX_ALL_VALUES} values in all.")


def size(filter_: Filter) -> int:
    """Estimate the characters of a filter's expression; the filter must be within bounds."""
    return sum(_size(condition.value) for condition in _conditions(filter_))


def _size(value: Any) -> int:
    return sum(len(one) if isinstance(one, str) else _MEAN_CHARS for one in values_of(value))


def values_of(value: Any) -> Sequence[Any]:
    """Return the values of a condition: the items of a list, a tuple or an array, else one."""
    if isinstance(value, list | tuple):
        return value
    return list(value) if isinstance(value, np.ndarray) and value.ndim else [value]


def _conditions(filter_: Filter, depth: int = 0) -> Iterator[Condition]:
    if depth > MAX_DEPTH:
        raise FilterError(_TOO_DEEP)
    match filter_:
        case Condition():
            yield filter_
        case Not():
            yield from _conditions(filter_.filter, depth + 1)
        case All() | Any_() if filter_.filters:
            for part in filter_.filters:
                yield from _conditions(part, depth + 1)
        case All() | Any_():
            raise FilterError(_EMPTY)
        case _:
            raise FilterError(f"A filter is made of conditions, not of {type(filter_).__name__}.")
