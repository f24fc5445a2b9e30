"""Long input: read in linear time, or no further than it may be long."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymilvus import MilvusException

from milvus_tools._text import MAX_CHARS, quoted, shown
from milvus_tools.errors import FilterError, MilvusToolsError
from milvus_tools.filters import All, Condition, Fields, Not, Operator, expression, parse
from milvus_tools.filters.conditions import MAX_CONDITIONS
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import MAX_FILTER
from milvus_tools.retrievers.parsing import read_answer
from milvus_tools.schema import Schema
from milvus_tools.tools.formatting import as_data
from milvus_tools.transport.grpc_errors import translated
from tests.helpers.linear_time import is_linear

SCHEMA = Schema.from_description(
    {
        "auto_id": False,
        "enable_dynamic_field": False,
        "fields": [
            {"name": "pk", "type": 21, "is_primary": True, "params": {"max_length": 100}},
            {"name": "title", "type": 21, "params": {"max_length": 65_535}},
            {"name": "vector", "type": 101, "params": {"dim": 8}},
        ],
    },
    {},
)


def refused(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Do work whose refusal is work, too."""

    def done(given: Any) -> None:
        with contextlib.suppress(MilvusToolsError):
            work(given)

    return done


@pytest.mark.parametrize(
    "unit",
    [
        *("()", "(a)or ", "[a],", "a-", "a or ", "not ", "- ", "!", ",", " ", "1", "1.", "a < "),
        *('""', "''", '"\\', "\"'\n", 'a like "%"or ', "like ", "/", "%1", "a/1 or ", ">", "("),
    ],
)
@pytest.mark.parametrize("depth", [0, 60])
def test_r03_the_guard_reads_an_expression_in_linear_time(unit: str, depth: int) -> None:
    """Brackets in brackets, rows of signs and strings without end take no longer than others."""

    def made(size: int) -> str:
        inner = unit * ((size - 2 * depth) // len(unit))
        return f"{'(' * depth}{inner}{')' * depth}"

    assert is_linear(refused(checked), made)


@pytest.mark.parametrize("unit", ['"', "''", "[", '["a', '["\\', '"\\', "1. ", "<think>", "a: "])
@pytest.mark.parametrize("beginning", ["", "1. ", '["'])
def test_r03_what_a_model_said_is_read_in_linear_time(unit: str, beginning: str) -> None:
    """Quotes in quotes, and lists that don't end, take no longer than other text."""
    assert is_linear(read_answer, lambda size: beginning + unit * (size // len(unit)))


@pytest.mark.parametrize("unit", ["a-", "a.", "1.", "[:", "a:", "lookup ", "a_"])
def test_r03_an_error_of_milvus_is_read_in_linear_time(unit: str) -> None:
    """Milvus repeats an expression in its message, from which addresses are taken."""

    def work(message: str) -> None:
        with contextlib.suppress(MilvusToolsError), translated():
            raise MilvusException(message=message)

    assert is_linear(work, lambda size: unit * (size // len(unit)))


@pytest.mark.parametrize("unit", ["< ", "< /", "<\n", " ", "\u200b"])
def test_r03_a_document_is_made_data_in_linear_time(unit: str) -> None:
    """A tag that never comes is not looked for from each of its spaces."""
    assert is_linear(as_data, lambda size: unit * (size // len(unit)))
    assert is_linear(as_data, lambda size: "<" + unit[-1] * size)


class Counted(list[Any]):
    """A list that counts which of its items were read."""

    read = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.read += 1
            yield item


CONDITION = {"field": "year", "operator": "eq", "value": 1}
EQUAL = Condition("year", Operator.EQ, 1)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (CONDITION, "100 conditions"),
        ([CONDITION], "100 conditions"),
        ({"not": CONDITION}, "100 conditions"),
        (EQUAL, "100 conditions"),
        (Not(EQUAL), "100 conditions"),
        ([], "at least one filter"),
        (All([]), "at least one filter"),
    ],
)
@pytest.mark.parametrize("form", [lambda parts: parts, lambda parts: {"all": parts}, All])
def test_r03_a_filter_is_read_to_its_first_condition_too_many(
    item: Any, said: str, form: Callable[[Any], Any]
) -> None:
    """However many conditions there are, the refusal comes after the most that may be."""
    parts = Counted([item] * 200_000)
    with pytest.raises(FilterError, match=f"{said}|made of conditions, not of"):
        parse(form(parts))
    assert parts.read <= MAX_CONDITIONS + 1


@pytest.mark.parametrize("group", [lambda one: [one], lambda one: {"not": one}, Not])
def test_r03_a_deep_filter_is_refused(group: Callable[[Any], Any]) -> None:
    """A filter is read no deeper than it may nest."""
    filter_: Any = EQUAL
    for _ in range(200_000):
        filter_ = group(filter_)
    with pytest.raises(FilterError, match="4 levels deep"):
        parse(filter_)


def test_r03_all_values_of_a_filter_are_bounded_together() -> None:
    """Values that are repeated are written once, but read all."""
    values = [1] * 1_000
    filter_ = {"all": [{"field": "year", "operator": "in", "value": values}] * 22}
    with pytest.raises(FilterError, match="21845 values in all"):
        parse(filter_)
    filter_["all"].pop()
    assert parse(filter_)


def test_r03_a_filter_is_written_no_further_than_it_may_be_long() -> None:
    """The conditions behind the one that makes an expression too long are not looked at."""
    parts = Counted([Condition("title", Operator.EQ, "x" * 40_000)] * 100)
    with pytest.raises(FilterError, match=str(MAX_FILTER)):
        expression(All(parts), Fields(SCHEMA))
    # Those that were counted, and those that were written.
    assert parts.read == len(parts) + MAX_FILTER // 40_000 + 1


@pytest.mark.parametrize("value", ["\n" * 1_000_000, ["a"] * 1_000_000, [["\n"] * 1_000_000]])
def test_r03_a_value_is_cut_before_it_is_shown(value: Any) -> None:
    """A message shows the beginning of a long value, and the rest is not written."""
    assert len(quoted(value)) < MAX_CHARS + 40
    assert quoted(value).startswith(quoted(value[:500])[:MAX_CHARS])
    assert len(shown(value)) <= MAX_CHARS


class Named:
    """A value that JSON has no form for, and that counts how often it is written."""

    written = 0

    def __str__(self) -> str:
        self.written += 1
        return "value"


def test_r03_a_list_is_written_no_further_than_it_is_shown() -> None:
    """The items behind the end of what people read are not written."""
    value = Named()
    beginning = str(["value"] * 30).replace("'", '"')[:MAX_CHARS]
    assert quoted([value] * 200_000) == f"{beginning} … (over 10000 more characters)"
    assert value.written < 2_000
