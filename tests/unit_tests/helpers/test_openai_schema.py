"""OpenAI's rules for tools and response formats."""

from typing import Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field

from tests.helpers.openai_schema import (
    Problem,
    request_problems,
    response_format_problems,
    schema_problems,
    tool_problems,
)

STRING = {"type": "string"}
ARRAY = {"type": "array", "items": STRING}
ALL_REQUIRED = "required to be supplied and to be an array including every key in properties"


def closed(**properties: Any) -> dict[str, Any]:
    """Return an object's schema as strict mode wants it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tool(**function: Any) -> dict[str, Any]:
    """Return a function in a request's form."""
    return {"type": "function", "function": {"name": "search", **function}}


def only(problems: list[Problem]) -> Problem:
    """Return the one problem that there is."""
    (problem,) = problems
    return problem


def test_a_right_request_has_no_problem():
    """Tools and a response format that keep all rules pass."""
    response_format = {"name": "answer", "strict": True, "schema": closed(text=STRING)}
    request = {
        "tools": [tool(description="d" * 1024, parameters=closed(q=STRING), strict=True)],
        "response_format": {"type": "json_schema", "json_schema": response_format},
    }
    assert request_problems(request) == []


def test_a_request_without_tools_and_format_has_no_problem():
    """Both may be left out, or be null."""
    assert request_problems({}) == []
    assert request_problems({"tools": None, "response_format": None}) == []
    assert request_problems({"response_format": {"type": "json_object"}}) == []


@pytest.mark.parametrize("name", ["", "a b", "a.b", "é", "a\n"])
def test_a_name_has_letters_digits_underscores_and_dashes(name: str):
    """Any other character is refused, and no name at all."""
    problem = only(tool_problems([tool(name=name)]))
    assert problem.param == "tools[0].function.name"
    assert problem.code == "invalid_value"
    assert "'^[a-zA-Z0-9_-]+$'" in problem.message


@pytest.mark.parametrize(("field", "limit"), [("name", 64), ("description", 1024)])
def test_names_and_descriptions_have_a_length(field: str, limit: int):
    """The limit itself passes; one more is refused with both numbers."""
    assert tool_problems([tool(**{field: "x" * limit})]) == []
    problem = only(tool_problems([tool(), tool(**{field: "x" * (limit + 1)})]))
    assert problem.param == f"tools[1].function.{field}"
    assert problem.code == "string_above_max_length"
    assert f"length {limit}, but got a string with length {limit + 1}" in problem.message


def test_the_answer_has_the_form_of_openai():
    """A client finds type, param and code where OpenAI puts them."""
    assert Problem("Wrong.", "tools[0]", None).body == {
        "error": {
            "type": "invalid_request_error",
            "message": "Wrong.",
            "param": "tools[0]",
            "code": None,
        }
    }


def test_a_tool_is_a_function():
    """Tools of another kind are refused."""
    assert only(tool_problems([{"type": "custom"}])).param == "tools[0].type"


def test_a_function_may_have_no_parameters():
    """It is a function without arguments then."""
    assert tool_problems([tool(), tool(parameters=None)]) == []


@pytest.mark.parametrize(
    "parameters",
    [{}, STRING, [], {"type": "object"}, {"anyOf": [closed()]}, {**closed(), "enum": [{}]}],
)
def test_parameters_are_an_object_with_properties(parameters: Any):
    """Nothing else may stand on top, strict or not."""
    problems = tool_problems([tool(parameters=parameters)])
    assert problems
    assert all(problem.param == "tools[0].function.parameters" for problem in problems)
    assert all(problem.code == "invalid_function_parameters" for problem in problems)
    assert all("Invalid schema for function 'search': " in one.message for one in problems)


def test_parameters_need_not_be_strict():
    """Optional arguments, open objects and any keyword pass unless strict mode is asked for."""
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", "additionalProperties": True},
            "b": {"oneOf": [STRING, {"type": "array", "items": {}, "uniqueItems": True}]},
            "c": {"enum": [1, "x"]},
        },
    }
    assert schema_problems(schema, strict=False) == []


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"type": "array"}, "array schema missing items."),
        ({"type": ["array", "null"]}, "array schema missing items."),
        ({"type": "text"}, "'text' is not valid under any of the given schemas."),
        ({"type": "object", "properties": []}, "[] is not of type 'object'."),
        ({"enum": "a"}, "'a' is not of type 'array'."),
    ],
)
def test_a_part_is_a_right_schema_even_if_not_strict(part: dict[str, Any], problem: str):
    """Types exist, arrays say what they hold, and keywords have values of their kind."""
    schema = {"type": "object", "properties": {"p": part}}
    assert schema_problems(schema, strict=False) == [f"In context=('properties', 'p'), {problem}"]


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({}, "schema must have a 'type' key."),
        ({"enum": ["a"]}, "schema must have a 'type' key."),
        ({**STRING, "contentEncoding": "base64"}, "'contentEncoding' is not permitted."),
        (
            {"type": "array", "items": STRING, "uniqueItems": True},
            "'uniqueItems' is not permitted.",
        ),
        ({**STRING, "format": "uri"}, "'uri' is not a valid format."),
        ({"$ref": "#/$defs/d", "title": "t"}, "$ref cannot have keywords {'title'}."),
        (
            {**closed(), "additionalProperties": True},
            "'additionalProperties' is required to be supplied and to be false.",
        ),
        (
            {**closed(a=STRING), "required": []},
            f"'required' is {ALL_REQUIRED}. Missing 'a'.",
        ),
        ({**closed(), "required": ["a"]}, "Extra required key 'a' supplied."),
    ],
)
def test_strict_mode_refuses_what_the_guide_does_not_list(part: dict[str, Any], problem: str):
    """Each rule is told with the place where it is broken."""
    assert schema_problems(closed(p=part), strict=True) == [
        f"In context=('properties', 'p'), {problem}"
    ]


@pytest.mark.parametrize("keyword", ["oneOf", "allOf", "not", "if", "dependentRequired"])
def test_strict_mode_composes_by_any_of_alone(keyword: str):
    """The other keywords of composition are not permitted."""
    value: Any = [STRING] if keyword in {"oneOf", "allOf"} else STRING
    problems = schema_problems(closed(p={**STRING, keyword: value}), strict=True)
    assert problems == [f"In context=('properties', 'p'), '{keyword}' is not permitted."]
    assert schema_problems(closed(p={"anyOf": [STRING, {"type": "null"}]}), strict=True) == []


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda part: {"type": "array", "items": part}, "('properties', 'p', 'items')"),
        (lambda part: {"anyOf": [STRING, part]}, "('properties', 'p', 'anyOf', '1')"),
        (lambda part: closed(items=part), "('properties', 'p', 'properties', 'items')"),
    ],
)
def test_strict_mode_looks_into_every_part(wrap: Any, path: str):
    """Items, alternatives and properties of properties keep the rules too."""
    (problem,) = schema_problems(closed(p=wrap({})), strict=True)
    assert problem == f"In context={path}, schema must have a 'type' key."


def test_strict_mode_looks_into_definitions():
    """Referenced parts are checked where they are defined."""
    schema = {**closed(p={"$ref": "#/$defs/d"}), "$defs": {"d": {"type": "object"}}}
    (problem,) = schema_problems(schema, strict=True)
    assert problem.startswith("In context=('$defs', 'd'), 'additionalProperties'")


def test_a_property_may_be_named_as_a_keyword():
    """A name is not taken for the keyword."""
    schema = closed(**{"oneOf": STRING, "type": STRING, "$ref": STRING, "format": STRING})
    assert schema_problems(schema, strict=True) == []


def nested(levels: int) -> dict[str, Any]:
    """Return an object in an object, and so on."""
    return closed(p=nested(levels - 1)) if levels > 1 else closed()


@pytest.mark.parametrize(
    ("at_limit", "above"),
    [
        (nested(10), nested(11)),
        (
            closed(**{str(n): STRING for n in range(5000)}),
            closed(**{str(n): STRING for n in range(5001)}),
        ),
        (
            closed(p={"type": "integer", "enum": list(range(1000))}),
            closed(p={"type": "integer", "enum": list(range(1001))}),
        ),
        (
            closed(p={**STRING, "enum": ["x" * 60] * 250}),
            closed(p={**STRING, "enum": ["x" * 60] * 251}),
        ),
        (closed(**{"x" * 120_000: STRING}), closed(**{"x" * 120_001: STRING})),
    ],
    ids=["levels", "properties", "enum values", "enum characters", "characters"],
)
def test_strict_mode_has_limits(at_limit: dict[str, Any], above: dict[str, Any]):
    """A schema at the limit passes; a bigger one is refused in strict mode alone."""
    assert schema_problems(at_limit, strict=True) == []
    (problem,) = schema_problems(above, strict=True)
    assert "exceeds limit of" in problem
    assert schema_problems(above, strict=False) == []


def test_a_response_format_keeps_the_same_rules():
    """Its name and its schema are checked, and told under its own name."""
    given = {"name": "a b", "strict": True, "schema": {**closed(), "additionalProperties": True}}
    name, schema = response_format_problems({"type": "json_schema", "json_schema": given})
    assert name.param == "response_format.json_schema.name"
    assert schema.param == "response_format"
    assert schema.message.startswith("Invalid schema for response_format 'a b': In context=()")


class Search(BaseModel):
    """Search for something."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to search for.")
    limit: int | None = Field(default=None, ge=1, le=10, description="How many.")


def test_what_langchain_makes_of_a_model_passes():
    """LangChain's strict conversion of a Pydantic model keeps the rules."""
    assert tool_problems([convert_to_openai_tool(Search, strict=True)]) == []
    assert tool_problems([convert_to_openai_tool(Search)]) == []
