"""JSON schemas of arguments that every provider's converter takes.

No converter takes all of JSON Schema, and each drops other parts without a word:

- Gemini's reads one type, or `anyOf` with null; a list of types becomes a string, and an object
  without properties is refused. ollama's keeps `type`, `items`, `enum` and the description alone.
  So an argument that can be null says so twice, by `anyOf` and by a list of types.
- Groq's models may fill an argument with null in place of leaving it out, and Groq refuses what
  the schema does not allow. OpenAI's strict mode requires every argument.
- Anthropic's strict mode refuses `maximum`, `maxLength` and `maxItems`; llama.cpp refuses lengths
  from 2 000 on. So bounds are in the descriptions, and validation holds them.
- `$ref` is refused by some, and lost by others.

Lists have a default in place of null: to say twice what a condition is would double what a model
reads of a tool.
"""

from typing import Any, Final

from milvus_tools.filters import FieldType
from milvus_tools.filters.fields import ITEMS

JsonSchema = dict[str, Any]

_TYPES: Final = {
    FieldType.STRING: "string",
    FieldType.INTEGER: "integer",
    FieldType.NUMBER: "number",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATETIME: "string",
}
GROUPS: Final = {
    "all": "Conditions or groups that must all hold",
    "any": "Conditions or groups of which one must hold",
    "not": "Conditions or groups that must not all hold",
}
_GROUP: Final = (
    "A condition {field, operator, value}, or a group of them: {all: [...]}, {any: [...]}, "
    "{not: [...]}"
)
STRING: Final[JsonSchema] = {"type": "string"}
_ITEM: Final = ["string", "number"]


def nullable(type_: str, items: JsonSchema | None = None) -> JsonSchema:
    """Return the schema of an argument of one type that may be left out, or be null."""
    rest = {} if items is None else {"items": items}
    types = [{"type": type_, **rest}, {"type": "null"}]
    return {"anyOf": types, "type": [type_, "null"], **rest}


def keys(properties: JsonSchema) -> JsonSchema:
    """Return the schema of an object whose keys may all be left out, and the object too.

    Gemini's converter makes the keys of an inner object required. With a list of types it makes
    the object a string, which is read as JSON.
    """
    return {"type": ["object", "null"], "properties": properties}


def key(type_: FieldType) -> JsonSchema:
    """Return the schema of one of the `keys`."""
    if type_ is FieldType.ANY:
        return value()
    if type_ in ITEMS:
        return {"type": ["array", "null"], "items": {"type": _TYPES[ITEMS[type_]]}}
    return {"type": [_TYPES[type_], "null"]}


def value() -> JsonSchema:
    """Return the schema of a value whose type depends on the field that it is for.

    Gemini writes it as a string, which is read as JSON where the field is not of strings.
    """
    types = [*_ITEM, "boolean", "array", "null"]
    return {"type": types, "items": {"type": _ITEM}}


def dynamic_value() -> JsonSchema:
    """Return the schema of a value for a field whose type may be unknown.

    Gemini is told the types too, because text can't be read by the type of the field. It then
    takes neither a description nor null.
    """
    items = {"anyOf": [{"type": one} for one in _ITEM]}
    plain = [*_ITEM, "boolean"]
    types = [*({"type": one} for one in plain), {"type": "array", "items": items}]
    schema = {"type": [*plain, "array"], "items": {"type": _ITEM}}
    return {"anyOf": types, **schema, "default": True}


def listed(item: JsonSchema) -> JsonSchema:
    """Return the schema of a list that may be left out, but not be null."""
    return {"type": "array", "items": item, "default": []}


def group(condition: JsonSchema) -> JsonSchema:
    """Return the schema of a condition, or of a group of them.

    Groups can be nested more deeply than the schema tells: without `$ref` it can't be endless.
    """
    groups = {name: {**listed(condition), "description": text} for name, text in GROUPS.items()}
    optional = {
        name: {**nullable("string"), "description": condition["properties"][name]["description"]}
        for name in ("field", "operator")
    }
    names = condition["properties"]["operator"]["enum"]
    optional["operator"]["description"] += f"; one of {', '.join(names)}"
    properties = {**condition["properties"], **optional, **groups}
    return {"type": "object", "properties": properties, "description": _GROUP}
