"""From what a model fills in to the expression that Milvus reads."""

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
    describe,
    parse,
)
from milvus_tools.filters.conditions import MAX_HINT_CHARS
from milvus_tools.filters.fields import field_type
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import all_of
from milvus_tools.schema import Schema
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings

ID: Final = "id"


def known_fields(settings: ToolSettings, schema: Schema | None) -> dict[str, FilterField]:
    """Return the fields that the model may name: the declared ones, else the schema's scalars."""
    key = {ID: FilterField(FieldType.STRING)}
    if settings.filter_fields is not None:
        return {**key, **settings.filter_fields}
    if schema is None:
        return key
    hidden = {settings.store.text_field, *settings.store.scope, *settings.run_fields}
    types = {
        name: field_type(field) for name, field in schema.scalars.items() if name not in hidden
    }
    return {**key, **{name: FilterField(type_) for name, type_ in types.items() if type_}}


@dataclasses.dataclass(frozen=True)
class ToolFilter:
    """How a call is narrowed.

    Attributes:
        filter: The typed filter, or `None`.
        raw: A checked raw expression, or `""`.
    """

    filter: Filter | None = None
    raw: str = ""

    def __bool__(self) -> bool:
        """Tell whether it narrows anything."""
        return self.filter is not None or bool(self.raw)

    def __str__(self) -> str:
        """Say it in words."""
        parts = [describe(self.filter)] if self.filter is not None else []
        raw = visible(self.raw).replace("\n", "\\n")  # no string in it poses as another line
        return " and ".join([*parts, *([f"({raw})" if parts else raw] if raw else [])])

    async def expression(
        self, store: AnyStore, settings: ToolSettings, fields: Mapping[str, FilterField]
    ) -> str | None:
        """Write it for Milvus; `""` for all, `None` if what it narrows is not there yet."""
        if not self:
            return ""
        if self.filter is None:
            return self.raw if await store.aschema() is not None else None
        declared = {name: field.type for name, field in fields.items() if name != ID}
        typed = await store.afilter_expression(
            self.filter, declared, allow_dynamic=settings.allow_dynamic
        )
        return None if typed is None else all_of([typed, self.raw])


def read_filter(
    filters: Sequence[Any],
    settings: ToolSettings,
    fields: Mapping[str, FilterField] | None,
    *,
    ids: Sequence[str] = (),
    expr: str | None = None,
) -> ToolFilter:
    """Read what a model said of which Documents it means.

    Args:
        filters: Conditions, or groups of them, that must all hold.
        settings: The operator's settings.
        fields: The fields that may be named, or `None` if that is checked elsewhere.
        ids: Ids, one of which a Document must have, if any are given.
        expr: A raw expression.

    Raises:
        FilterError: If a field, an operator or a value does not fit; it says what does.
    """
    parts = [parse(_plain(one)) for one in filters]
    if fields is not None:
        for part in parts:
            _require_known(part, settings, fields)
    if ids:
        parts.append(Condition(ID, Operator.IN, list(ids)))
    typed = parts[0] if len(parts) == 1 else All(parts) if parts else None
    return ToolFilter(typed, checked(expr))


def _plain(condition: Any) -> Any:
    return (
        condition.model_dump(exclude_unset=True) if isinstance(condition, BaseModel) else condition
    )


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
    """Refuse a field that the operator did not name.

    Raises:
        FilterError: If it is none; the message has those that are, and the nearest one.
    """
    if name in fields or settings.allow_dynamic:
        return
    near = difflib.get_close_matches(name[:MAX_HINT_CHARS], list(fields), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FilterError(f"There is no field {name[:50]!r}; there are {', '.join(fields)}.{hint}")
