"""Typed conditions as Milvus expressions, for Milvus Lite and for the server.

See <https://milvus.io/docs/boolean.md>. The two differ in what a row without a field answers, in
what they take on the left of `in`, and in the patterns of `like`; what is written here means the
same on both.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from milvus_tools.conditions.fields import Fields, Target
from milvus_tools.conditions.model import (
    MAX_VALUES,
    All,
    Any_,
    Condition,
    FieldType,
    Filter,
    Not,
    Operator,
    require_bounds,
)
from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters import (
    INT64_MAX,
    Scalar,
    all_of,
    any_of,
    literal,
)

_COMPARISONS: Final = {
    Operator.EQ: "==",
    Operator.NE: "==",  # and negated
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}
_NEGATED: Final = {Operator.NE, Operator.NOT_IN}
_ORDERED: Final = {Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN}
_EQUAL: Final = {Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.EXISTS}
_TEXT: Final = {Operator.PREFIX, Operator.LIKE}
_LISTS: Final = {Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.EXISTS}
_ITEMS: Final = {
    FieldType.STRINGS: FieldType.STRING,
    FieldType.INTEGERS: FieldType.INTEGER,
    FieldType.NUMBERS: FieldType.NUMBER,
}
OPERATORS: Final[Mapping[FieldType, frozenset[Operator]]] = {
    FieldType.STRING: frozenset(_EQUAL | _ORDERED | _TEXT),
    FieldType.INTEGER: frozenset(_EQUAL | _ORDERED),
    FieldType.NUMBER: frozenset(_EQUAL | _ORDERED),
    FieldType.BOOLEAN: frozenset(_EQUAL),
    FieldType.STRINGS: frozenset(_LISTS),
    FieldType.INTEGERS: frozenset(_LISTS),
    FieldType.NUMBERS: frozenset(_LISTS),
    FieldType.ANY: frozenset(Operator),
}


def expression(filter_: Filter, fields: Fields) -> str:
    """Write a filter as a Milvus expression.

    Args:
        filter_: The filter.
        fields: The fields that it may name, and the kind of Milvus that reads it.

    Returns:
        The expression.

    Raises:
        FilterError: If a field, an operator or a value does not fit; the message says what does.
        UnsupportedError: If this Milvus can't answer it.
    """
    require_bounds(filter_)
    return _written(filter_, fields, negated=False)


def _written(filter_: Filter, fields: Fields, *, negated: bool) -> str:
    """Push negations down to the conditions, where a missing field can be told apart."""
    match filter_:
        case Condition():
            return _condition(filter_, fields.target(filter_.field), negated=negated)
        case Not(inner):
            return _written(inner, fields, negated=not negated)
        case All(filters) | Any_(filters):
            parts = [_written(part, fields, negated=negated) for part in filters]
            return all_of(parts) if isinstance(filter_, All) != negated else any_of(parts)


def _condition(condition: Condition, target: Target, *, negated: bool) -> str:
    operator = _operator(condition.operator, target)
    if operator is Operator.EXISTS:
        wanted = _flag(condition) != negated
        return target.present if wanted else target.absent or f"not ({target.present})"
    negated ^= operator in _NEGATED
    positive = _EXPRESSIONS[operator](target, condition.value)
    return any_of([f"not ({positive})", target.absent]) if negated else positive


def _operator(operator: Operator, target: Target) -> Operator:
    if operator in OPERATORS[target.type]:
        return Operator(operator)
    known = ", ".join(sorted(OPERATORS[target.type]))
    raise FilterError(
        f"The field {target.name!r} is a {target.type}; its operators are {known}, "
        f"not {operator!r}."
    )


def _flag(condition: Condition) -> bool:
    if not isinstance(condition.value, bool):
        raise FilterError("The operator exists takes true or false.")
    return condition.value


def _comparison(operator: Operator) -> Callable[[Target, Any], str]:
    def write(target: Target, value: Any) -> str:
        return f"{target.reference} {_COMPARISONS[operator]} {_literal(value, target)}"

    return write


def _in(target: Target, value: Any) -> str:
    # Ored equalities: Milvus Lite takes no quoted key on the left of `in`.
    return any_of(f"{target.reference} == {_literal(one, target)}" for one in _values(value))


def _between(target: Target, value: Any) -> str:
    bounds = _values(value)
    if len(bounds) != 2:  # noqa: PLR2004
        raise FilterError("The operator between takes a list of two values, both included.")
    low, high = (_literal(bound, target) for bound in bounds)
    return all_of([f"{target.reference} >= {low}", f"{target.reference} <= {high}"])


def _prefix(target: Target, value: Any) -> str:
    # A range rather than `like`, in which no server can escape a percent sign.
    text = _text(value, "prefix")
    bounds = [f"{target.reference} >= {literal(text)}"]
    end = _after(text)
    if end is not None:
        bounds.append(f"{target.reference} < {literal(end)}")
    return all_of(bounds)


def _after(prefix: str) -> str | None:
    """Return the first string behind all that begin with the prefix, if there is one."""
    for length in range(len(prefix), 0, -1):
        point = ord(prefix[length - 1])
        if point < 0x10FFFF:  # noqa: PLR2004 - the last code point
            following = 0xE000 if point == 0xD7FF else point + 1  # noqa: PLR2004 - surrogates
            return prefix[: length - 1] + chr(following)
    return None


def _like(target: Target, value: Any) -> str:
    if not target.lite:
        raise UnsupportedError(
            "This Milvus can't answer like; use prefix, or search for the text itself."
        )
    pieces = _text(value, "like").split("*")
    escaped = (
        piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for piece in pieces
    )
    return f"{target.reference} like {literal('%'.join(escaped))}"


def _contains(target: Target, value: Any) -> str:
    return _contains_any(target, [value])


def _contains_any(target: Target, value: Any) -> str:
    if target.lite and target.dynamic and target.reference != target.name:
        raise UnsupportedError(
            f"Milvus Lite can't look into a list under the key {target.name!r}; only under keys "
            "of letters, digits and underscores."
        )
    items = [_literal(item, target) for item in _values(value)]
    # A list, since Milvus Lite takes no negative number alone.
    return f"json_contains_any({target.reference}, [{', '.join(items)}])"


_EXPRESSIONS: Final[Mapping[Operator, Callable[[Target, Any], str]]] = {
    **{operator: _comparison(operator) for operator in _COMPARISONS},
    Operator.IN: _in,
    Operator.NOT_IN: _in,
    Operator.BETWEEN: _between,
    Operator.PREFIX: _prefix,
    Operator.LIKE: _like,
    Operator.CONTAINS: _contains,
    Operator.CONTAINS_ANY: _contains_any,
}


def _values(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise FilterError("The operator takes a list with at least one value.")
    if len(value) > MAX_VALUES:
        raise FilterError(f"A list of values may have {MAX_VALUES} values, not more.")
    return list(value)


def _text(value: Any, operator: str) -> str:
    if not isinstance(value, str):
        raise FilterError(f"The operator {operator} takes a string.")
    return value


def _literal(value: Any, target: Target) -> str:
    type_ = _ITEMS.get(target.type, target.type)
    return literal(_fitting(value, type_, target.name))


def _fitting(value: Any, type_: FieldType, name: str) -> Scalar:
    if isinstance(value, dt.date):  # a datetime is one, too
        value = value.isoformat()
    if type_ is FieldType.INTEGER and isinstance(value, float) and value.is_integer():
        value = int(value)
    kinds: Mapping[FieldType, tuple[type, ...]] = {
        FieldType.STRING: (str,),
        FieldType.INTEGER: (int,),
        FieldType.NUMBER: (int, float),
        FieldType.BOOLEAN: (bool,),
        FieldType.ANY: (str, int, float, bool),
    }
    fits = isinstance(value, kinds[type_]) and (
        not isinstance(value, bool) or bool in kinds[type_]
    )
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise FilterError(
            f"The field {name!r} is compared with a {type_}, not with {_shown(value)}."
        )
    if isinstance(value, int) and abs(value) > INT64_MAX:
        raise FilterError(f"The value for {name!r} must fit into 64 bits.")
    return value  # type: ignore[no-any-return]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004
