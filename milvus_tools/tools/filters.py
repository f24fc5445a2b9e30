"""The filters of a tool call: which fields a model may name, and a description in words."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from milvus_tools._text import visible
from milvus_tools.errors import FilterError
from milvus_tools.filters import (
    Condition,
    FieldType,
    Operator,
    TypedFilter,
    describe,
    parse,
)
from milvus_tools.filters.conditions import MAX_HINT_CHARS, map_conditions
from milvus_tools.filters.fields import field_type
from milvus_tools.filters.names import DocumentId
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.tools.json_text import operand
from milvus_tools.tools.settings import FilterField, ToolSettings

ID: Final = DocumentId("id")
KEY: Final = DocumentId("pk")  # where `id` is metadata, and the primary key's name is not known
_MEANING: Final = "the document's id"
_NOTE: Final = " The document's id is the field {key}; the field id is metadata."


def known_fields(settings: ToolSettings, schema: Schema | None) -> dict[str, FilterField]:
    """Return the fields that the model may name.

    They are the declared fields or, if none are declared, the schema's scalar fields, and the id.
    """
    name = _key_name(settings, schema)
    key: dict[str, FilterField] = {
        name: FilterField(FieldType.STRING, "" if name == ID else _MEANING)
    }
    if settings.filter_fields is not None:
        if name in settings.filter_fields:  # a metadata key of the primary key's usual name
            return dict(settings.filter_fields)
        return {**key, **settings.filter_fields}
    if schema is None:
        return key
    # The text is for the search by meaning, and the scope fixes its fields.
    hidden = {settings.store.text_field, *settings.store.scope, *settings.run_fields}
    types = {
        name: field_type(field) for name, field in schema.scalars.items() if name not in hidden
    }
    return {**key, **{name: FilterField(type_) for name, type_ in types.items() if type_}}


def _key_name(settings: ToolSettings, schema: Schema | None) -> DocumentId:
    """Return the name of the Documents' id: `id`, unless that can be a metadata key."""
    declared = settings.filter_fields
    fields = (schema.scalars if schema else {}) if declared is None else declared
    if ID not in fields and not settings.allow_dynamic:
        return ID
    return DocumentId(schema.primary.name) if schema else KEY


def id_note(fields: Mapping[str, FilterField]) -> str:
    """Return a sentence for a tool's description if `id` does not mean the Documents' id."""
    names = [name for name in fields if isinstance(name, DocumentId)]
    return _NOTE.format(key=names[0]) if names and names[0] != ID else ""


def field_named(name: str, fields: Mapping[str, FilterField]) -> str:
    """Return the field of this name: a `DocumentId` if it means the Documents' id."""
    return next((field for field in fields if field == name), name)


def read_filter(
    filters: Sequence[Any],
    settings: ToolSettings,
    fields: Mapping[str, FilterField] | None,
    *,
    ids: Sequence[str] = (),
    expr: str | None = None,
) -> QueryFilter:
    """Read the filter that a model gave.

    Args:
        filters: Conditions, or groups of them, that must all hold.
        settings: The operator's settings.
        fields: The fields that may be named, or `None` to leave that check to the tool's run.
        ids: If there are any, a Document must have one of these ids.
        expr: A raw expression.

    Raises:
        FilterError: If a field, an operator or a value does not fit. The message says what fits.
    """
    given = [parse(_plain(filter_)) for filter_ in filters]
    if not given and not ids:
        return QueryFilter.read(None, expr)
    if fields is not None:
        named = functools.partial(_named, settings=settings, fields=fields)
        given = [map_conditions(one, named) for one in given]
    # A question knows the declared types: it shows the values that the tool will compare with.
    types = known_fields(settings, None) if fields is None else fields
    parts = [map_conditions(one, functools.partial(_with_value, fields=types)) for one in given]
    if ids:
        parts.append(Condition(_key_name(settings, None), Operator.IN, list(ids)))
    declared = {
        name: field.type
        for name, field in (fields or {}).items()
        if not isinstance(name, DocumentId)
    }
    typed = TypedFilter(
        parts[0] if len(parts) == 1 else parts, declared, allow_dynamic=settings.allow_dynamic
    )
    return QueryFilter.read(typed, expr)


def described(filter_: QueryFilter) -> str:
    """Describe a call's filter in words."""
    # Without line breaks, so that no text in it looks like another line of the question.
    raw = visible(filter_.raw).replace("\n", "\\n")
    typed = [describe(one.conditions) for one in filter_.typed]
    return " and ".join([*typed, *([f"({raw})" if typed else raw] if raw else [])])


def _plain(condition: Any) -> Any:
    # Without unset arguments, so that an operator without its value is refused.
    return (
        condition.model_dump(exclude_unset=True) if isinstance(condition, BaseModel) else condition
    )


def _named(
    condition: Condition, *, settings: ToolSettings, fields: Mapping[str, FilterField]
) -> Condition:
    """Return a condition with the field that its name means; refuse one that is not known."""
    require_field(condition.field, settings, fields)
    return dataclasses.replace(condition, field=field_named(condition.field, fields))


def _with_value(condition: Condition, *, fields: Mapping[str, FilterField]) -> Condition:
    """Return a condition whose value is read, if a model wrote it as JSON text."""
    known = fields.get(condition.field)
    type_ = FieldType.ANY if known is None else known.type
    return dataclasses.replace(
        condition, value=operand(condition.value, condition.operator, type_)
    )


def require_field(name: str, settings: ToolSettings, fields: Mapping[str, FilterField]) -> None:
    """Refuse a field that the model may not name.

    Raises:
        FilterError: If it is not among the fields. The message lists them, and suggests the most
            similar one.
    """
    if name in fields or settings.allow_dynamic:
        return
    near = difflib.get_close_matches(name[:MAX_HINT_CHARS], list(fields), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FilterError(f"There is no field {name[:50]!r}; there are {', '.join(fields)}.{hint}")
