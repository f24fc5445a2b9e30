"""The delete tool: reads the ids that match, and deletes those; never without a condition."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.tools import StructuredTool, ToolException

from milvus_tools._text import cut
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.tools.arguments import delete_arguments, validated
from milvus_tools.tools.filters import described, id_note, read_filter
from milvus_tools.tools.formatting import as_data, counted, listed
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = (
    "Delete {what} by ids, filters, or both, which must then both match. At most {most} at once."
)
_NO_CONDITION: Final = "Give ids or filters: nothing is deleted without a condition."
_TOO_MANY: Final = (
    "Refused: {total} documents match {condition}, but at most {most} can be deleted at once. "
    "Narrow the filters. Nothing was deleted."
)
_NOTHING: Final = "No document matches {condition}; nothing was deleted."
_STRONG: Final = "Strong"
MAX_CONDITION_CHARS: Final = 500
MAX_QUESTION_CHARS: Final = 10_000


def delete_tool(settings: ToolSettings, fields: Mapping[str, FilterField]) -> StructuredTool:
    """Make the delete tool."""

    async def delete(
        store: AnyStore,
        *,
        ids: Sequence[str],
        filters: Sequence[Any],
        dry_run: bool,
        expr: str | None = None,
    ) -> Answer:
        filter_ = read_filter(filters, settings, fields, ids=ids, expr=expr)
        if not filter_:
            raise ToolException(_NO_CONDITION)
        keys = await _matching(store, filter_, settings.max_delete)
        if not keys:
            content = _NOTHING.format(condition=_condition(filter_))
            return content, _artifact([], 0, dry_run=dry_run)
        if dry_run:
            content = f"Would delete {counted(len(keys), 'document')}: {listed(keys)}."
            return content, _artifact(keys, 0, dry_run=True)
        # The filter again, because rows may have changed since they were read.
        result = await store.adelete(keys, filter=filter_)
        return _content(keys, result.count), _artifact(keys, result.count, dry_run=False)

    what = settings.description or "documents of the collection"
    return make_tool(
        settings,
        "delete",
        DESCRIPTION.format(what=what, most=settings.max_delete) + id_note(fields),
        delete_arguments(settings, fields),
        delete,
    )


def delete_question(settings: ToolSettings, arguments: Any) -> str:
    """Return the question with which a person approves a delete.

    It describes the validated arguments, with which the tool runs, rather than the model's text.

    Raises:
        MilvusToolsError: If the tool would refuse the arguments.
    """
    given = dict(validated(delete_arguments(settings, {}), arguments))
    verb = "Show what would be deleted" if given.pop("dry_run") else "Delete"
    filter_ = read_filter(given.pop("filters"), settings, None, **given)
    if not filter_:
        raise InvalidInputError(_NO_CONDITION)
    condition = cut(described(filter_), MAX_QUESTION_CHARS)
    return f"{verb} where {condition}, in the collection {settings.store.collection_name}?"


async def _matching(store: AnyStore, filter_: QueryFilter, most: int) -> list[str]:
    """Return the ids that match now, or refuse if there are too many.

    The reads are strong, to see what other processes wrote a moment ago (T20).
    """
    # One id more than allowed shows that there are too many.
    keys = await store.aget_pks(filter=filter_, limit=most + 1, consistency_level=_STRONG)
    if len(keys) > most:
        total = await store.acount(filter=filter_, consistency_level=_STRONG)
        raise ToolException(
            _TOO_MANY.format(total=total, condition=_condition(filter_), most=most)
        )
    return [str(key) for key in keys]


def _condition(filter_: QueryFilter) -> str:
    return cut(described(filter_), MAX_CONDITION_CHARS, clean=as_data)


def _content(keys: Sequence[str], count: int) -> str:
    if count == len(keys):
        return f"Deleted {counted(count, 'document')}: {listed(keys)}."
    return (
        f"Deleted {count} of {counted(len(keys), 'document')}: the others were changed or deleted "
        f"in the meantime. Requested: {listed(keys)}."
    )


def _artifact(keys: Sequence[str], count: int, *, dry_run: bool) -> dict[str, Any]:
    return {"ids": list(keys), "deleted": count, "dry_run": dry_run}
