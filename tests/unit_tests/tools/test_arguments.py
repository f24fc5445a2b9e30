"""The schemas that models fill in."""

import json
import pathlib
from typing import Any

import pytest
import wordllama
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ValidationError
from tokenizers import Tokenizer

from milvus_tools import FilterField
from milvus_tools.errors import FilterError
from milvus_tools.tools.arguments import search_arguments
from milvus_tools.tools.filters import described, known_fields, read_filter, require_field
from milvus_tools.tools.formatting import blocks
from tests.helpers.openai_schema import tool_problems
from tests.helpers.tools import FIELDS, VERBS, call, toolkit, tools_of
from tests.unit_tests.tools.test_formatting import found

MANY_FIELDS = {
    "title": "string",
    "year": FilterField("integer", "year of publication"),
    "rating": "number",
    "draft": "boolean",
    "tags": "list of strings",
}


def schema_of(verb: str, **settings: Any) -> Any:
    """Return what a model is told of a tool's arguments."""
    tool = tools_of(toolkit(**settings))[verb]
    return convert_to_openai_tool(tool)["function"]["parameters"]


def tokens(text: str) -> int:
    """Count Llama's tokens, of which a text has some more than of OpenAI's newer ones."""
    folder = pathlib.Path(wordllama.__file__).parent
    (file,) = folder.rglob("*tokenizer*.json")
    return len(Tokenizer.from_file(str(file)).encode(text).ids)


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize(
    "settings", [{}, {"filter_fields": MANY_FIELDS}, {"filter_fields": {}}, {"prefix": "a-"}]
)
def test_openai_takes_the_schemas(settings: dict[str, Any], strict: bool | None) -> None:
    """The four tools keep OpenAI's rules, those of strict mode too."""
    tools = toolkit(**settings).get_tools()
    assert len(tools) == 4
    assert tool_problems([convert_to_openai_tool(tool, strict=strict) for tool in tools]) == []


@pytest.mark.parametrize(
    "settings", [{"allow_dynamic": True}, {"nested_filters": True}, {"allow_raw_filter": True}]
)
def test_openai_takes_freer_schemas(settings: dict[str, Any]) -> None:
    """Arguments allowed beyond the default keep OpenAI's rules, if not strict mode's."""
    tools = toolkit(**settings).get_tools()
    assert tool_problems([convert_to_openai_tool(tool) for tool in tools]) == []


def test_the_four_tools_are_cheap_to_tell() -> None:
    """Names, descriptions and schemas with five fields stay around 1500 tokens, or 850 for two."""
    told = [
        convert_to_openai_tool(tool) for tool in toolkit(filter_fields=MANY_FIELDS).get_tools()
    ]
    assert tokens(json.dumps(told)) < 1_672
    assert tokens(json.dumps(told[:2])) < 911


def test_ten_hits_are_cheap_to_read() -> None:
    """Ten hits of 500 characters stay under 2000 tokens."""
    sentence = "The red kite is a medium-large bird of prey of the family of hawks and eagles. "
    hits = [found((sentence * 9)[:500], f"paragraph-{n}", year=1999) for n in range(10)]
    assert tokens(blocks(hits, max_chars=1_000)) < 2_000


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_described(verb: str) -> None:
    """A model is told what each argument means, also inside lists."""
    schema = schema_of(verb)
    parts = [schema]
    while parts:
        part = parts.pop()
        for name, property_ in part.get("properties", {}).items():
            assert property_.get("description") or name == "title", (verb, name)
            parts += [property_, property_.get("items", {})]


def test_fields_and_operators_are_enums() -> None:
    """A model chooses among the declared fields, and the operators that fit one of them."""
    condition = schema_of("search")["properties"]["filters"]["items"]["properties"]
    assert condition["field"]["enum"] == ["id", "year", "title"]
    assert "between" in condition["operator"]["enum"]
    assert "contains" not in condition["operator"]["enum"]
    lists = schema_of("search", filter_fields=MANY_FIELDS)["properties"]["filters"]["items"]
    assert "contains" in lists["properties"]["operator"]["enum"]


def test_bounds_are_told_in_words() -> None:
    """The descriptions tell the operator's bounds, and no keyword does, which some refuse."""
    search = schema_of("search", max_k=7, max_queries=3, max_filters=9)["properties"]
    assert search["k"]["description"] == "Results, 1 to 7; default 4"
    assert search["queries"]["description"].startswith("Up to 2 more")
    assert search["filters"]["description"].startswith("Up to 9 conditions")
    limit = schema_of("search_by_metadata", max_limit=9, limit=5)["properties"]["limit"]
    assert limit["description"] == "Documents, 1 to 9; default 5"
    documents = schema_of("upsert", max_documents=3)["properties"]["documents"]
    assert documents["description"].startswith("Up to 3 documents")
    assert "At most 8 at once" in tools_of(toolkit(max_delete=8))["delete"].description


def test_only_the_query_and_the_documents_are_required() -> None:
    """All else can be left out."""
    required = {verb: schema_of(verb).get("required", []) for verb in VERBS}
    assert required == {
        "search": ["query"],
        "search_by_metadata": [],
        "upsert": ["documents"],
        "delete": [],
    }


def test_a_raw_expression_is_there_only_if_allowed() -> None:
    """By default a model can't write one."""
    assert "expr" not in schema_of("search")["properties"]
    for verb in ("search", "search_by_metadata", "delete"):
        assert "expr" in schema_of(verb, allow_raw_filter=True)["properties"]


def test_written_metadata_has_the_declared_fields() -> None:
    """A model sets the fields that the operator declared, or any if all are allowed."""
    items = schema_of("upsert")["properties"]["documents"]["items"]
    assert items["properties"]["metadata"]["properties"].keys() == FIELDS.keys()
    free = schema_of("upsert", allow_dynamic=True)["properties"]["documents"]["items"]
    assert "properties" not in free["properties"]["metadata"]
    none = schema_of("upsert", filter_fields={})["properties"]["documents"]["items"]
    assert "metadata" not in none["properties"]


@pytest.mark.parametrize("name", ["a b", "_private", "json", "model_x", "if", "key_0", "ü"])
def test_fields_may_have_any_name(name: str) -> None:
    """A field's name need not be one that Python could use."""
    schema = schema_of("upsert", filter_fields={name: "integer"})
    metadata = schema["properties"]["documents"]["items"]["properties"]["metadata"]
    assert list(metadata["properties"]) == [name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "query: Field required"),
        ({"query": " "}, "query: it is empty"),
        ({"query": "x" * 2_001}, "query: String should have at most 2000 characters"),
        ({"query": 1}, "query: Input should be a valid string"),
        ({"query": "x", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"query": "x", "k": 21}, "k: Input should be less than or equal to 20"),
        ({"query": "x", "k": "many"}, "k: Input should be a valid integer"),
        ({"query": "x", "queries": ["a"] * 5}, "queries: List should have at most 4 items"),
        (
            {"query": "x", "top_k": 3},
            "unknown name 'top_k'; the names are query, queries, k, filt",
        ),
        ({"query": "x", "filters": [{"field": "year"}]}, "filters.0.operator: Field required"),
        (
            {"query": "x", "filters": [{"f": 1}]},
            "filters.0: unknown name 'f'; the names are field",
        ),
        ({"query": "x", "filters": "year = 1"}, 'filters: a filter is {"field": …, "operator"'),
        ({"query": "x", "filters": ["year = 1"]}, "filters.0: a filter is"),
        ({"query": "x", "filters": "[" * 100_000}, "filters: a filter is"),
        ({"query": "x", "filters": "3"}, "filters: Input should be a valid list"),
    ],
)
async def test_wrong_arguments_are_explained(arguments: dict[str, Any], said: str) -> None:
    """The model reads what is wrong and where, without a traceback or a link."""
    message = await call(tools_of(toolkit())["search"], **arguments)
    assert message.status == "error"
    assert said in message.content
    assert message.content.startswith("Invalid arguments: ")
    assert "pydantic" not in message.content


async def test_many_wrong_arguments_are_counted() -> None:
    """A long list of faults is cut."""
    wrong = [{"field": 1, "operator": 2}] * 9
    message = await call(tools_of(toolkit())["search"], query="x", filters=wrong)
    assert "(and 13 more)" in message.content


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ({"field": "yaer", "operator": "eq", "value": 1}, "Did you mean 'year'?"),
        ({"field": "x" * 999, "operator": "eq", "value": 1}, "there are id, year, title."),
        ({"field": "tenant", "operator": "eq", "value": "b"}, "There is no field 'tenant'"),
        ({"field": "year", "operator": "is", "value": 1}, "There is no operator 'is'"),
        ({"any": []}, "at least one"),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(filter_: dict[str, Any], said: str) -> None:
    """Fields and operators are the declared ones, with the nearest name as a hint."""
    kit = toolkit(nested_filters=True)
    fields = {"id": FilterField("string"), **(kit.filter_fields or {})}
    with pytest.raises(FilterError) as refused:
        read_filter([{"all": [filter_]}], kit, fields)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


def test_any_field_may_be_named_if_dynamic_ones_are_allowed() -> None:
    """The operator opened them all."""
    require_field("whatever", toolkit(allow_dynamic=True), {})


def test_a_narrowing_says_itself_in_words() -> None:
    """Filters, ids and a raw expression read as one sentence."""
    kit = toolkit()
    fields = known_fields(kit, None)
    condition = {"field": "year", "operator": "lt", "value": 1990}
    narrowed = read_filter([condition], kit, fields, ids=["a"], expr=" n == 1 ")
    assert described(narrowed) == 'year is less than 1990 and id is one of "a" and (n == 1)'
    assert narrowed
    assert not read_filter([], kit, fields)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("raw", [False, True])
async def test_filters_that_a_model_wrote_as_text_are_read_as_json(
    nested: bool, raw: bool
) -> None:
    """The whole list, or one of its filters; an expression is none, whatever is allowed."""
    kit = toolkit(nested_filters=nested, allow_raw_filter=raw)
    schema = search_arguments(kit, known_fields(kit, None))
    condition = {"field": "year", "operator": "lt", "value": 1990}
    plain = schema.model_validate({"query": "x", "filters": [condition]})
    for text in (json.dumps([condition]), [json.dumps(condition)]):
        assert schema.model_validate({"query": "x", "filters": text}) == plain
    for text in ("year < 1990", ["year < 1990"]):
        with pytest.raises(ValidationError, match="not a string"):
            schema.model_validate({"query": "x", "filters": text})
