"""The argument schemas that models fill in: few and flat arguments, bounded and described.

Each toolkit builds its own, so that a model sees only the arguments that it may use. Functions
make the defaults, because OpenAI's strict mode refuses the keyword `default`.
"""

import json
from collections.abc import Mapping, Sequence
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
from milvus_tools.filters.expression import OPERATORS
from milvus_tools.filters.stored import time_text
from milvus_tools.tools.settings import FilterField, ToolSettings

RUNTIME: Final = "runtime"  # LangGraph adds it to the arguments; a model can't set it (T46)
MAX_QUERY_CHARS: Final = 2_000
MAX_ID_CHARS: Final = 1_000
MAX_EXPR_CHARS: Final = 5_000
MAX_OFFSET: Final = 16_383  # Milvus's bound for offset and limit together is 16 384 (T30)
MAX_PLACE_CHARS: Final = 100  # of the path to a wrong argument, in which a model can write names

_ITEM: Final = {"anyOf": [{"type": "string"}, {"type": "number"}]}
_VALUE: Final = {
    "anyOf": [*_ITEM["anyOf"], {"type": "boolean"}, {"type": "array", "items": _ITEM}],
}
Value = Annotated[Any, WithJsonSchema(_VALUE)]
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
_TYPES: Final[Mapping[FieldType, Any]] = {
    FieldType.STRING: str,
    FieldType.INTEGER: int,
    FieldType.NUMBER: Number,
    FieldType.BOOLEAN: bool,
    FieldType.DATETIME: Annotated[str, AfterValidator(time_text)],
    FieldType.STRINGS: list[str],
    FieldType.INTEGERS: list[int],
    FieldType.NUMBERS: list[Number],
    FieldType.BOOLEANS: list[bool],
    FieldType.ANY: Value,
}
_OPERATOR: Final = "How to compare"
_COMPARED: Final = "A list for in, not_in and contains_any; [low, high] for between"
_GROUPS: Final = (
    "A condition {field, operator, value}, or a group of them: {all: [...]}, {any: [...]}, "
    "{not: {...}}"
)
_QUERY: Final = "What to look for, in plain words"
_QUERIES: Final = "More queries, on other aspects; all are searched at once and results are fused"
_FILTERS: Final = "Conditions that must all hold"
_NOT_JSON: Final = 'a filter is {"field": …, "operator": …, "value": …}, not a string'
_EXPR: Final = "A Milvus filter expression that must also hold"
_NEW_ID: Final = "Its id. A document with the same id is replaced; left out, a new id is made"
_DRY_RUN: Final = "Say what would be deleted, but delete nothing"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _text(most: int) -> Any:
    return Annotated[str, Field(max_length=most), AfterValidator(_not_blank)]


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
        queries=_items(query, settings.max_queries - 1, _QUERIES),
        k=_number(settings.k, settings.max_k, "How many results"),
        **_filters(settings, fields),
    )


def metadata_arguments(
    settings: ToolSettings, fields: Mapping[str, FilterField]
) -> type[Arguments]:
    """Return the argument schema of the tool that searches by metadata."""
    return _schema(
        "SearchByMetadataArguments",
        **_filters(settings, fields),
        limit=_number(settings.limit, settings.max_limit, "How many documents"),
        offset=_number(0, MAX_OFFSET, "How many to skip", least=0),
        order_by=(str | None, _absent("A field to sort by")),
        descending=(bool, Field(default_factory=bool, description="Greatest first")),
    )


def upsert_arguments(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    """Return the argument schema of the upsert tool."""
    text = _text(settings.max_text_chars)
    document = _schema(
        "Document",
        id=(_Id | None, _absent(_NEW_ID)),
        text=(text, Field(description="Its text")),
        **_metadata(settings, fields),
    )
    documents: Any = list[document]  # type: ignore[valid-type] # created above
    several = Field(
        min_length=1,
        max_length=settings.max_documents,
        description="The documents, each written as a whole",
    )
    return _schema("UpsertArguments", documents=(documents, several))


def delete_arguments(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    """Return the argument schema of the delete tool."""
    return _schema(
        "DeleteArguments",
        ids=_items(_Id, settings.max_delete, "The ids of the documents to delete"),
        **_filters(settings, fields),
        dry_run=(bool, Field(default_factory=bool, description=_DRY_RUN)),
    )


def _schema(name: str, **fields: Any) -> type[Arguments]:
    return create_model(name, __base__=Arguments, **fields)


def _number(default: int, most: int, description: str, *, least: int = 1) -> Any:
    text = f"{description}; {default} if left out"
    return (int, Field(default_factory=lambda: default, ge=least, le=most, description=text))


def _items(item: Any, most: int, description: str) -> Any:
    return (list[item], Field(default_factory=list, max_length=most, description=description))


def _absent(description: str) -> Any:
    return Field(default_factory=lambda: None, description=description)


def _filters(settings: ToolSettings, fields: Mapping[str, FilterField]) -> dict[str, Any]:
    """Return the arguments that filter, as far as the operator allows them."""
    item: Any = Annotated[Any, WithJsonSchema({"type": "object", "description": _GROUPS})]
    if not settings.nested_filters:
        item = _condition(settings, fields)
    several = list[Annotated[item, BeforeValidator(_from_json)]]
    filters: dict[str, Any] = {
        "filters": (
            Annotated[several, BeforeValidator(_from_json)],
            Field(default_factory=list, max_length=settings.max_filters, description=_FILTERS),
        )
    }
    if settings.allow_raw_filter:
        expr = Annotated[str, Field(max_length=MAX_EXPR_CHARS)]
        filters["expr"] = (expr | None, _absent(_EXPR))
    return filters


def _from_json(filter_: Any) -> Any:
    """Parse a filter that a model wrote as a string: as JSON, never as a filter expression."""
    if not isinstance(filter_, str):
        return filter_
    try:
        return json.loads(filter_[: MAX_EXPR_CHARS + 1])
    except (ValueError, RecursionError):
        raise ValueError(_NOT_JSON) from None


def _condition(settings: ToolSettings, fields: Mapping[str, FilterField]) -> type[Arguments]:
    types = {field.type for field in fields.values()} | {FieldType.STRING}
    types |= {FieldType.ANY} if settings.allow_dynamic else set()
    # Without `like`, which only Milvus Lite supports.
    usable = {operator for type_ in types for operator in OPERATORS[type_]} - {Operator.LIKE}
    operators = {"type": "string", "enum": [str(one) for one in Operator if one in usable]}
    return _schema(
        "Condition",
        field=(Annotated[str, _enum(fields, settings)], Field(description=_listed(fields))),
        operator=(Annotated[str, WithJsonSchema(operators)], Field(description=_OPERATOR)),
        value=(Value, Field(default_factory=lambda: True, description=_COMPARED)),
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
    description = "Its metadata"
    if settings.filter_fields is None or settings.allow_dynamic:
        free: Any = Field(default_factory=dict, description=description)
        return {"metadata": (dict[str, Value], free)}
    declared = [name for name in fields if name in settings.filter_fields]
    if not declared:
        return {}
    schema = _schema("Metadata", **dict(_key(*one, fields) for one in enumerate(declared)))
    return {"metadata": (schema, Field(default_factory=schema, description=description))}


def _key(number: int, name: str, fields: Mapping[str, FilterField]) -> tuple[str, Any]:
    """Return a metadata key as a field with an alias, because a key need not be an identifier."""
    field = fields[name]
    description = field.description or None
    value = Field(default_factory=lambda: None, alias=name, description=description)
    return f"key_{number}", (_TYPES[field.type] | None, value)
