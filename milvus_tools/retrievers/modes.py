"""The search for one query, as the retriever's mode has it."""

from typing import Any

from milvus_tools.errors import UnsupportedError
from milvus_tools.ranking import Hits
from milvus_tools.retrievers.settings import RetrieverSettings
from milvus_tools.store.options import DEFAULT_FETCH_K, without_ranking


async def search_one(settings: RetrieverSettings, text: str, *, k: int, expr: str) -> Hits:
    """Search for one query.

    Args:
        settings: The retriever's settings.
        text: The query.
        k: How many Documents the call is to return.
        expr: What must hold.

    Raises:
        UnsupportedError: If the collection, or this Milvus, has no such search.
    """
    if settings.mode == "mmr":
        return await _diverse(settings, text, k, expr)
    if len(settings.store.vector_fields) == 1:
        return await _scored(settings, text, k, expr)
    if settings.mode == "similarity":
        return await _scored(settings, text, k, expr, search_mode="dense")
    try:
        return await _scored(settings, text, k, expr, search_mode="hybrid")
    except UnsupportedError:
        if not settings.fallback:
            raise
    return await _scored(settings, text, k, expr, search_mode="dense")


async def _scored(settings: RetrieverSettings, text: str, k: int, expr: str, **mode: Any) -> Hits:
    options = {**settings.search_kwargs, **mode}
    if options.get("search_mode") == "dense":
        options = {**without_ranking(options), **mode}  # there is nothing to rank anew
    return await settings.store.asimilarity_search_with_score(
        text, _considered(settings, k), expr=expr, timeout=settings.query_timeout, **options
    )


async def _diverse(settings: RetrieverSettings, text: str, k: int, expr: str) -> Hits:
    found = await settings.store.amax_marginal_relevance_search(
        text,
        k,
        _considered(settings, k),
        settings.lambda_mult,
        expr=expr,
        timeout=settings.query_timeout,
        **settings.search_kwargs,
    )
    return [(document, None) for document in found]


def _considered(settings: RetrieverSettings, k: int) -> int:
    default = DEFAULT_FETCH_K if settings.mode == "mmr" else k
    return max(k, default if settings.fetch_k is None else settings.fetch_k)
