"""Typed conditions: how they are read, checked and said, without Milvus."""

import datetime as dt
from typing import Any

import pytest

from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters import (
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
from milvus_tools.schema import Schema

DESCRIPTION: dict[str, Any] = {
    "auto_id": False,
    "enable_dynamic_field": True,
    "fields": [
        {"name": "pk", "type": 21, "is_primary": True, "params": {"max_length": 100}},
        {"name": "text", "type": 21, "params": {"max_length": 100}},
        {"name": "year", "type": 5, "params": {}},
        {"name": "rating", "type": 10, "params": {}, "nullable": True},
        {"name": "tags", "type": 22, "element_type": 21, "params": {"max_capacity": 9}},
        {"name": "weights", "type": 22, "element_type": 10, "params": {"max_capacity": 9}},
        {"name": "flags", "type": 22, "element_type": 1, "params": {"max_capacity": 9}},
        {"name": "info", "type": 23, "params": {}},
        {"name": "vector", "type": 101, "params": {"dim": 8}},
    ],
}
SCHEMA = Schema.from_description(DESCRIPTION, {})
DECLARED = {
    "topic": FieldType.STRING,
    "a b": FieldType.STRINGS,
    "sizes": FieldType.INTEGERS,
    "info.page": FieldType.INTEGER,
}
FIELDS = Fields(SCHEMA, DECLARED)
LITE = Fields(SCHEMA, DECLARED, allow_dynamic=True, lite=True)
ON_SERVER = Fields(SCHEMA, DECLARED, allow_dynamic=True)
NO_TEXT = " or ".join(
    f"(topic {test})" for test in ("* 0 == 0", "== true", "== false", "== [0]", "!= [0]")
)


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
        (condition("year", "in", [2020, 2021]), "year in [2020, 2021]"),
        (condition("topic", "in", ["a", 'b"']), 'topic in ["a", "b\\""]'),
        (
            condition("topic", "ne", "a"),
            f'(not (topic == "a")) or (not (exists $meta["topic"])) or {NO_TEXT}',
        ),
        (condition("topic", "prefix", "ab"), '(topic >= "ab") and (topic < "ac")'),
        (condition("topic", "prefix", "\U0010ffff"), 'topic >= "\U0010ffff"'),
        (condition("a b", "contains", "x"), 'json_contains_any($meta["a b"], ["x"])'),
        (condition("topic", "gt", dt.date(2024, 5, 1)), 'topic >= "2024-05-02"'),
        (
            {"not": {"any": [condition("year", "lt", 1), condition("year", "gt", 9)]}},
            "(year >= 1) and (year <= 9)",
        ),
        ([condition("year", "lt", 1), condition("pk", "eq", "x")], '(year < 1) and (pk == "x")'),
        (condition("tags", "contains", "x"), 'array_contains_any(tags, ["x"])'),
        (
            condition("weights", "contains_any", [1]),
            "array_contains_any(weights, [1.0])",
        ),
        (
            {"not": condition("flags", "contains", True)},
            "not (array_contains_any(flags, [true]))",
        ),
        (condition("sizes", "contains", 1), "json_contains_any(sizes, [1.0])"),
        (condition("info.page", "eq", 7), 'info["page"] == 7'),
        (condition("rating", "gt", 0.1), "rating > 0.10000000149011612"),
        (condition("rating", "lt", 1e39), "rating < 1e+39"),
        (condition("rating", "exists", False), "rating is null"),
        ({"not": condition("rating", "gt", 1)}, "(rating <= 1.0) or (rating is null)"),
    ],
)
def test_a_filter_becomes_an_expression(data: Any, expected: str) -> None:
    """Values are literals as fields hold them, negations stand at the conditions."""
    assert written(data) == expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (condition("yaer", "eq", 1), "Did you mean 'year'"),
        (condition("vector", "eq", 1), "no field 'vector'"),
        (condition("nothing", "eq", 1), "there are pk, text, year, rating, tags"),
        (condition("year", "prefix", "2"), "operators are"),
        (condition("year", "like", "2"), "operators are"),
        (condition("year", "eq", "2020"), "an integer, not with '2020'"),
        (condition("year", "eq", True), "not with True"),
        (condition("year", "eq", 2.5), "not with 2.5"),
        (condition("year", "eq", float("nan")), "not with nan"),
        (condition("year", "eq", 2**63), "64 bits"),
        (condition("year", "eq", None), "not with None"),
        (condition("year", "in", []), "at least one value"),
        (condition("year", "in", [1] * 21_846), "21845 values"),
        (condition("year", "between", [1]), "two values"),
        (condition("topic", "exists", "yes"), "true or false"),
        (condition("topic", "eq", {"a": 1}), "not with {'a': 1}"),
        (condition("topic", "is", 1), "no operator 'is'"),
        (condition("topic", "equals", 1), "not_in, between"),
        (condition("topic", "contain", 1), "Did you mean 'contains'"),
        (condition("tags", "eq", "a"), "contains, contains_any, exists"),
        (condition("tags", "contains", 1), "a string, not with 1"),
        (condition("info", "eq", 1), "name one of its keys, such as 'info.key'"),
        (condition("info.pages", "eq", 1), "Did you mean 'info.page'"),
        (condition("$meta", "eq", 1), "no field '$meta'"),
        (condition("year", "eq", 10**5000), "64 bits"),
        (condition("topic", "eq", 10**5000), "not with a value of type int"),
        (condition("topic", "in", [f"{n:04}" * 100 for n in range(6000)]), "2097152 characters"),
        ({"field": "topic", "operator": "eq"}, "eq needs a value"),
        ({"all": [condition("year", "eq", 1)], "expr": "1 == 1"}, "A condition is"),
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
    hostile = 'x"] or tenant != "'
    for name in (hostile, f"info.{hostile}", "_seq"):
        with pytest.raises(FilterError):
            written(condition(name, "eq", "a"))
    quoted = '["x\\"] or tenant != \\""] == "a"'
    assert written(condition(hostile, "eq", "a"), ON_SERVER) == f"$meta{quoted}"
    assert written(condition(f"info.{hostile}", "eq", "a"), ON_SERVER) == f"info{quoted}"
    assert written(condition("n", "eq", 1.5), ON_SERVER) == "n == 1.5"
    assert written(condition("_seq", "eq", 2), LITE) == '$meta["_seq"] == 2'
    for static in ("text", "info", "vector", "$meta"):
        with pytest.raises(FilterError):
            written(condition(static, "eq", 1), ON_SERVER)


def test_metadata_in_one_json_field_goes_by_its_plain_names() -> None:
    """With a `metadata_field` a key is looked for there, or in another field that it names."""
    fields = Fields(SCHEMA, DECLARED, allow_dynamic=True, metadata_field="info")
    assert written(condition("topic", "eq", "a"), fields) == 'info["topic"] == "a"'
    assert written(condition("info.page", "eq", 1), fields) == 'info["info"]["page"] == 1'
    assert written(condition("year", "eq", 1), fields) == "year == 1"
    assert written(condition("a b", "contains", "x"), fields) == (
        'json_contains_any(info["a b"], ["x"])'
    )


def test_true_is_one_where_any_scalar_may_be() -> None:
    """The server is told so; Milvus Lite takes it so by itself, as Python does."""
    assert written(condition("n", "eq", 1), LITE) == "n == 1"
    assert written(condition("n", "eq", 1), ON_SERVER) == "(n == 1) or (n == true)"
    assert written(condition("n", "in", [0, True]), ON_SERVER) == (
        "(n in [0, 1]) or (n in [false, true])"
    )
    assert written(condition("n", "gt", 0), ON_SERVER) == "(n > 0) or (n == true)"
    assert written(condition("n", "gt", True), LITE) == "n > 1"
    assert written(condition("n", "contains", 1), ON_SERVER) == "json_contains_any(n, [1.0, true])"


def test_a_null_is_as_good_as_nothing() -> None:
    """To the server a null exists, so that what is none is asked for."""
    assert written(condition("topic", "exists"), LITE) == 'exists $meta["topic"]'
    assert written(condition("topic", "exists"), ON_SERVER) == (
        '(topic >= "") or (topic * 0 == 0) or (topic == true) or (topic == false) '
        "or (topic == [0]) or (topic != [0])"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("50%*", '(topic >= "50%") and (topic < "50&")'),
        ("a_b", '(topic >= "a_b") and (topic <= "a_b")'),
        ("*a**b*", 'topic like "%a%b%"'),
        ("*a", '(topic like "%a") and (not (topic like "%a\\n"))'),
        ("a*b*c*d*e", None),
        ("*50%*", None),
    ],
)
def test_patterns_are_for_milvus_lite(pattern: str, expected: str | None) -> None:
    """`like` takes `*`, and nothing else of a pattern means anything."""
    asked = condition("topic", "like", pattern)
    with pytest.raises(UnsupportedError):
        written(asked, ON_SERVER)
    if expected is None:
        with pytest.raises(UnsupportedError):
            written(asked, LITE)
    else:
        assert written(asked, LITE) == expected


def test_milvus_lite_looks_into_lists_under_plain_keys() -> None:
    """A key that must be quoted is refused there; a text is not read as a list."""
    with pytest.raises(UnsupportedError):
        written(condition("a b", "contains", "x"), LITE)
    assert written(condition("sizes", "contains", 1), LITE) == (
        '(json_contains_any(sizes, [1])) and (not (sizes like "%"))'
    )


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


def test_what_people_confirm_hides_nothing() -> None:
    """A name that reads like more is quoted, what is invisible is escaped, long lists are cut."""
    assert describe(Condition('x" or "y', Operator.EQ, 1)) == '"x\\" or \\"y" is 1'
    assert describe(Condition("a", Operator.EQ, "x\u202ey\n")) == 'a is "x\\u202ey\\n"'
    assert describe(Condition("a", Operator.EQ, 10**5000)) == "a is a value of type int"
    assert describe(Condition("a", Operator.BETWEEN, [1])) == "a is between 1"
    assert describe(Condition("a", Operator.IN, list(range(1000)))).endswith("18, 19 and 980 more")
    assert len(describe(Condition("a", Operator.EQ, "x" * 1000))) < 300
