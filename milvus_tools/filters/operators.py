"""Single conditions as Milvus filter expressions: one function for each operator.

The grammar is described at <https://milvus.io/docs/boolean.md>. Milvus Lite and the server differ
on rows without the field, on the left side of `in`, on the patterns of `like`, and on whether
`true` equals `1`. The expressions written here mean the same on both. Each function writes a
condition, or its negation, that finds exactly the rows that the condition finds in Python.
"""

import math
import operator as op
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters.conditions import FieldType, Operator
from milvus_tools.filters.fields import KINDS, Target
from milvus_tools.filters.literals import (
    INT64_MAX,
    INT64_MIN,
    MAX_WILDCARDS,
    Scalar,
    all_of,
    any_of,
    literal,
)
from milvus_tools.filters.operands import EXACT, fitting, is_whole_day, several, text, two

_MANY: Final = 100
_WHOLE_DAY: Final = {Operator.LTE: Operator.LT, Operator.GT: Operator.GTE}
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


def _or_negated(found: Mapping[str, str], target: Target, *, negated: bool) -> str:
    """Write that a condition holds, or that none does; each is about values of one kind."""
    either = any_of(found.values())
    if not negated:
        return either
    neither = [f"not ({either})", target.unknown]
    if target.field is None and not target.lite:
        neither += _of_other_kinds(found, target)
    return any_of(neither)


def _of_other_kinds(found: Mapping[str, str], target: Target) -> Iterable[str]:
    """Write which rows match no condition because they hold a value of another kind.

    To servers from 2.6.19 on, it is unknown whether a text equals a number: neither a condition
    nor its negation finds the row.
    """
    for kind in KINDS:
        holding = target.of_kind(kind)
        if kind not in found:
            yield from holding
        elif len(found) > 1:
            yield all_of([any_of(holding), f"not ({found[kind]})"])


def _equal(target: Target, value: Any, negated: bool) -> str:
    return _in(target, [value], negated)


def _in(target: Target, value: Any, negated: bool) -> str:
    values = _twins([fitting(one, target) for one in several(value)], target)
    if target.field is None and target.lite and len(values) > _MANY:
        return _or_negated({"": _among(values, target)}, target, negated=negated)
    equal: dict[str, list[str]] = {}
    for group in _groups(values, target):
        equal.setdefault(_kind(group[0]), []).append(_member(group, target))
    found = {kind: any_of(members) for kind, members in equal.items()}
    return _or_negated(found, target, negated=negated)


def _kind(value: Scalar) -> str:
    if isinstance(value, str):
        return "text"
    return "boolean" if isinstance(value, bool) else "number"


def _groups(values: Iterable[Scalar], target: Target) -> Iterable[Sequence[Scalar]]:
    """Group values so that one `in`, or one `==`, can hold each group.

    Milvus Lite refuses a quoted key on the left of `in` (T55), and fails if a row has a list under
    the key. The server accepts values of one type only, and is slow with many `==`.
    """
    if target.field is None and target.lite:
        return [[value] for value in values]
    groups: dict[tuple[type, bool], list[Scalar]] = {}
    for value in values:
        groups.setdefault((type(value), _is_least(value)), []).append(value)
    return groups.values()


def _member(values: Sequence[Scalar], target: Target) -> str:
    # With `==`, the server compares a great integer with a row's float as doubles; `in` is exact.
    exact = target.lite or target.field is not None or not _is_great(values[0])
    if len(values) == 1 and (exact or _is_least(values[0])):
        return f"{target.reference} == {_number(values[0], target)}"
    return f"{target.reference} in {_list(values)}"


def _among(values: Iterable[Scalar], target: Target) -> str:
    """Write that a key has one of many values, for Milvus Lite.

    It compares a row with one value after the other. Ranges around them keep it to some hundreds.
    """
    texts = sorted(value for value in values if isinstance(value, str))
    numbers = sorted(value for value in values if not isinstance(value, str))
    kinds = ((texts, f'{target.reference} like "%"'), (numbers, f"{target.reference} * 0 == 0"))
    return any_of(
        all_of([f"exists {target.key}", kind, any_of(_ranges(some, target))])
        for some, kind in kinds
        if some
    )


def _ranges(values: Sequence[Any], target: Target) -> Iterable[str]:
    size = math.isqrt(len(values)) + 1
    for start in range(0, len(values), size):
        some = values[start : start + size]
        bounds = [(Operator.GTE, some[0]), (Operator.LTE, some[-1])]
        yield all_of(
            [_range(bounds, target, False), any_of(_member([one], target) for one in some)]
        )


def _is_great(value: Scalar) -> bool:
    return isinstance(value, int) and abs(value) > EXACT


def _is_least(value: Scalar) -> bool:
    return isinstance(value, int) and value == INT64_MIN


def _number(value: Scalar, target: Target) -> str:
    if not _is_least(value):
        return literal(value)
    # The server reads the digits without the sign, and 2**63 is too great for it.
    return str(INT64_MIN) if target.lite else f"{INT64_MIN + 1} - 1"


def _twins(values: Iterable[Scalar], target: Target) -> list[Scalar]:
    """Add `True` to 1 and `False` to 0, and the reverse, if the field can hold either.

    Milvus Lite compares them as equal by itself.
    """
    found: dict[tuple[type, Scalar], Scalar] = {}
    may_be_flag = _may_be_flag(target)
    for value in values:
        twins = (int(value), bool(value)) if may_be_flag and value in (0, 1) else (value,)
        found.update(((type(twin), twin), twin) for twin in twins)
    return list(found.values())


def _order(operator: Operator) -> Callable[[Target, Any, bool], str]:
    def write(target: Target, value: Any, negated: bool) -> str:
        return _range([_edge(operator, value, target)], target, negated)

    return write


def _edge(operator: Operator, value: Any, target: Target) -> tuple[Operator, Scalar]:
    """Return a bound; `lte` includes the times of a day, and `gt` excludes them."""
    bound = fitting(value, target)
    if operator in _WHOLE_DAY and isinstance(bound, str) and is_whole_day(value, target):
        return _WHOLE_DAY[operator], _after(bound) or bound
    return operator, bound


def _between(target: Target, value: Any, negated: bool) -> str:
    low, high = two(value)
    bounds = [_edge(Operator.GTE, low, target), _edge(Operator.LTE, high, target)]
    if len({isinstance(bound, str) for _, bound in bounds}) > 1:
        raise FilterError("The operator between takes two strings or two numbers.")
    return _range(bounds, target, negated)


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
    holds = _ORDERS[operator][1]
    twins = [flag for flag in (False, True) if _may_be_flag(target) and holds(flag, bound)]
    if target.field is None and not target.lite and _is_great(bound):
        operator, bound = _beside_double(operator, int(bound))
    # `+ 0` turns `True` into 1: the guard refuses an order of booleans.
    ordered = f"{target.reference} {_ORDERS[operator][0]} {_number(bound + 0, target)}"
    return any_of([ordered, *(f"{target.reference} == {literal(twin)}" for twin in twins)])


def _beside_double(operator: Operator, bound: int) -> tuple[Operator, int]:
    """Return a bound that means the same, and on which the nearest double is on the right side.

    The server compares a bound with a row's float as doubles, and with a row's integer exactly.
    """
    double = int(float(bound))
    if double < bound and operator in (Operator.LT, Operator.GTE):
        return (Operator.LTE if operator is Operator.LT else Operator.GT), bound - 1
    if bound < double and operator in (Operator.GT, Operator.LTE) and bound < INT64_MAX:
        return (Operator.GTE if operator is Operator.GT else Operator.LT), bound + 1
    return operator, bound


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
    if not target.lite and any(map(_is_least, items)):
        raise UnsupportedError("This Milvus can't search a list for -2**63.")
    if target.field is not None:
        found = f"array_contains_any({target.reference}, {_list(items)})"
    elif target.lite:
        found = _contains_on_lite(target, items)
    else:
        # The server finds 1.0 in a row's [1], but not 1 in a row's [1.0].
        items = [_as_float(item) for item in items]
        found = f"json_contains_any({target.reference}, {_list(items)})"
    return _or_negated({"list": found}, target, negated=negated)


def _list(items: Iterable[Scalar]) -> str:
    # A list even of one item, because Milvus Lite refuses a single negative number.
    return f"[{', '.join(str(item) if _is_least(item) else literal(item) for item in items)}]"


def _as_float(item: Scalar) -> Scalar:
    # At 2**53 and beyond, several integers are one double.
    exact = isinstance(item, int) and not isinstance(item, bool) and abs(item) < EXACT
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
