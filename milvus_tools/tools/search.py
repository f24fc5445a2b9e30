"""The search tool."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import StructuredTool

from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.errors import UnsupportedError
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.links import LINK_FETCH_K, arank_by_links
from milvus_tools.ranking import Hits, fuse, unique
from milvus_tools.tools.arguments import search_arguments
from milvus_tools.tools.filters import id_note, read_filter
from milvus_tools.tools.formatting import (
    HEADING_CHARS,
    LEFT_OUT,
    Style,
    counted,
    fitting_blocks,
    listed,
)
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = "Search {what} by meaning. Returns the nearest, best first, with their ids."
NOTHING: Final = "Nothing was found. {advice}"
BY_ID: Final = "Narrow the search, or read them with {tool} by id: {ids}."
MAX_LEFT_OUT_CHARS: Final = 200
_FILTERED: Final = "Leave out filters, or check their values."
_UNFILTERED: Final = "The collection has no documents that you may see."


def search_tool(settings: ToolSettings, fields: Mapping[str, FilterField]) -> StructuredTool:
    """Make the search tool, which fuses the results of several queries."""

    async def search(
        store: AnyStore,
        *,
        query: str,
        queries: Sequence[str],
        k: int,
        filters: Sequence[Any],
        expr: str | None = None,
    ) -> Answer:
        asked = unique([query, *queries])
        filter_ = read_filter(filters, settings, fields, expr=expr)
        fetch = k if settings.link_field is None else max(k, LINK_FETCH_K)
        hits = await gather_or_cancel(_hits(store, one, fetch, filter_) for one in asked)
        found = dict(zip(asked, hits, strict=True))
        documents = await _best(found, k, settings)
        if not documents:
            # In a collection that does not exist yet, filters are not the reason.
            filtered = filter_ and await store.aschema() is not None
            return NOTHING.format(advice=_FILTERED if filtered else _UNFILTERED), []
        return _content(documents, settings, store), documents

    what = settings.description or "the documents of the collection"
    arguments = search_arguments(settings, fields)
    description = DESCRIPTION.format(what=what) + id_note(fields)
    return make_tool(settings, "search", description, arguments, search)


async def _best(found: Mapping[str, Hits], k: int, settings: ToolSettings) -> list[Document]:
    if settings.link_field is None:
        return fuse(found, k)
    return (await arank_by_links(" ".join(found), fuse(found, None), settings.link_field))[:k]


async def _hits(store: AnyStore, query: str, k: int, filter_: QueryFilter) -> Hits:
    """Search for a query, with scores if the collection's metric type has relevance scores."""
    try:
        return await store.asimilarity_search_with_relevance_scores(query, k, filter=filter_)
    except UnsupportedError:
        found = await store.asimilarity_search(query, k, filter=filter_)
    return [(document, None) for document in found]


def _content(documents: Sequence[Document], settings: ToolSettings, store: AnyStore) -> str:
    style = Style(
        max_chars=settings.max_chars,
        fields=settings.metadata_fields,
        hidden=store.scope.keys(),
        scored=True,
    )
    shown, count = fitting_blocks(documents, style, settings.max_total_chars - HEADING_CHARS)
    results = counted(len(documents), "result")
    if count == len(documents):
        return f"{results}. {shown}"
    ids = listed([one.id or "" for one in documents[count:]], max_chars=MAX_LEFT_OUT_CHARS)
    left = LEFT_OUT.format(left=len(documents) - count)
    by_id = BY_ID.format(tool=settings.name("search_by_metadata"), ids=ids)
    return f"1 to {count} of {results}. {left} {by_id} {shown}"
