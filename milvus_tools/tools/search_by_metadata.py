"""The tool that searches by metadata, without vectors."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import StructuredTool

from milvus_tools.tools.arguments import metadata_arguments
from milvus_tools.tools.filters import field_named, id_note, read_filter, require_field
from milvus_tools.tools.formatting import HEADING_CHARS, LEFT_OUT, Style, counted, fitting_blocks
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = "List {what} by metadata or ids, not by meaning. Says how many match in all."
NOTHING: Final = "No document matches."
PAST_THE_END: Final = "{total} match, and the offset is past the last one."


def search_by_metadata_tool(
    settings: ToolSettings, fields: Mapping[str, FilterField]
) -> StructuredTool:
    """Make the tool that lists and counts what matches a filter, page by page."""

    async def search_by_metadata(
        store: AnyStore,
        *,
        filters: Sequence[Any],
        limit: int,
        offset: int,
        order_by: str | None,
        descending: bool,
        expr: str | None = None,
    ) -> Answer:
        if order_by is not None:
            require_field(order_by, settings, fields)
            order_by = field_named(order_by, fields)
        filter_ = read_filter(filters, settings, fields, expr=expr)
        total, documents = await asyncio.gather(
            store.acount(filter=filter_),
            store.asearch_by_metadata(
                filter=filter_,
                limit=limit,
                offset=offset,
                order_by=order_by,
                descending=descending,
            ),
        )
        return _content(documents, total, offset, settings, store), documents

    what = settings.description or "documents of the collection"
    return make_tool(
        settings,
        "search_by_metadata",
        DESCRIPTION.format(what=what) + id_note(fields),
        metadata_arguments(settings, fields),
        search_by_metadata,
    )


def _content(
    documents: Sequence[Document],
    total: int,
    offset: int,
    settings: ToolSettings,
    store: AnyStore,
) -> str:
    if not documents:
        return PAST_THE_END.format(total=total) if total else NOTHING
    style = Style(
        max_chars=settings.max_chars,
        fields=settings.metadata_fields,
        hidden=store.scope.keys(),
        start=offset + 1,
    )
    shown, count = fitting_blocks(documents, style, settings.max_total_chars - HEADING_CHARS)
    last = offset + count
    left = f" {LEFT_OUT.format(left=len(documents) - count)}" if count < len(documents) else ""
    more = f" For more, offset={last}." if last < total else ""
    return f"{offset + 1} to {last} of {counted(total, 'document')}.{left}{more} {shown}"
