"""Typed conditions as Milvus filter expressions, for Milvus Lite and for the server.

Negations are pushed down to the single conditions, because Milvus Lite and the server disagree on
`not` where a row lacks the field (T54); each operator writes its own negation.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from milvus_tools._text import shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import (
    All,
    Any_,
    Condition,
    FieldType,
    Filter,
    Not,
    Operator,
    require_bounds,
)
from milvus_tools.filters.fields import ITEMS, Fields, Target
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import MAX_FILTER, all_of, any_of
from milvus_tools.filters.operands import flag
from milvus_tools.filters.operators import WRITERS

_NEGATIONS: Final = {Operator.NE: Operator.EQ, Operator.NOT_IN: Operator.IN}
_ORDERED: Final = {Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN}
_EQUAL: Final = {Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.EXISTS}
_TEXT: Final = {Operator.PREFIX, Operator.LIKE}
_LISTS: Final = {Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.EXISTS}
OPERATORS: Final[Mapping[FieldType, frozenset[Operator]]] = {
    FieldType.STRING: frozenset(_EQUAL | _ORDERED | _TEXT),
    FieldType.INTEGER: frozenset(_EQUAL | _ORDERED),
    FieldType.NUMBER: frozenset(_EQUAL | _ORDERED),
    FieldType.BOOLEAN: frozenset(_EQUAL),
    FieldType.DATETIME: frozenset(_EQUAL | _ORDERED),
    **dict.fromkeys(ITEMS, frozenset(_LISTS)),
    FieldType.ANY: frozenset(Operator),
}


def expression(filter_: Filter, fields: Fields) -> str:
    """Write a filter as a Milvus filter expression.

    Args:
        filter_: The filter.
        fields: The fields that the filter may name, and the kind of Milvus that it is for.

    Returns:
        The expression.

    Raises:
        FilterError: If a field, an operator or a value does not fit. The message says what fits.
        UnsupportedError: If this Milvus can't answer the filter.
    """
    require_bounds(filter_)
    return write(filter_, fields)


def write(filter_: Filter, fields: Fields) -> str:
    """Write a filter as `expression` does, without checking its bounds, which must hold."""
    return checked(_written(filter_, fields, negated=False), MAX_FILTER)


def _written(filter_: Filter, fields: Fields, *, negated: bool) -> str:
    """Write a filter, or its negation if `negated`."""
    match filter_:
        case Condition():
            return _condition(filter_, fields.target(filter_.field), negated=negated)
        case Not(inner):
            return _written(inner, fields, negated=not negated)
        case All(filters) | Any_(filters):
            parts = _all_written(filters, fields, negated=negated)
            # By De Morgan's laws, a negated group is the other kind of group of negations.
            return all_of(parts) if isinstance(filter_, All) != negated else any_of(parts)


def _all_written(filters: Sequence[Filter], fields: Fields, *, negated: bool) -> list[str]:
    """Write filters, and stop when they are longer than an expression can be."""
    parts: list[str] = []
    length = 0
    for filter_ in filters:
        parts.append(_written(filter_, fields, negated=negated))
        length += len(parts[-1])
        if length > MAX_FILTER:
            raise FilterError(f"The filter's expression is longer than {MAX_FILTER} characters.")
    return parts


def _condition(condition: Condition, target: Target, *, negated: bool) -> str:
    operator = _operator(condition.operator, target)
    written = _compared(operator, condition, target, negated=negated)
    if not target.outer:
        return written
    # A text is no object, even if it looks like one: the field is missing there.
    is_text = f'{target.outer} like "%"'
    holds_without = negated ^ (operator in _NEGATIONS)
    if operator is Operator.EXISTS:
        holds_without = negated == condition.value
    return any_of([written, is_text]) if holds_without else all_of([written, f"not ({is_text})"])


def _compared(operator: Operator, condition: Condition, target: Target, *, negated: bool) -> str:
    if operator is Operator.EXISTS:
        wanted = flag(condition.value) != negated
        # A field that every row has is missing in no row, so there the presence is negated.
        return target.present if wanted else target.absent or f"not ({target.present})"
    negated ^= operator in _NEGATIONS
    return WRITERS[_NEGATIONS.get(operator, operator)](target, condition.value, negated)


def _operator(operator: Operator, target: Target) -> Operator:
    # A `Condition` that was not parsed can hold anything as its operator.
    if isinstance(operator, str) and operator in OPERATORS[target.type]:
        return Operator(operator)
    known = ", ".join(sorted(OPERATORS[target.type]))
    raise FilterError(
        f"The field {target.name!r} has the type {target.type}; its operators are {known}, "
        f"not {shown(str(operator))}."
    )
