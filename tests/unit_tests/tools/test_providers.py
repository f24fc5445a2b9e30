"""The tools' schemas through the converters of the providers' own packages."""

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from milvus_tools.tools.arguments import validated
from tests.helpers.openai_schema import tool_problems
from tests.helpers.providers import PROVIDERS, Schema, parts
from tests.helpers.tools import toolkit
from tests.unit_tests.tools.test_arguments import MANY_FIELDS

pytestmark = pytest.mark.providers

SETTINGS: dict[str, dict[str, Any]] = {
    "declared": {"filter_fields": MANY_FIELDS},
    "any": {"filter_fields": {**MANY_FIELDS, "other": "any"}},
    "free": {
        "filter_fields": MANY_FIELDS,
        "allow_dynamic": True,
        "nested_filters": True,
        "allow_raw_filter": True,
    },
}
# Of JSON Schema, what all of them take; the bounds are in words.
TAKEN = {"type", "properties", "required", "items", "anyOf", "enum", "description", "default"}
TAKEN |= {"nullable", "additionalProperties"}
each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_kind = pytest.mark.parametrize("kind", SETTINGS)


@functools.cache
def tools_of_kind(kind: str) -> list[BaseTool]:
    """Return the four tools with some settings."""
    return toolkit(**SETTINGS[kind]).get_tools()


@functools.cache
def sent(provider: str, kind: str, *, strict: bool = False) -> dict[str, Schema]:
    """Return the schemas of the four tools as a provider is sent them."""
    schemas = PROVIDERS[provider](tools_of_kind(kind), strict)
    assert len(schemas) == 4
    return schemas


def all_parts(schemas: dict[str, Schema]) -> list[tuple[str, Schema]]:
    """Return all parts of all schemas, with their paths."""
    return [one for name, schema in schemas.items() for one in parts(schema, name)]


def types_of(part: Schema) -> set[str]:
    """Return the names of a part's types in lower case, those of its alternatives too."""
    types = part.get("type", [])
    named = {types} if isinstance(types, str) else set(types)
    inner = set().union(*(types_of(one) for one in part.get("anyOf", ())))
    return {one.lower() for one in named} | inner


@each_provider
@each_kind
def test_r39_every_argument_keeps_its_type(provider: str, kind: str) -> None:
    """Each has one, in each part; a list says of what, and an object of which keys."""
    for path, part in all_parts(sent(provider, kind)):
        assert types_of(part), (path, part)
        if "array" in types_of(part) - {"string"} and provider != "google":
            assert part.get("items") or part.get("anyOf"), path
        if types_of(part) == {"object"}:
            assert part["properties"], path


@each_provider
@each_kind
@pytest.mark.parametrize("strict", [False, True])
def test_r39_no_schema_has_what_some_refuse(provider: str, kind: str, strict: bool) -> None:
    """Neither references nor bounds, which Anthropic's strict mode and llama.cpp refuse."""
    for path, part in all_parts(sent(provider, kind, strict=strict)):
        assert set(part) <= TAKEN, path


@each_provider
def test_r39_every_argument_is_told_with_its_names_and_operators(provider: str) -> None:
    """No converter loses an argument, a field, an operator or a description of one."""
    plain = {one.name: one for one in tools_of_kind("declared")}
    for name, schema in sent(provider, "declared").items():
        told = convert_to_openai_tool(plain[name])["function"]["parameters"]
        assert schema["properties"].keys() == told["properties"].keys()
        for argument, part in told["properties"].items():
            assert schema["properties"][argument]["description"] == part["description"]
        if "filters" in told["properties"]:
            condition = schema["properties"]["filters"]["items"]["properties"]
            for key in ("field", "operator"):
                wanted = told["properties"]["filters"]["items"]["properties"][key]["enum"]
                assert condition[key]["enum"] == wanted


@each_kind
def test_r39_what_may_be_left_out_has_a_default_or_may_be_null(kind: str) -> None:
    """Groq's models fill such arguments with null, and Groq checks them by the schema."""
    import jsonschema

    for path, part in all_parts(sent("groq", kind)):
        for name, argument in part.get("properties", {}).items():
            if name not in part.get("required", ()) and "default" not in argument:
                jsonschema.validate(None, argument)
                assert "null" in types_of(argument), (path, name)


def test_r39_ollama_knows_what_to_sort_by() -> None:
    """Its client drops `anyOf`: the types stand beside it too."""
    schema = sent("ollama", "declared")["milvus_search_by_metadata"]
    assert schema["properties"]["order_by"]["type"] == ["string", "null"]


@each_kind
def test_r39_gemini_requires_no_key_of_metadata(kind: str) -> None:
    """It is text there, and what a model may leave out is not required, at any depth."""
    for path, part in all_parts(sent("google", kind)):
        assert set(part.get("required", ())) <= {"query", "documents", "field", "operator", "text"}
        if "anyOf" in part:
            assert part.keys() == {"anyOf"}, path  # Vertex refuses anything beside it


@each_kind
def test_r39_strict_modes_take_the_schemas(kind: str) -> None:
    """OpenAI's rules hold, and Anthropic's: each object closed, each of its keys required."""
    tools = [convert_to_openai_tool(tool, strict=True) for tool in tools_of_kind(kind)]
    assert tool_problems(tools) == []
    for path, part in all_parts(sent("anthropic", kind, strict=True)):
        if "object" in types_of(part) and "properties" in part:
            assert part["additionalProperties"] is False, path
            assert part["required"] == list(part["properties"]), path


def values(schema: Schema, name: str = "") -> st.SearchStrategy[Any]:
    """Generate what a model may send that keeps to a schema, as far as bounds in words allow."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values({**one, "description": ""}, name) for one in schema["anyOf"]])
    types = types_of(schema) | ({"null"} if schema.get("nullable") else set())
    if name == "metadata" and types <= {"string", "null"}:  # told as text of JSON
        return st.sampled_from(['{"year": 1999}', '{"title": "Kite", "year": null}', "{}"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(1, 20),
        "number": st.floats(allow_nan=False, allow_infinity=False, width=32),
        "string": st.text("abc 1é", min_size=1, max_size=9).filter(str.strip),
    }
    if "array" in types:
        kinds["array"] = st.lists(values(schema.get("items", {"type": "string"})), max_size=3)
    if "object" in types:
        kinds["object"] = objects(schema)
    return st.one_of([kinds[one] for one in sorted(types)])


def objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Generate objects: what is not required is left out or sent."""
    required = schema.get("required", ())
    parts = {name: values(part, name) for name, part in schema["properties"].items()}
    wanted = {name: part for name, part in parts.items() if name in required}
    if "documents" in wanted:
        wanted["documents"] = wanted["documents"].filter(bool)
    optional = {name: part for name, part in parts.items() if name not in required}
    return st.fixed_dictionaries(wanted, optional=optional)


@functools.cache
def calls(provider: str, kind: str, *, strict: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Generate arguments for each of the four tools."""
    schemas = sent(provider, kind, strict=strict)
    return st.fixed_dictionaries({name: objects(schema) for name, schema in schemas.items()})


@pytest.mark.parametrize(
    ("provider", "strict"),
    [*((one, False) for one in PROVIDERS), ("openai", True), ("anthropic", True)],
)
@each_kind
@settings(max_examples=10)
@given(data=st.data())
def test_r39_a_tool_takes_what_keeps_to_its_schema(
    provider: str, kind: str, strict: bool, data: st.DataObject
) -> None:
    """Null for what is left out, whole objects, and metadata as text: each tool validates it."""
    arguments = data.draw(calls(provider, kind, strict=strict))
    for tool in tools_of_kind(kind):
        validated(tool.args_schema, arguments[tool.name])
