"""OpenAI's rules for tools and response formats, as pure functions that find what breaks them.

What is allowed with `"strict": true` stands in OpenAI's guide "Structured model outputs", under
"Supported schemas": <https://developers.openai.com/api/docs/guides/structured-outputs>. Names
and their length are described in the API's own types (`FunctionDefinition`, `JSONSchema`).
The guide is silent on some rules, which the API's refusals show:

- a description of at most 1024 characters: <https://github.com/getsentry/sentry-mcp/issues/106>
- no `anyOf` and the like on top, strict or not:
  <https://github.com/langchain-ai/langchainjs/issues/9804>
- every array says what its items are, strict or not:
  <https://github.com/streamnative/streamnative-mcp-server/issues/26>
- strict: every part has a type, an enum too: <https://github.com/openclaw/clawpatch/issues/60>
- strict: nothing beside `$ref`: <https://github.com/GREsau/schemars/issues/473>
- strict: a keyword that is not listed is "not permitted" (`oneOf`, `propertyNames`, ...):
  <https://github.com/can1357/oh-my-pi/issues/209>

`default` is not listed either. OpenAI accepts it by now and Azure refuses it, so it passes here:
<https://github.com/openai/openai-agents-python/issues/4390>.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAME_LENGTH = 64
DESCRIPTION_LENGTH = 1024
MAX_PROPERTIES = 5000
MAX_LEVELS = 10
MAX_CHARACTERS = 120_000
MAX_ENUM_VALUES = 1000
LONG_ENUM_VALUES = 250
LONG_ENUM_CHARACTERS = 15_000
TYPES = frozenset({"string", "number", "boolean", "integer", "object", "array", "null"})
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_ON_TOP = ("oneOf", "anyOf", "allOf", "enum", "const", "not")
_NAMED_PARTS = ("properties", "$defs", "definitions")
_LISTED_PARTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_PERMITTED = frozenset(
    {
        *_NAMED_PARTS,
        *("$schema", "title", "description", "default"),
        *("type", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref"),
        *("pattern", "format", "minLength", "maxLength", "minItems", "maxItems"),
        *("multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"),
    }
)

Path = tuple[str, ...]
Schema = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A broken rule, in the terms of OpenAI's answer to it."""

    message: str
    param: str
    code: str | None

    @property
    def body(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"type": "invalid_request_error", **dataclasses.asdict(self)}}


def request_problems(request: Mapping[str, Any]) -> list[Problem]:
    """Find what is wrong with a chat request's tools and response format."""
    tools = tool_problems(request.get("tools") or [])
    return tools + response_format_problems(request.get("response_format") or {})


def tool_problems(tools: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Find what is wrong with tools, in the form in which a request has them."""
    problems: list[Problem] = []
    for number, tool in enumerate(tools):
        if tool.get("type") == "function":
            problems += _function_problems(tool.get("function", {}), f"tools[{number}].function")
        else:
            message = f"Invalid value: '{tool.get('type')}'. Supported values are: 'function'."
            problems.append(Problem(message, f"tools[{number}].type", "invalid_value"))
    return problems


def response_format_problems(response_format: Mapping[str, Any]) -> list[Problem]:
    """Find what is wrong with a response format, if it is one with a schema."""
    if response_format.get("type") != "json_schema":
        return []
    given = response_format.get("json_schema", {})
    problems = list(_name_problems(given, "response_format.json_schema.name"))
    strict = given.get("strict") is True
    for sentence in schema_problems(given.get("schema", {}), strict=strict):
        message = f"Invalid schema for response_format '{given.get('name')}': {sentence}"
        problems.append(Problem(message, "response_format", None))
    return problems


def schema_problems(schema: Schema, *, strict: bool) -> list[str]:
    """Find what is wrong with a schema, each as a sentence of OpenAI's."""
    if not isinstance(schema, Mapping):
        return [f"{schema!r} is not of type 'object'."]
    problems = list(_top_problems(schema))
    for path, part in _parts(schema):
        found = [*_part_problems(part), *(_strict_problems(part) if strict else ())]
        problems += [f"In context={path}, {sentence}" for sentence in found]
    return problems + (list(_size_problems(schema)) if strict else [])


def _function_problems(function: Mapping[str, Any], param: str) -> Iterator[Problem]:
    yield from _name_problems(function, f"{param}.name")
    description = function.get("description") or ""
    if len(description) > DESCRIPTION_LENGTH:
        yield _too_long(f"{param}.description", description, DESCRIPTION_LENGTH)
    if function.get("parameters") is None:
        return  # a function without arguments
    strict = function.get("strict") is True
    for sentence in schema_problems(function["parameters"], strict=strict):
        message = f"Invalid schema for function '{function.get('name')}': {sentence}"
        yield Problem(message, f"{param}.parameters", "invalid_function_parameters")


def _name_problems(named: Mapping[str, Any], param: str) -> Iterator[Problem]:
    name = str(named.get("name") or "")
    if not _NAME.fullmatch(name):
        expected = "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        message = f"Invalid '{param}': string does not match pattern. {expected}"
        yield Problem(message, param, "invalid_value")
    if len(name) > NAME_LENGTH:
        yield _too_long(param, name, NAME_LENGTH)


def _too_long(param: str, text: str, limit: int) -> Problem:
    expected = f"Expected a string with maximum length {limit}"
    got = f"but got a string with length {len(text)} instead."
    message = f"Invalid '{param}': string too long. {expected}, {got}"
    return Problem(message, param, "string_above_max_length")


def _top_problems(schema: Schema) -> Iterator[str]:
    kind = schema.get("type")
    if kind != "object":
        yield f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{kind}"'."""
    if any(keyword in schema for keyword in _NOT_ON_TOP):
        listed = "/".join(f"'{keyword}'" for keyword in _NOT_ON_TOP)
        yield f"schema must have type 'object' and not have {listed} at the top level."
    if kind == "object" and "properties" not in schema:
        yield "In context=(), object schema missing properties."


def _parts(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    yield path, schema
    for below, part in _children(schema):
        yield from _parts(part, path + below)


def _children(schema: Schema) -> Iterator[tuple[Path, Schema]]:
    """Yield the parts right below, each with the way to it."""
    ways: list[tuple[Path, Any]] = [(("items",), schema.get("items"))]
    for keyword in _NAMED_PARTS:
        ways += [((keyword, name), part) for name, part in _named(schema, keyword).items()]
    for keyword in _LISTED_PARTS:
        listed = enumerate(_listed(schema, keyword))
        ways += [((keyword, str(number)), part) for number, part in listed]
    yield from ((way, part) for way, part in ways if isinstance(part, Mapping))


def _named(part: Schema, keyword: str) -> Schema:
    """Return a keyword's mapping, and an empty one for what isn't any."""
    value = part.get(keyword)
    return value if isinstance(value, Mapping) else {}


def _listed(part: Schema, keyword: str) -> list[Any]:
    """Return a keyword's list, and an empty one for what isn't any."""
    value = part.get(keyword)
    return value if isinstance(value, list) else []


def _types(part: Schema) -> list[Any]:
    kind = part.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _part_problems(part: Schema) -> Iterator[str]:
    for keyword in _NAMED_PARTS:
        if not isinstance(part.get(keyword, {}), Mapping):
            yield f"{part[keyword]!r} is not of type 'object'."
    for keyword in (*_LISTED_PARTS, "required", "enum"):
        if not isinstance(part.get(keyword, []), list):
            yield f"{part[keyword]!r} is not of type 'array'."
    for kind in _types(part):
        if kind not in TYPES:
            yield f"{kind!r} is not valid under any of the given schemas."
    if "array" in _types(part) and "items" not in part:
        yield "array schema missing items."


def _strict_problems(part: Schema) -> Iterator[str]:
    if not any(keyword in part for keyword in ("type", "anyOf", "$ref")):
        yield "schema must have a 'type' key."
    for keyword in part:
        if keyword not in _PERMITTED:
            yield f"'{keyword}' is not permitted."
    if "$ref" in part and len(part) > 1:
        yield f"$ref cannot have keywords {set(part) - {'$ref'}}."
    if part.get("format", "date") not in FORMATS:
        yield f"'{part['format']}' is not a valid format."
    if "object" in _types(part):
        yield from _object_problems(part)


def _object_problems(part: Schema) -> Iterator[str]:
    if part.get("additionalProperties") is not False:
        yield "'additionalProperties' is required to be supplied and to be false."
    names, required = _named(part, "properties"), _listed(part, "required")
    for name in names:
        if name not in required:
            rule = "required to be supplied and to be an array including every key in properties"
            yield f"'required' is {rule}. Missing '{name}'."
    for name in required:
        if name not in names:
            yield f"Extra required key '{name}' supplied."


def _size_problems(schema: Schema) -> Iterator[str]:
    parts = [part for _, part in _parts(schema)]
    names = [name for part in parts for keyword in _NAMED_PARTS for name in _named(part, keyword)]
    enums = [_listed(part, "enum") for part in parts]
    values = [*(value for enum in enums for value in enum), *(part.get("const") for part in parts)]
    yield from _over("object properties", sum(len(_named(part, "properties")) for part in parts))
    yield from _over("levels of nesting", _levels(schema))
    yield from _over("enum values", sum(map(len, enums)))
    yield from _over("characters", _characters(names) + _characters(values))
    for enum in enums:
        if len(enum) > LONG_ENUM_VALUES:
            yield from _over("characters in one enum", _characters(enum))


_LIMITS = {
    "object properties": MAX_PROPERTIES,
    "levels of nesting": MAX_LEVELS,
    "enum values": MAX_ENUM_VALUES,
    "characters": MAX_CHARACTERS,
    "characters in one enum": LONG_ENUM_CHARACTERS,
}


def _over(what: str, count: int) -> Iterator[str]:
    if count > _LIMITS[what]:
        yield f"{count} {what} exceeds limit of {_LIMITS[what]}."


def _levels(part: Schema) -> int:
    """Count nested objects and arrays; the guide doesn't say whether it counts arrays."""
    below = max((_levels(child) for _, child in _children(part)), default=0)
    return below + bool({"object", "array"} & set(_types(part)))


def _characters(values: Sequence[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))
