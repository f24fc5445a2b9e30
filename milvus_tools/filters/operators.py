"""One condition as a Milvus expression, for each operator.

See <https://milvus.io/docs/boolean.md>. Milvus Lite and the server differ in what a row without a
field answers, in what they take on the left of `in`, in the patterns of `like`, and in whether
`true` is `1`; what is written here means the same on both. Each function writes a condition, or
its negation, for exactly the rows that it finds in Python.
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


def _either(found: str, target: Target, *, negated: bool) -> str:
    return any_of([f"not ({found})", target.unknown]) if negated else found


def _equal(target: Target, value: Any, negated: bool) -> str:
    return _in(target, [value], negated)


def _in(target: Target, value: Any, negated: bool) -> str:
    values = _twins([fitting(one, target) for one in several(value)], target)
    equal = any_of(_member(group, target) for group in _groups(values, target))
    return _either(equal, target, negated=negated)


def _groups(values: Iterable[Scalar], target: Target) -> Iterable[Sequence[Scalar]]:
    """Divide values into what one `in` can hold.

    Milvus Lite takes no quoted key on its left, and fails where a key holds a list; the server
    takes values of one type, and is slow with many `==`.
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
    """Add `true` to 1 and `false` to 0, which are one to Milvus Lite, where either may be."""
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
    # A range rather than `like`, in which no server can escape a percent sign.
    end = _after(beginning)
    bounds = [(Operator.GTE, beginning), *([] if end is None else [(Operator.LT, end)])]
    return _range(bounds, target, negated)


def _after(prefix: str) -> str | None:
    """Return the first string behind all that begin with the prefix, if there is one."""
    kept = prefix.rstrip("\U0010ffff")  # the last code point, which none follows
    if not kept:
        return None
    following = 0xE000 if kept[-1] == "\ud7ff" else ord(kept[-1]) + 1  # but for surrogates
    return kept[:-1] + chr(following)


def _range(bounds: Iterable[tuple[Operator, Scalar]], target: Target, negated: bool) -> str:
    """Write bounds that all hold, or that one does not: what can't be compared is neither."""
    if not negated:
        return all_of(_bound(operator, bound, target) for operator, bound in bounds)
    outside = [_bound(_OPPOSITES[operator], bound, target) for operator, bound in bounds]
    return any_of([*outside, target.absent])


def _bound(operator: Operator, bound: Scalar, target: Target) -> str:
    if isinstance(bound, str):
        return f"{target.reference} {_ORDERS[operator][0]} {literal(bound)}"
    sign, holds = _ORDERS[operator]
    twins = [flag for flag in (False, True) if _may_be_flag(target) and holds(flag, bound)]
    ordered = f"{target.reference} {sign} {literal(bound + 0)}"  # true is 1
    return any_of([ordered, *(f"{target.reference} == {literal(twin)}" for twin in twins)])


def _may_be_flag(target: Target) -> bool:
    """Tell whether booleans are to be taken for numbers, which Milvus Lite does by itself."""
    return target.type is FieldType.ANY and not target.lite


def _like(target: Target, value: Any, negated: bool) -> str:
    if not target.lite:
        raise UnsupportedError(
            "This Milvus can't answer like; use prefix, or search for the text itself."
        )
    first, *rest = _ASTERISKS.split(text(value, "like"))
    if not rest:
        return _range([(Operator.GTE, first), (Operator.LTE, first)], target, negated)
    if rest == [""]:
        return _beginning(first, target, negated)
    if len(rest) > MAX_WILDCARDS or any(character in value for character in "%_\\"):
        # One of its two evaluators takes a backslash for an escape, the other for a backslash.
        raise UnsupportedError(
            f"Milvus Lite answers like with {MAX_WILDCARDS} asterisks at most, and with %, _ or "
            "\\ only if the one asterisk stands at the end."
        )
    return _pattern("%".join([first, *rest]), target, negated)


def _pattern(pattern: str, target: Target, negated: bool) -> str:
    matching = [f"{target.reference} like {literal(pattern)}"]
    if not pattern.endswith("%"):  # one of Lite's evaluators overlooks a line break at the end
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
    else:  # to which 1 is not in [1.0], but 1.0 is in [1]
        items = [_as_float(item) for item in items]
        found = f"json_contains_any({target.reference}, {_list(items)})"
    return _either(found, target, negated=negated)


def _list(items: Iterable[Scalar]) -> str:
    # A list even of one, since Milvus Lite takes no negative number alone.
    return f"[{', '.join(map(literal, items))}]"


def _as_float(item: Scalar) -> Scalar:
    exact = isinstance(item, int) and not isinstance(item, bool) and abs(item) <= 2**53
    return float(item) if exact else item


def _contains_on_lite(target: Target, items: Iterable[Scalar]) -> str:
    if target.reference.startswith("$"):
        raise UnsupportedError(
            f"Milvus Lite can't look into a list under the key {target.name!r}; only under keys "
            "of letters, digits and underscores."
        )
    # It would read a list out of a text, too.
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
