"""Arguments that a model writes as JSON text, or as a single item."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.errors import FilterError, InvalidInputError
from milvus_tools.filters import Condition, FieldType, Operator
from milvus_tools.tools.arguments import validated
from milvus_tools.tools.filters import known_fields, read_filter
from milvus_tools.tools.json_text import operand, parsed
from tests.helpers.tools import call, toolkit, tools_of
from tests.unit_tests.tools.test_arguments import MANY_FIELDS

OLD = {"field": "year", "operator": "lt", "value": 1990}
KITE = {"text": "kite", "metadata": {"year": 1999, "tags": ["a", "b"]}}


def read(verb: str, **arguments: Any) -> Any:
    """Return what a tool's work is given, as plain data."""
    schema = tools_of(toolkit(filter_fields=MANY_FIELDS))[verb].args_schema
    return validated(schema, arguments).model_dump(by_alias=True, exclude_unset=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verb", "name", "whole", "written"),
    [
        ("search", "filters", [OLD], [json.dumps([OLD]), OLD, json.dumps(OLD), [json.dumps(OLD)]]),
        ("search", "queries", ["owls"], ["owls", '["owls"]', '"owls"']),
        ("search", "queries", ["owls", "kites"], ['["owls", "kites"]']),
        ("search", "k", 5, ["5"]),
        ("search_by_metadata", "descending", True, ["true"]),
        ("search_by_metadata", "offset", 5, ["5"]),
        ("delete", "ids", ["x"], ['["x"]', '"x"', ' ["x"] ']),
        ("delete", "filters", [OLD], [json.dumps([OLD]), OLD]),
        ("upsert", "documents", [KITE], [json.dumps([KITE]), KITE, json.dumps(KITE)]),
        ("upsert", "documents", [KITE], [[json.dumps(KITE)]]),
        (
            "upsert",
            "documents",
            [KITE],
            [
                [{**KITE, "metadata": json.dumps(KITE["metadata"])}],
                [{**KITE, "metadata": {"year": "1999", "tags": '["a", "b"]'}}],
            ],
        ),
    ],
)
def test_r40_json_text_and_single_items_are_read(
    verb: str, name: str, whole: Any, written: list[Any]
) -> None:
    """Every list and object of every tool is read as if it had been written as one."""
    query = {"query": "x"} if verb == "search" else {}
    for one in written:
        assert read(verb, **query, **{name: one}) == read(verb, **query, **{name: whole})


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("verb", "arguments", "said"),
    [
        ("delete", {"ids": "all"}, 'ids: a list is written as ["…", "…"], not as other text'),
        ("delete", {"ids": "[all]"}, "ids: a list is written as"),
        ("delete", {"ids": '{"id": 1}'}, "ids: a list is written as"),
        ("delete", {"ids": "7"}, "ids: a list is written as"),
        ("delete", {"filters": "year < 1990"}, 'filters: a filter is {"field"'),
        ("delete", {"filters": ["year < 1990"]}, 'filters.0: a filter is {"field"'),
        ("delete", {"filters": '"year < 1990"'}, "filters: Input should be a valid list"),
        ("delete", {"filters": "NaN"}, 'filters: a filter is {"field"'),
        ("search", {"query": "x", "queries": "[owls]"}, "queries: a list is written as"),
        ("upsert", {"documents": "kite"}, 'documents: a document is {"text": …}'),
        ("upsert", {"documents": ["kite"]}, 'documents.0: a document is {"text": …}'),
        ("upsert", {"documents": [{"text": "x", "metadata": "a"}]}, "metadata is an object such"),
        ("upsert", {"documents": [{"text": "x", "metadata": "[]"}]}, "documents.0.metadata: "),
        ("upsert", {"documents": [{"text": "x", "metadata": {"tags": "a"}}]}, "a list is written"),
    ],
)
async def test_r40_other_text_is_refused_with_a_sentence(
    verb: str, arguments: dict[str, Any], said: str, raw: bool
) -> None:
    """It is no expression, even where expressions are allowed in an argument of their own."""
    kit = toolkit(filter_fields=MANY_FIELDS, allow_raw_filter=raw)
    message = await call(tools_of(kit)[verb], **arguments)
    assert message.status == "error"
    assert said in message.content


@pytest.mark.parametrize(
    ("value", "operator", "type_", "expected"),
    [
        ("2000", "eq", FieldType.INTEGER, 2000),
        ("2.5", "gt", FieldType.NUMBER, 2.5),
        ("true", "eq", FieldType.BOOLEAN, True),
        ("2000", "eq", FieldType.STRING, "2000"),
        ("2000", "eq", FieldType.ANY, "2000"),
        ("late", "eq", FieldType.INTEGER, "late"),
        ("true", "eq", FieldType.INTEGER, "true"),
        ("1", "eq", FieldType.BOOLEAN, "1"),
        ("[1990, 2000]", "between", FieldType.INTEGER, [1990, 2000]),
        (["1990", "2000"], "between", FieldType.INTEGER, [1990, 2000]),
        ('["a", "2"]', "in", FieldType.STRING, ["a", "2"]),
        ('["a"]', "eq", FieldType.STRING, '["a"]'),
        ("a, b", "not_in", FieldType.STRING, "a, b"),
        ("7", "contains", FieldType.INTEGERS, 7),
        ("7", "contains", FieldType.STRINGS, "7"),
        ("[7, 8]", "contains_any", FieldType.INTEGERS, [7, 8]),
        ("false", "exists", FieldType.STRING, False),
        ("NaN", "eq", FieldType.NUMBER, "NaN"),
        ("9" * 5_000, "eq", FieldType.INTEGER, "9" * 5_000),
    ],
)
def test_r40_values_are_read_by_the_type_of_their_field(
    value: Any, operator: str, type_: FieldType, expected: Any
) -> None:
    """Text stays text for strings and where the type is not known, and so does what is wrong."""
    found = operand(value, Operator(operator), type_)
    assert (type(found), found) == (type(expected), expected)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
def test_r40_what_is_read_is_what_was_written(value: Any) -> None:
    """JSON text of a value is that value."""
    assert parsed(json.dumps(value), most=10**6, wrong="wrong") == value


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, "Infinity", "[1,]", "", "'a'"])
def test_r40_no_text_breaks_the_reader(text: str) -> None:
    """Deep, long and wrong text gets the sentence of its argument."""
    with pytest.raises(ValueError, match=r"^wrong$"):
        parsed(text, most=10**6, wrong="wrong")
    with pytest.raises(ValueError, match=r"^wrong$"):
        parsed("[]" + " " * 10, most=5, wrong="wrong")


def test_r40_a_condition_is_compared_with_what_its_text_says() -> None:
    """In groups too, and a wrong value is still refused with the type of the field."""
    kit = toolkit(filter_fields=MANY_FIELDS, nested_filters=True)
    fields = known_fields(kit, None)
    text = {"not": {"field": "year", "operator": "in", "value": '["1999", 2000]'}}
    (typed,) = read_filter([{"any": [text]}], kit, fields).typed
    (negation,) = typed.conditions.filters  # type: ignore[union-attr]
    assert negation.filter == Condition("year", Operator.IN, [1999, 2000])  # type: ignore[union-attr]
    # A question reads the same values, before the collection's schema is known.
    assert read_filter([{"any": [text]}], kit, None).typed[0].conditions == typed.conditions
    with pytest.raises(FilterError, match="There is no operator"):
        read_filter([{"field": "year", "operator": "is", "value": "1"}], kit, fields)


def test_r39_nulls_and_empty_groups_of_strict_modes_are_left_out() -> None:
    """A model that must write every argument writes null for those it leaves out."""
    kit = toolkit(filter_fields=MANY_FIELDS, nested_filters=True)
    schema = tools_of(kit)["delete"].args_schema
    nothing = {"field": None, "operator": None, "value": None, "all": [], "any": [], "not": []}
    there = {**nothing, "field": "year", "operator": "exists"}
    given: Any = validated(schema, {"filters": [{**nothing, "any": [there]}], "ids": None})  # type: ignore[arg-type]
    assert given.filters == [{"any": [{"field": "year", "operator": "exists"}]}]
    assert given.ids == []


async def test_r43_wrong_arguments_have_one_sentence_however_a_tool_is_called() -> None:
    """Null is left out, and an unknown argument is named, by a call and by plain arguments."""
    search = tools_of(toolkit())["search"]
    unknown = {"query": "x", "top_k": 2}
    sentence = await search.ainvoke(unknown)
    assert sentence == (await call(search, **unknown)).content
    assert sentence == (
        "Invalid arguments: arguments: unknown name 'top_k'; the names are query, queries, k, "
        "filters. Fix them and try again."
    )
    schema: Any = search.args_schema
    assert validated(schema, {"query": "x", "k": None}).k == 4  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError) as refused:
        validated(schema, unknown)
    assert str(refused.value) == sentence
