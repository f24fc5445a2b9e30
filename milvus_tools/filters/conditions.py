"""Typed conditions: filters that a model or a form fills in.

A condition names a field, an operator and a value; conditions are joined by all, any and not. They
mean what they mean in Python, on Milvus Lite and on the server alike:

- A row without the field matches `ne`, `not_in` and whatever else is negated, and nothing else. A
  null, or `None` in a Document's metadata, is as good as no field.
- What can't be compared, as a text with a number, is not equal, and in no order: it matches `ne`
  and `not_in`, and neither `gt` nor its negation.
- Where any scalar may be, `True` is 1 and `False` is 0.
"""

import dataclasses
import difflib
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from milvus_tools._text import listed, named, quoted, shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.literals import MAX_EXPRESSION

MAX_DEPTH: Final = 4
MAX_VALUES: Final = 1_000
MAX_CONDITIONS: Final = 100
MAX_ALL_VALUES: Final = MAX_EXPRESSION // 3  # a digit, a comma and a space are the least
MAX_KEYS: Final = 3
_MEAN_CHARS: Final = 4  # of a number
MAX_HINT_CHARS: Final = 100  # what is longer is no misspelled name

_FORM: Final = (
    'A condition is {"field": …, "operator": …, "value": …}; groups are {"all": […]}, '
    '{"any": […]} and {"not": …}.'
)
_EMPTY: Final = "A group of filters needs at least one filter in it."


class Operator(enum.StrEnum):
    """What a condition compares with."""

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
    """What a field holds, as far as filters go."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRINGS = "list of strings"
    INTEGERS = "list of integers"
    NUMBERS = "list of numbers"
    BOOLEANS = "list of booleans"
    ANY = "any"


@dataclasses.dataclass(frozen=True)
class Condition:
    """One comparison.

    Attributes:
        field: The field's name.
        operator: The operator.
        value: What to compare with: a scalar; a list for `in`, `not_in`, `contains_any` and
            `between` (two values, both included); whether for `exists`.
    """

    field: str
    operator: Operator
    value: Any = True


@dataclasses.dataclass(frozen=True)
class All:
    """All of some filters hold."""

    filters: Sequence["Filter"]


@dataclasses.dataclass(frozen=True)
class Any_:  # noqa: N801 - typing has the name without the underscore
    """One of some filters holds, or several."""

    filters: Sequence["Filter"]


@dataclasses.dataclass(frozen=True)
class Not:
    """A filter does not hold."""

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
    """Read a filter as JSON has it.

    Args:
        data: `{"field": …, "operator": …, "value": …}`, `{"all": […]}`, `{"any": […]}`,
            `{"not": …}`, or a list, which means all of it.

    Returns:
        The filter.

    Raises:
        FilterError: If it has another form, an unknown operator, or is too deep or too long.
    """
    filter_ = _parsed(data, iter(range(MAX_CONDITIONS)))
    require_bounds(filter_)
    return filter_


def _parsed(data: Any, room: Iterator[int], depth: int = 0) -> Filter:
    """Read a filter, no further than there is room for conditions."""
    if depth > MAX_DEPTH + 1:  # one more than may be, for the sentence that says so
        raise FilterError(f"A filter may nest {MAX_DEPTH} levels deep, not deeper.")
    match data:
        case Condition() | All() | Any_() | Not():
            for _ in _conditions(data, depth):
                _take(room)
            return data
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
    raise FilterError(_no_condition(data))


def _no_condition(data: Any) -> str:
    """Say what form a filter has, with the field that seems to be meant."""
    match data:
        case {**fields} if len(fields) == 1 and isinstance(field := next(iter(fields)), str):
            meant = f'{{"field": {quoted(field)}, "operator": "eq", "value": …}}'
            return f"A filter by {quoted(field)} is {meant}. {_FORM}"
    return _FORM


def _all_parsed(parts: Sequence[Any], room: Iterator[int], depth: int) -> list[Filter]:
    if not parts:
        raise FilterError(_EMPTY)
    return [_parsed(part, room, depth + 1) for part in parts]


def _take(room: Iterator[int]) -> None:
    if next(room, None) is None:
        raise FilterError(f"A filter may have {MAX_CONDITIONS} conditions, not more.")


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
    """Say a filter in words, for people who are to confirm or understand it."""
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
        case list() | tuple():
            said = listed(condition.value)
        case _:
            said = quoted(condition.value)
    return f"{name} {phrase.replace('from {} to {}', 'between {}').format(said)}"


def require_bounds(filter_: Filter) -> None:
    """Refuse a filter that is too deep, too long, empty or none, before all of it is read."""
    room = iter(range(MAX_CONDITIONS))
    values = 0
    for condition in _conditions(filter_):
        _take(room)
        values += len(condition.value) if isinstance(condition.value, list | tuple) else 1
        if values > MAX_ALL_VALUES:
            raise FilterError(f"A filter may have {MAX_ALL_VALUES} values in all, not more.")


def size(filter_: Filter) -> int:
    """Estimate how many characters a filter that is within bounds has as an expression."""
    return sum(_size(condition.value) for condition in _conditions(filter_))


def _size(value: Any) -> int:
    values = value if isinstance(value, list | tuple) else [value]
    return sum(len(one) if isinstance(one, str) else _MEAN_CHARS for one in values)


def _conditions(filter_: Filter, depth: int = 0) -> Iterator[Condition]:
    if depth > MAX_DEPTH:
        raise FilterError(f"A filter may nest {MAX_DEPTH} levels deep, not deeper.")
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
