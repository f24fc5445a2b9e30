"""Typed conditions: how they are read, checked and said, without Milvus."""

import datetime as dt
from typing import Any

import pytest

from milvus_tools.conditions import (
    All,
    Any_,
    Condition,
    Fields,
    FieldType,
    Not,
    Operator,
    describe,
    expression,
    parse,
)
from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.schema import Schema

DESCRIPTION: dict[str, Any] = {
    "auto_id": False,
    "enable_dynamic_field": True,
    "fields": [
        {"name": "pk", "type": 21, "is_primary": True, "params": {"max_length": 100}},
        {"name": "text", "type": 21, "params": {"max_length": 100}},
        {"name": "year", "type": 5, "params": {}},
        {"name": "vector", "type": 101, "params": {"dim": 8}},
    ],
}
SCHEMA = Schema.from_description(DESCRIPTION, {})
FIELDS = Fields(SCHEMA, {"topic": FieldType.STRING, "a b": FieldType.STRINGS})


def written(data: Any, fields: Fields = FIELDS) -> str:
    """Return the expression of a filter as JSON has it."""
    return expression(parse(data), fields)


def condition(field: str, operator: str, value: Any = True) -> dict[str, Any]:
    """Return a condition as JSON has it."""
    return {"field": field, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (condition("year", "gte", 2020), "year >= 2020"),
        (condition("year", "eq", 2020.0), "year == 2020"),
        (condition("year", "ne", 2020), "not (year == 2020)"),
        (condition("topic", "in", ["a", 'b"']), '(topic == "a") or (topic == "b\\"")'),
        (condition("topic", "ne", "a"), '(not (topic == "a")) or (not (exists $meta["topic"]))'),
        (condition("topic", "prefix", "ab"), '(topic >= "ab") and (topic < "ac")'),
        (condition("topic", "prefix", "\U0010ffff"), 'topic >= "\U0010ffff"'),
        (condition("a b", "contains", "x"), 'json_contains_any($meta["a b"], ["x"])'),
        (condition("topic", "gt", dt.date(2024, 5, 1)), 'topic > "2024-05-01"'),
        (
            {"not": {"any": [condition("year", "lt", 1), condition("year", "gt", 9)]}},
            "(not (year < 1)) and (not (year > 9))",
        ),
        ([condition("year", "lt", 1), condition("pk", "eq", "x")], '(year < 1) and (pk == "x")'),
    ],
)
def test_a_filter_becomes_an_expression(data: Any, expected: str) -> None:
    """Values are literals, negations stand at the conditions, patterns are ranges."""
    assert written(data) == expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (condition("yaer", "eq", 1), "Did you mean 'year'"),
        (condition("vector", "eq", 1), "no field 'vector'"),
        (condition("nothing", "eq", 1), "there are pk, text, year, topic, a b"),
        (condition("year", "prefix", "2"), "operators are"),
        (condition("year", "like", "2"), "operators are"),
        (condition("year", "eq", "2020"), "a integer, not with '2020'"),
        (condition("year", "eq", True), "not with True"),
        (condition("year", "eq", 2.5), "not with 2.5"),
        (condition("year", "eq", float("nan")), "not with nan"),
        (condition("year", "eq", 2**63), "64 bits"),
        (condition("year", "eq", None), "not with None"),
        (condition("year", "in", []), "at least one value"),
        (condition("year", "in", [1] * 1001), "1000"),
        (condition("year", "between", [1]), "two values"),
        (condition("topic", "exists", "yes"), "true or false"),
        (condition("topic", "eq", {"a": 1}), "not with {'a': 1}"),
        (condition("topic", "is", 1), "no operator 'is'"),
        ({"all": []}, "at least one filter"),
        ({"field": "year"}, "A condition is"),
        ("year > 1", "A condition is"),
        ({"any": [condition("year", "eq", 1)], "expr": "1 == 1"}, "A condition is"),
        ({"not": {"not": {"not": {"not": {"not": condition("year", "eq", 1)}}}}}, "4 levels"),
        ([condition("year", "eq", 1)] * 101, "100 conditions"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(data: Any, said: str) -> None:
    """The sentence names the field and what would be right."""
    with pytest.raises(FilterError) as refused:
        written(data)
    assert said in str(refused.value)


def test_undeclared_keys_are_named_only_if_the_operator_allows_it() -> None:
    """With `allow_dynamic` any key takes any scalar; a hostile one stays a quoted key."""
    loose = Fields(SCHEMA, allow_dynamic=True)
    hostile = 'x"] or tenant != "'
    with pytest.raises(FilterError):
        written(condition(hostile, "eq", 1))
    assert written(condition(hostile, "eq", 1), loose) == '$meta["x\\"] or tenant != \\""] == 1'
    assert written(condition("n", "eq", 1.5), loose) == "n == 1.5"
    with pytest.raises(FilterError):
        written(condition("text", "eq", 1), loose)


def test_patterns_are_for_milvus_lite() -> None:
    """`like` takes `*`, and nothing else of a pattern means anything."""
    lite = Fields(SCHEMA, {"topic": FieldType.STRING, "a b": FieldType.STRINGS}, lite=True)
    assert written(condition("topic", "like", "50%*"), lite) == 'topic like "50\\\\%%"'
    with pytest.raises(UnsupportedError):
        written(condition("topic", "like", "50%*"))
    with pytest.raises(UnsupportedError):
        written(condition("a b", "contains", "x"), lite)


def test_a_filter_can_be_said_in_words() -> None:
    """People read what they are to confirm."""
    filter_ = All(
        [
            Condition("year", Operator.BETWEEN, [2020, 2024]),
            Any_(
                [
                    Condition("topic", Operator.EQ, "kites"),
                    Condition("topic", Operator.EXISTS, False),
                ]
            ),
            Not(Condition("text", Operator.PREFIX, "A")),
        ]
    )
    assert describe(filter_) == (
        'year is from 2020 to 2024 and (topic is "kites" or topic is missing) '
        'and not (text begins with "A")'
    )
    assert describe(Condition("n", Operator.IN, [1, 2])) == "n is one of 1, 2"
