"""The tool that deletes: what it read a moment ago, and never everything."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.tools import StructuredTool, ToolException

from milvus_tools._text import cut
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.tools.arguments import delete_arguments, validated
from milvus_tools.tools.filters import described, read_filter
from milvus_tools.tools.formatting import as_data, counted, listed
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = (
    "Delete {what} that have one of the ids and match the filters, as far as given. "
    "At most {most} at once."
)
_NO_CONDITION: Final = "Give ids or filters: nothing is deleted without a condition."
_TOO_MANY: Final = (
    "Refused: {total} documents match {condition}, and {most} can be deleted at once. "
    "Narrow the filters. Nothing was deleted."
)
_NOTHING: Final = "No document matches {condition}; nothing was deleted."
_STRONG: Final = "Strong"
MAX_CONDITION_CHARS: Final = 500
MAX_QUESTION_CHARS: Final = 10_000


def delete_tool(settings: ToolSettings, fields: Mapping[str, FilterField]) -> StructuredTool:
    """Make the tool that deletes."""

    async def delete(
        store: AnyStore,
        *,
        ids: Sequence[str],
        filters: Sequence[Any],
        dry_run: bool,
        expr: str | None = None,
    ) -> Answer:
        narrowed = read_filter(filters, settings, fields, ids=ids, expr=expr)
        if not narrowed:
            raise ToolException(_NO_CONDITION)
        keys = await _matching(store, narrowed, settings.max_delete)
        if not keys:
            return _NOTHING.format(condition=_said(narrowed)), _artifact([], 0, dry_run=dry_run)
        if dry_run:
            content = f"Would delete {counted(len(keys), 'document')}: {listed(keys)}."
            return content, _artifact(keys, 0, dry_run=True)
        result = await store.adelete(keys, filter=narrowed)
        return _content(keys, result.count), _artifact(keys, result.count, dry_run=False)

    what = settings.description or "documents of the collection"
    return make_tool(
        settings,
        "delete",
        DESCRIPTION.format(what=what, most=settings.max_delete),
        delete_arguments(settings, fields),
        delete,
    )


def delete_question(settings: ToolSettings, arguments: Any) -> str:
    """Say what a call would delete, for whoever approves it.

    It says what the validated arguments say, which are those that run, and not what a model wrote.

    Raises:
        MilvusToolsError: If the tool would refuse the arguments.
    """
    given = dict(validated(delete_arguments(settings, {}), arguments))
    verb = "Show what would be deleted" if given.pop("dry_run") else "Delete"
    narrowed = read_filter(given.pop("filters"), settings, None, **given)
    if not narrowed:
        raise InvalidInputError(_NO_CONDITION)
    condition = cut(described(narrowed), MAX_QUESTION_CHARS)
    return f"{verb} where {condition}, in the collection {settings.store.collection_name}?"


async def _matching(store: AnyStore, narrowed: QueryFilter, most: int) -> list[str]:
    """Read the ids of what matches now, and refuse too many."""
    keys = await store.aget_pks(filter=narrowed, limit=most + 1, consistency_level=_STRONG)
    if len(keys) > most:
        total = await store.acount(filter=narrowed, consistency_level=_STRONG)
        raise ToolException(_TOO_MANY.format(total=total, condition=_said(narrowed), most=most))
    return [str(key) for key in keys]


def _said(narrowed: QueryFilter) -> str:
    return cut(described(narrowed), MAX_CONDITION_CHARS, clean=as_data)


def _content(keys: Sequence[str], count: int) -> str:
    if count == len(keys):
        return f"Deleted {counted(count, 'document')}: {listed(keys)}."
    return (
        f"Deleted {count} of {counted(len(keys), 'document')}: somebody else changed or deleted "
        f"the others meanwhile. Asked for: {listed(keys)}."
    )


def _artifact(keys: Sequence[str], count: int, *, dry_run: bool) -> dict[str, Any]:
    return {"ids": list(keys), "deleted": count, "dry_run": dry_run}
