"""The search tool."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import StructuredTool

from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.errors import UnsupportedError
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.ranking import Hits, fuse, unique
from milvus_tools.tools.arguments import search_arguments
from milvus_tools.tools.filters import id_note, read_filter
from milvus_tools.tools.formatting import blocks, counted
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = (
    "Search {what} by meaning. Returns the nearest documents, best first, with their ids."
)
NOTHING: Final = "Nothing was found. {advice}"
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
        found = await gather_or_cancel(_hits(store, one, k, filter_) for one in asked)
        documents = fuse(dict(zip(asked, found, strict=True)), k)
        if not documents:
            # In a collection that does not exist yet, filters are not the reason.
            filtered = filter_ and await store.aschema() is not None
            return NOTHING.format(advice=_FILTERED if filtered else _UNFILTERED), []
        return _content(documents, settings, store), documents

    what = settings.description or "the documents of the collection"
    arguments = search_arguments(settings, fields)
    description = DESCRIPTION.format(what=what) + id_note(fields)
    return make_tool(settings, "search", description, arguments, search)


async def _hits(store: AnyStore, query: str, k: int, filter_: QueryFilter) -> Hits:
    """Search for a query, with scores if the collection's metric type has relevance scores."""
    try:
        return await store.asimilarity_search_with_relevance_scores(query, k, filter=filter_)
    except UnsupportedError:
        found = await store.asimilarity_search(query, k, filter=filter_)
    return [(document, None) for document in found]


def _content(documents: Sequence[Document], settings: ToolSettings, store: AnyStore) -> str:
    shown = blocks(
        documents,
        max_chars=settings.max_chars,
        fields=settings.metadata_fields,
        hidden=store.scope.keys(),
        scored=True,
    )
    return f"{counted(len(documents), 'result')}. {shown}"
