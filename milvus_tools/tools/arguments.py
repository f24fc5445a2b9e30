"""The argument schemas that models fill in: few and flat arguments, bounded and described.

Each toolkit builds its own, so that a model sees only the arguments that it may use. What a model
is told of an argument, its JSON schema, is in `json_schemas`; what it is checked by is here. The
bounds are told in words, because not every provider takes the keywords for them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_validator,
)

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters import FieldType, Operator
from milvus_tools.filters.conditions import MAX_DEPTH
from milvus_tools.filters.expression import OPERATORS
from milvus_tools.filters.fields import ITEMS
from milvus_tools.filters.stored import time_text
from milvus_tools.tools import json_schemas, json_text
from milvus_tools.tools.json_schemas import JsonSchema
from milvus_tools.tools.settings import FilterField, ToolSettings

RUNTIME: Final = "runtime"  # LangGraph adds it to the arguments; a model can't set it (T46)
MAX_QUERY_CHARS: Final = 2_000
MAX_ID_CHARS: Final = 1_000
MAX_EXPR_CHARS: Final = 5_000
MAX_OFFSET: Final = 16_383  # Milvus's bound for offset and limit together is 16 384 (T30)
MAX_PLACE_CHARS: Final = 100  # of the path to a wrong argument, in which a model can write names

_TYPES: Final[Mapping[FieldType, Any]] = {
    FieldType.STRING: str,
    FieldType.INTEGER: int,
    FieldType.NUMBER: int | float,
    FieldType.BOOLEAN: bool,
    FieldType.DATETIME: Annotated[str, AfterValidator(time_text)],
    FieldType.STRINGS: list[str],
    FieldType.INTEGERS: list[int],
    FieldType.NUMBERS: list[int | float],
    FieldType.BOOLEANS: list[bool],
    FieldType.ANY: Any,
}
_OPERATOR: Final = "Comparison"
_COMPARED: Final = "A list for in, not_in, contains_any, between [low, high]"
_QUERY: Final = "What to look for, in plain words"
_QUERIES: Final = "Up to {most} more, on other aspects; results are fused"
_FILTERS: Final = "Up to {most} conditions, all must hold"
_NOT_A_FILTER: Final = 'a filter is {"field": …, "operator": …, "value": …}, not a string'
_NOT_A_LIST: Final = 'a list is written as ["…", "…"], not as other text'
_NOT_A_DOCUMENT: Final = 'a document is {"text": …}, and several are a list; the text is not JSON'
_NOT_METADATA: Final = 'metadata is an object such as {"key": …}; the text is not JSON'
_EXPR: Final = "A Milvus filter expression that must also hold"
_NEW_ID: Final = "Its id. A document with the same id is replaced; made of the content if left out"
_DRY_RUN: Final = "Say what would be deleted, but delete nothing"
_SOME_IDS: Final = "The ids of up to {most} documents to delete"
_METADATA: Final = "Its metadata, {{{types}}}"
_FREE: Final = 'Its metadata, a JSON object as text: {"key": …}'


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _text(most: int) -> Any:
    checked = Annotated[str, Field(max_length=most), AfterValidator(_not_blank)]
    return Annotated[checked, WithJsonSchema(json_schemas.STRING)]


_Id: Any = _text(MAX_ID_CHARS)


class Arguments(BaseModel):
    """The base of all schemas: `null` counts as left out, and an unknown name is refused."""

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        names = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = sorted(map(str, data.keys() - set(names) - {RUNTIME}))
        if unknown:
            raise ValueError(f"unknown name {unknown[0][:50]!r}; the names are {', '.join(names)}")
        # OpenAI's strict mode requires every argument: `null` stands for one that is left out.
        return {name: value for name, value in data.items() if value is not None}


def explained(error: ValidationError) -> str:
    """Return a message for the model about invalid arguments.

    It has neither the values, which may be long, nor Pydantic's links.
    """
    wrong = [
        f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""  # noqa: PLR2004
    return f"Invalid arguments: {'; '.join(wrong[:5])}{more}. Fix them and try again."


def validated(schema: type[Arguments], arguments: Any) -> Arguments:
    """Validate arguments as the tool of this schema does.

    Raises:
        InvalidInputError: If the tool would refuse them. The message says what is wrong.
    """
    try:
        return schema.model_validate(arguments)
    except ValidationError as error:
        raise InvalidInputError(explained(error)) from error


def _place(location: Sequence[str | int]) -> str:
    return ".".join(map(str, location))[:MAX_PLACE_CHARS] or "arguments"


def search_arguments(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    """Return the argument schema of the search tool."""
    query = _text(MAX_QUERY_CHARS)
    return _schema(
        "SearchArguments",
        query=(query, Field(description=_QUERY)),
        queries=_items(query, settings.max_queries - 1, _QUERIES, json_text.queries),
        k=_number(settings.k, settings.max_k, "Results"),
        **_filters(settings, fields),
    )


def metadata_arguments(
    settings: ToolSettings, fields: Mapping[str, FilterField]
) -> type[Arguments]:
    """Return the argument schema of the tool that searches by metadata."""
    return _schema(
        "SearchByMetadataArguments",
        **_filters(settings, fields),
        limit=_number(settings.limit, settings.max_limit, "Documents"),
        offset=_number(0, MAX_OFFSET, "Documents to skip", least=0),
        order_by=_absent(str, json_schemas.nullable("string"), "A field to sort by"),
        descending=_flag("Greatest first"),
    )


def upsert_arguments(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    """Return the argument schema of the upsert tool."""
    document = _schema(
        "Document",
        id=_absent(_Id, json_schemas.nullable("string"), _NEW_ID),
        text=(_text(settings.max_text_chars), Field(description="Its text")),
        **_metadata(settings, fields),
    )
    # Metadata may be as long as the text, and each character of both may be escaped.
    most = settings.max_documents * (MAX_ID_CHARS + 2 * settings.max_text_chars) * 2
    bounds = Field(min_length=1, max_length=settings.max_documents)
    several = _objects(document, bounds, most, _NOT_A_DOCUMENT)
    told = {"type": "array", "items": _inlined(document)}
    description = f"Up to {settings.max_documents} documents, each written as a whole"
    return _schema(
        "UpsertArguments",
        documents=(Annotated[several, WithJsonSchema(told)], Field(description=description)),
    )


def delete_arguments(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    """Return the argument schema of the delete tool."""
    return _schema(
        "DeleteArguments",
        ids=_items(_Id, settings.max_delete, _SOME_IDS),
        **_filters(settings, fields),
        dry_run=_flag(_DRY_RUN),
    )


def _schema(name: str, **fields: Any) -> type[Arguments]:
    return create_model(name, __base__=Arguments, **fields)


def _number(default: int, most: int, description: str, *, least: int = 1) -> Any:
    checked: Any = Annotated[int, Field(ge=least, le=most)]
    text = f"{description}, {least} to {most}; default {default}"
    return _left_out(checked, json_schemas.nullable("integer"), lambda: default, text)


def _flag(description: str) -> Any:
    return _left_out(bool, json_schemas.nullable("boolean"), bool, description)


def _items(
    item: Any, most: int, description: str, read: Callable[..., Any] = json_text.texts
) -> Any:
    """Return an argument that is a list of texts."""
    of_text = functools.partial(read, most=2 * most * MAX_QUERY_CHARS, wrong=_NOT_A_LIST)
    checked: Any = Annotated[list[item], Field(max_length=most), BeforeValidator(of_text)]
    told = json_schemas.listed(json_schemas.STRING)
    return _left_out(checked, told, list, description.format(most=most))


def _objects(item: Any, bounds: Any, most: int, wrong: str) -> Any:
    """Return the type of a list of objects, which may be JSON text, as a whole or each."""
    of_text = functools.partial(json_text.whole, most=most, wrong=wrong)
    in_list = functools.partial(json_text.objects, most=most, wrong=wrong)
    several: Any = list[Annotated[item, BeforeValidator(of_text)]]
    return Annotated[several, bounds, BeforeValidator(in_list)]


def _absent(type_: Any, told: JsonSchema, description: str | None) -> Any:
    return _left_out(type_ | None, told, lambda: None, description)


def _left_out(
    checked: Any, told: JsonSchema, default: Callable[[], Any], description: str | None
) -> Any:
    """Return an argument that may be left out."""
    type_ = Annotated[checked, WithJsonSchema(told)]
    return (type_, Field(default_factory=default, description=description))


def _filters(settings: ToolSettings, fields: Mapping[str, FilterField]) -> dict[str, Any]:
    """Return the arguments that filter, as far as the operator allows them."""
    item: Any = _condition(settings, fields)
    told = _inlined(item)
    if settings.nested_filters:
        item, told = Annotated[Any, AfterValidator(without_nulls)], json_schemas.group(told)
    bounds = Field(max_length=settings.max_filters)
    checked = _objects(item, bounds, MAX_EXPR_CHARS, _NOT_A_FILTER)
    description = _FILTERS.format(most=settings.max_filters)
    filters = {"filters": _left_out(checked, json_schemas.listed(told), list, description)}
    if settings.allow_raw_filter:
        expr = Annotated[str, Field(max_length=MAX_EXPR_CHARS)]
        filters["expr"] = _absent(expr, json_schemas.nullable("string"), _EXPR)
    return filters


def without_nulls(filter_: Any, depth: int = 0) -> Any:
    """Return a filter without nulls and empty groups, which stand for what is left out."""
    # What is nested more deeply is refused when it is read.
    if not isinstance(filter_, Mapping) or depth > MAX_DEPTH:
        return filter_
    parts = {
        name: [without_nulls(one, depth + 1) for one in part] if isinstance(part, list) else part
        for name, part in filter_.items()
        if part is not None and not (part == [] and name in json_schemas.GROUPS)
    }
    if isinstance(parts.get("not"), Mapping):
        parts["not"] = without_nulls(parts["not"], depth + 1)
    return parts


def _condition(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    types = {field.type for field in fields.values()} | {FieldType.STRING}
    types |= {FieldType.ANY} if settings.allow_dynamic else set()
    # Without `like`, which only Milvus Lite supports.
    usable = {operator for type_ in types for operator in OPERATORS[type_]} - {Operator.LIKE}
    operators = {"type": "string", "enum": [str(one) for one in Operator if one in usable]}
    dynamic = FieldType.ANY in types
    value = json_schemas.dynamic_value() if dynamic else json_schemas.value()
    compare = f"{_OPERATOR}. Its value: {_COMPARED}" if dynamic else _OPERATOR
    compared = None if dynamic else _COMPARED
    return _schema(
        "Condition",
        field=(Annotated[str, _enum(fields, settings)], Field(description=_listed(fields))),
        operator=(Annotated[str, WithJsonSchema(operators)], Field(description=compare)),
        value=_left_out(Any, value, lambda: True, compared),
    )


def _enum(fields: Mapping[str, FilterField], settings: ToolSettings) -> WithJsonSchema:
    # Only the JSON schema lists the names: Pydantic would refuse others without a hint, while
    # `require_field` suggests the most similar one.
    if settings.allow_dynamic:
        return WithJsonSchema({"type": "string"})
    return WithJsonSchema({"type": "string", "enum": list(fields)})


def _listed(fields: Mapping[str, FilterField]) -> str:
    """List the fields for the model, grouped by type."""
    types = dict.fromkeys(field.type for field in fields.values())
    return "; ".join(
        f"{type_}: {', '.join(_explained(*one) for one in fields.items() if one[1].type is type_)}"
        for type_ in types
    )


def _explained(name: str, field: FilterField) -> str:
    return f"{name} ({field.description})" if field.description else name


def _metadata(settings: ToolSettings, fields: Mapping[str, FilterField]) -> dict[str, Any]:
    """Return the argument for metadata: the declared fields, or any keys if none are declared."""
    of_text = functools.partial(
        json_text.whole, most=2 * settings.max_text_chars, wrong=_NOT_METADATA
    )
    if settings.filter_fields is None or settings.allow_dynamic:
        free: Any = Annotated[dict[str, Any], BeforeValidator(of_text)]
        return {"metadata": _left_out(free, json_schemas.nullable("string"), dict, _FREE)}
    declared = [name for name in fields if name in settings.filter_fields]
    if not declared:
        return {}
    schema: Any = _schema("Metadata", **dict(_key(*one, fields) for one in enumerate(declared)))
    told = json_schemas.keys(_inlined(schema)["properties"])
    checked = Annotated[schema, BeforeValidator(of_text)]
    types = ", ".join(f"{name}: {fields[name].type}" for name in declared)
    return {"metadata": _left_out(checked, told, schema, _METADATA.format(types=types))}


def _key(number: int, name: str, fields: Mapping[str, FilterField]) -> tuple[str, Any]:
    """Return a metadata key as a field with an alias, because a key need not be an identifier."""
    field = fields[name]
    checked = _TYPES[field.type]
    if field.type in ITEMS:
        of_text = functools.partial(json_text.texts, most=MAX_EXPR_CHARS, wrong=_NOT_A_LIST)
        checked = Annotated[checked, BeforeValidator(of_text)]
    told = json_schemas.key(field.type)
    type_: Any = Annotated[checked | None, WithJsonSchema(told)]
    description = field.description or None
    value = Field(default_factory=lambda: None, alias=name, description=description)
    return f"key_{number}", (type_, value)


def _inlined(schema: type[Arguments]) -> JsonSchema:
    """Return the JSON schema of a nested object, without titles."""
    told = schema.model_json_schema()
    told.pop("title")
    for property_ in told["properties"].values():
        property_.pop("title", None)
    return told
