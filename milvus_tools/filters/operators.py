"""Single conditions as Milvus filter expressions: one function for each operator.

The grammar is described at <https://milvus.io/docs/boolean.md>. Milvus Lite and the server differ
on rows without the field, on the left side of `in`, on the patterns of `like`, and on whether
`true` equals `1`. The expressions written here mean the same on both. Each function writes a
condition, or its negation, that finds exactly the rows that the condition finds in Python.
"""

import operator as op
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters.conditions import FieldType, Operator
from milvus_tools.filters.fields import Target
from milvus_tools.filters.literals import MAX_WILDCARDS, Scalar, all_of, any_of, literal
from milvus_tools.filters.operands import fitting, several, text, two

_ASTERISKS: Final = re.compile(r"\*+")
_ORDERS: Final = {
    Operator.GT: (">", op.gt),
    Operator.GTE: (">=", op.ge),
    Operator.LT: ("<", op.lt),
    Operator.LTE: ("<=", op.le),
}
_OPPOSITES: Final = {
    Operator.GT: Operator.LTE,
    Operator.GTE: Operator.LT,
    Operator.LT: Operator.GTE,
    Operator.LTE: Operator.GT,
}


def _or_negated(found: str, target: Target, *, negated: bool) -> str:
    return any_of([f"not ({found})", target.unknown]) if negated else found


def _equal(target: Target, value: Any, negated: bool) -> str:
    return _in(target, [value], negated)


def _in(target: Target, value: Any, negated: bool) -> str:
    values = _twins([fitting(one, target) for one in several(value)], target)
    equal = any_of(_member(group, target) for group in _groups(values, target))
    return _or_negated(equal, target, negated=negated)


def _groups(values: Iterable[Scalar], target: Target) -> Iterable[Sequence[Scalar]]:
    """Group values so that one `in`, or one `==`, can hold each group.

    Milvus Lite refuses a quoted key on the left of `in` (T55), and fails if a row has a list under
    the key. The server accepts values of one type only, and is slow with many `==`.
    """
    if target.field is None and target.lite:
        return [[value] for value in values]
    groups: dict[type, list[Scalar]] = {}
    for value in values:
        groups.setdefault(type(value), []).append(value)
    return groups.values()


def _member(values: Sequence[Scalar], target: Target) -> str:
    if len(values) == 1:
        return f"{target.reference} == {literal(values[0])}"
    return f"{target.reference} in {_list(values)}"


def _twins(values: Iterable[Scalar], target: Target) -> list[Scalar]:
    """Add `True` to 1 and `False` to 0, and the reverse, if the field can hold either.

    Milvus Lite compares them as equal by itself.
    """
    found: dict[str, Scalar] = {}
    may_be_flag = _may_be_flag(target)
    for value in values:
        twins = (int(value), bool(value)) if may_be_flag and value in (0, 1) else (value,)
        found.update((literal(twin), twin) for twin in twins)
    return list(found.values())


def _order(operator: Operator) -> Callable[[Target, Any, bool], str]:
    def write(target: Target, value: Any, negated: bool) -> str:
        return _range([(operator, fitting(value, target))], target, negated)

    return write


def _between(target: Target, value: Any, negated: bool) -> str:
    low, high = (fitting(bound, target) for bound in two(value))
    if isinstance(low, str) != isinstance(high, str):
        raise FilterError("The operator between takes two strings or two numbers.")
    return _range([(Operator.GTE, low), (Operator.LTE, high)], target, negated)


def _prefix(target: Target, value: Any, negated: bool) -> str:
    return _beginning(text(value, "prefix"), target, negated)


def _beginning(beginning: str, target: Target, negated: bool) -> str:
    # A range, because the server can't escape a percent sign in `like` (T53).
    end = _after(beginning)
    bounds = [(Operator.GTE, beginning), *([] if end is None else [(Operator.LT, end)])]
    return _range(bounds, target, negated)


def _after(prefix: str) -> str | None:
    """Return the first string that sorts after all strings with the prefix, or `None`."""
    kept = prefix.rstrip("\U0010ffff")  # no code point follows the last one
    if not kept:
        return None
    # UTF-8 can't hold the surrogates between U+D7FF and U+E000.
    following = 0xE000 if kept[-1] == "\ud7ff" else ord(kept[-1]) + 1
    return kept[:-1] + chr(following)


def _range(bounds: Iterable[tuple[Operator, Scalar]], target: Target, negated: bool) -> str:
    """Write that all bounds hold, or, if negated, that one does not.

    A value that can't be compared with the bounds matches neither.
    """
    if not negated:
        return all_of(_bound(operator, bound, target) for operator, bound in bounds)
    outside = [_bound(_OPPOSITES[operator], bound, target) for operator, bound in bounds]
    return any_of([*outside, target.absent])


def _bound(operator: Operator, bound: Scalar, target: Target) -> str:
    if isinstance(bound, str):
        return f"{target.reference} {_ORDERS[operator][0]} {literal(bound)}"
    sign, holds = _ORDERS[operator]
    twins = [flag for flag in (False, True) if _may_be_flag(target) and holds(flag, bound)]
    # `+ 0` turns `True` into 1: the guard refuses an order of booleans.
    ordered = f"{target.reference} {sign} {literal(bound + 0)}"
    return any_of([ordered, *(f"{target.reference} == {literal(twin)}" for twin in twins)])


def _may_be_flag(target: Target) -> bool:
    """Tell whether a boolean must be written beside a number; Milvus Lite compares them itself."""
    return target.type is FieldType.ANY and not target.lite


def _like(target: Target, value: Any, negated: bool) -> str:
    if not target.lite:
        raise UnsupportedError(
            "This Milvus does not support like; use prefix, or search for the text itself."
        )
    first, *rest = _ASTERISKS.split(text(value, "like"))
    if not rest:
        return _range([(Operator.GTE, first), (Operator.LTE, first)], target, negated)
    if rest == [""]:
        return _beginning(first, target, negated)
    if len(rest) > MAX_WILDCARDS or any(character in value for character in "%_\\"):
        # Of the two evaluators of Milvus Lite, only one reads a backslash as an escape.
        raise UnsupportedError(
            f"Milvus Lite supports like with at most {MAX_WILDCARDS} asterisks, and with %, _ or "
            "\\ only if the one asterisk is at the end."
        )
    return _pattern("%".join([first, *rest]), target, negated)


def _pattern(pattern: str, target: Target, negated: bool) -> str:
    matching = [f"{target.reference} like {literal(pattern)}"]
    # One of the evaluators of Milvus Lite ignores a line break at the end of a text.
    if not pattern.endswith("%"):
        broken = literal(pattern + "\n")
        matching.append(f"not ({target.reference} like {broken})")
    if not negated:
        return all_of(matching)
    is_text = f'{target.reference} >= ""' if target.field is None else ""
    return any_of([all_of([is_text, f"not ({all_of(matching)})"]), target.absent])


def _contains(target: Target, value: Any, negated: bool) -> str:
    return _contains_any(target, [value], negated)


def _contains_any(target: Target, value: Any, negated: bool) -> str:
    items = _twins([fitting(item, target) for item in several(value)], target)
    if target.field is not None:
        found = f"array_contains_any({target.reference}, {_list(items)})"
    elif target.lite:
        found = _contains_on_lite(target, items)
    else:
        # The server finds 1.0 in a row's [1], but not 1 in a row's [1.0].
        items = [_as_float(item) for item in items]
        found = f"json_contains_any({target.reference}, {_list(items)})"
    return _or_negated(found, target, negated=negated)


def _list(items: Iterable[Scalar]) -> str:
    # A list even of one item, because Milvus Lite refuses a single negative number.
    return f"[{', '.join(map(literal, items))}]"


def _as_float(item: Scalar) -> Scalar:
    exact = isinstance(item, int) and not isinstance(item, bool) and abs(item) <= 2**53
    return float(item) if exact else item


def _contains_on_lite(target: Target, items: Iterable[Scalar]) -> str:
    if target.reference.startswith("$"):
        raise UnsupportedError(
            f"Milvus Lite can't search a list under the key {target.name!r}. It can if the key "
            "has only letters, digits and underscores."
        )
    # Milvus Lite also finds items in a string that looks like a list; `like` excludes strings.
    found = f"json_contains_any({target.reference}, {_list(items)})"
    return all_of([found, f'not ({target.reference} like "%")'])


WRITERS: Final[Mapping[Operator, Callable[[Target, Any, bool], str]]] = {
    Operator.EQ: _equal,
    Operator.IN: _in,
    **{operator: _order(operator) for operator in _ORDERS},
    Operator.BETWEEN: _between,
    Operator.PREFIX: _prefix,
    Operator.LIKE: _like,
    Operator.CONTAINS: _contains,
    Operator.CONTAINS_ANY: _contains_any,
}
