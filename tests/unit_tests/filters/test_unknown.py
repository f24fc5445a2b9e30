"""Typed conditions on servers to which a comparison can be neither true nor false.

Servers from 2.6.19 on take a comparison with a missing key, or with a value of another type, for
unknown, and its negation too (<https://github.com/milvus-io/milvus/issues/50699>). Here Kleene's
logic stands for them, and logic of two values for older ones.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools.filters import Condition, Fields, Filter, Not, Operator, expression
from milvus_tools.schema import Schema
from tests.helpers.filter_oracle import World, holds

Verdict = bool | None
SCHEMA = Schema.from_description(
    {
        "auto_id": False,
        "enable_dynamic_field": True,
        "fields": [{"name": "pk", "type": 21, "is_primary": True, "params": {"max_length": 9}}],
    },
    {},
)
FIELDS = Fields(SCHEMA, allow_dynamic=True)
WORLD = World({}, frozenset(), {})
VALUES: list[Any] = ["", "a", "1", 0, 1, 2.5, -3, True, False, None, ["a"], [1, "a"], [0]]
ROWS: list[dict[str, Any]] = [{}, *({"n": value} for value in VALUES)]
CONDITIONS = [
    *(Condition("n", asked, value) for asked in ("eq", "ne") for value in ("a", 1, 2.5, True)),
    *(Condition("n", asked, [*some]) for asked in ("in", "not_in") for some in ("a", [1, "a"])),
    *(Condition("n", asked, [0, 2.5, False, "x"]) for asked in ("in", "not_in")),
    *(Condition("n", asked, value) for asked in ("gt", "lte") for value in ("a", 1)),
    *(Condition("n", "between", value) for value in (["", "b"], [0, 1.5])),
    *(Condition("n", "exists", value) for value in (True, False)),
    Condition("n", "prefix", "a"),
    Condition("n", "contains", "a"),
    Condition("n", "contains_any", [1, 0]),
]
COMPARES: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, several: value in several,
}


def kind(value: Any) -> type | None:
    """Return the type of values that a value can be compared with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value) if isinstance(value, bool | str | list) else None
    return float


class Server:
    """Evaluates the expressions that typed conditions on the key `n` become."""

    def __init__(self, row: dict[str, Any], *, unknown: Verdict) -> None:
        self.row = row
        self.unknown = unknown

    def finds(self, written: str) -> bool:
        """Tell whether the row is found."""
        code = written.replace('exists $meta["n"]', "exists(n)")
        code = code.replace("true", "True").replace("false", "False")
        return self.verdict(ast.parse(code, mode="eval").body) is True

    def verdict(self, node: ast.expr) -> Verdict:
        """Return what a condition is, in Kleene's logic."""
        match node:
            case ast.BoolOp(op, parts):
                decisive = isinstance(op, ast.Or)
                verdicts = [self.verdict(part) for part in parts]
                undecided = None if None in verdicts else not decisive
                return decisive if decisive in verdicts else undecided
            case ast.UnaryOp(ast.Not(), part):
                verdict = self.verdict(part)
                return None if verdict is None else not verdict
            case ast.Call(ast.Name("exists")):
                # Before 2.5.8, for a null, too.
                return self.row.get("n") is not None or (self.unknown is False and "n" in self.row)
            case ast.Call(ast.Name("json_contains_any"), [_, several]):
                return self.compared(list, lambda items: self.has(items, several))
            case ast.Compare(ast.BinOp()):  # n * 0 == 0
                return self.compared(float, lambda _: True)
            case ast.Compare(_, [asked], [bound]):
                value = ast.literal_eval(bound)
                of = kind(value[0]) if isinstance(asked, ast.In) else kind(value)
                return self.compared(of, lambda one: COMPARES[type(asked)](one, value))
        raise AssertionError(ast.dump(node))

    def compared(self, of: type | None, holds: Callable[[Any], bool]) -> Verdict:
        """Return whether the key's value holds, if it is of a type."""
        value = self.row.get("n")
        return holds(value) if kind(value) is of else self.unknown

    def has(self, items: list[Any], several: ast.expr) -> bool:
        """Tell whether a list has one of several items."""
        wanted = ast.literal_eval(several)
        return any(kind(item) is kind(one) and item == one for item in items for one in wanted)


@pytest.mark.parametrize("unknown", [None, False])
@pytest.mark.parametrize("negated", [False, True])
def test_what_is_unknown_to_a_server_is_found_as_in_python(
    unknown: Verdict, *, negated: bool
) -> None:
    """`ne`, `not_in`, `exists` and all negations find what has another type, or nothing."""
    for condition in CONDITIONS:
        asked = Condition(condition.field, Operator(condition.operator), condition.value)
        filter_: Filter = Not(asked) if negated else asked
        written = expression(filter_, FIELDS)
        for row in ROWS:
            found = Server(row, unknown=unknown).finds(written)
            assert found is (holds(filter_, row, WORLD) is True), (filter_, row, written)
