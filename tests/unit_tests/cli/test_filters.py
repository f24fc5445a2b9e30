"""Filters of the command line."""

import pytest

from milvus_tools.cli.filters import read_assignment, read_filters
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.conditions import All, Condition, Operator


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year>=2000", Condition("year", Operator.GTE, 2000)),
        ("year < 1.5", Condition("year", Operator.LT, 1.5)),
        ("title=The kite", Condition("title", Operator.EQ, "The kite")),
        ('year="2000"', Condition("year", Operator.EQ, "2000")),
        ("draft!=true", Condition("draft", Operator.NE, True)),
        ("source^=/a=b/", Condition("source", Operator.PREFIX, "/a=b/")),
        ("a=[1]", Condition("a", Operator.EQ, "[1]")),
        ('{"field": "a", "operator": "in", "value": [1]}', Condition("a", Operator.IN, [1])),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    """A filter is a field, an operator and a value; or JSON."""
    read = read_filters([text])
    assert read is not None
    assert read.conditions == All([condition])


@pytest.mark.parametrize("text", ["year", "=1", "", "{", "year~1"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    """A malformed filter is refused in one line."""
    with pytest.raises(InvalidInputError) as caught:
        read_filters([text])
    assert "\n" not in str(caught.value)


def test_no_filters_are_none() -> None:
    """Without a filter, all entities match."""
    assert read_filters([]) is None


def test_an_assignment_is_read() -> None:
    """A scope has a field and a value, which may be a number."""
    assert read_assignment("team=blue") == ("team", "blue")
    assert read_assignment("team = 7") == ("team", 7)
    with pytest.raises(InvalidInputError, match="field=value"):
        read_assignment("team")
