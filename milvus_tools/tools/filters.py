"""The filters of a tool call: which fields a model may name, and a description in words."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from milvus_tools._text import visible
from milvus_tools.errors import FilterError
from milvus_tools.filters import (
    All,
    Any_,
    Condition,
    FieldType,
    Filter,
    Not,
    Operator,
    TypedFilter,
    describe,
    parse,
)
from milvus_tools.filters.conditions import MAX_HINT_CHARS
from milvus_tools.filters.fields import field_type
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.tools.json_text import operand
from milvus_tools.tools.settings import FilterField, ToolSettings

ID: Final = "id"


def known_fields(settings: ToolSettings, schema: Schema | None) -> dict[str, FilterField]:
    """Return the fields that the model may name.

    They are the declared fields or, if none are declared, the schema's scalar fields, and the id.
    """
    key = {ID: FilterField(FieldType.STRING)}
    if settings.filter_fields is not None:
        return {**key, **settings.filter_fields}
    if schema is None:
        return key
    # The text is for the search by meaning, and the scope fixes its fields.
    hidden = {settings.store.text_field, *settings.store.scope, *settings.run_fields}
    types = {
        name: field_type(field) for name, field in schema.scalars.items() if name not in hidden
    }
    return {**key, **{name: FilterField(type_) for name, type_ in types.items() if type_}}


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
    parts = [*map(_plain, filters), *([Condition(ID, Operator.IN, list(ids))] if ids else [])]
    if not parts:
        return QueryFilter.read(None, expr)
    conditions = parse(parts[0] if len(parts) == 1 else parts)
    # A question knows the declared types: it shows the values that the tool will compare with.
    types = known_fields(settings, None) if fields is None else fields
    declared = {name: field.type for name, field in (fields or {}).items() if name != ID}
    typed = TypedFilter(
        _with_values(conditions, types), declared, allow_dynamic=settings.allow_dynamic
    )
    if fields is not None:
        _require_known(typed.conditions, settings, fields)
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


def _with_values(filter_: Filter, fields: Mapping[str, FilterField]) -> Filter:
    """Return a filter whose values that a model wrote as JSON text are read."""
    match filter_:
        case Condition(field, operator, value):
            type_ = fields[field].type if field in fields else FieldType.ANY
            return dataclasses.replace(filter_, value=operand(value, operator, type_))
        case Not(inner):
            return Not(_with_values(inner, fields))
        case All(parts) | Any_(parts):
            return type(filter_)([_with_values(part, fields) for part in parts])


def _require_known(
    filter_: Filter, settings: ToolSettings, fields: Mapping[str, FilterField]
) -> None:
    match filter_:
        case Condition(field):
            require_field(field, settings, fields)
        case Not(inner):
            _require_known(inner, settings, fields)
        case All(parts) | Any_(parts):
            for part in parts:
                _require_known(part, settings, fields)


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
