"""The public methods that search."""

import warnings
from typing import Any, Final

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever

from milvus_tools._io.blocking import blocking
from milvus_tools._io.loop import run_sync
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.query_filter import FilterLike
from milvus_tools.store.base import StoreBase
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.operations import search as operations
from milvus_tools.store.operations.search import Scored, SearchArguments
from milvus_tools.store.options import is_number
from milvus_tools.transport.requests import (
    Vector,
)

_FILTERS: Final = {"filter", "expr"}

SearchParams = dict[str, Any] | list[dict[str, Any]] | None


class StoreRetriever(VectorStoreRetriever):
    """A retriever whose own filter always holds.

    A `filter` or an `expr` given at `invoke` is joined to those in `search_kwargs`; LangChain's
    own class would put it in their place.
    """

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        joined = run_sync(self._joined(kwargs)) if _FILTERS & kwargs.keys() else kwargs
        return super()._get_relevant_documents(query, run_manager=run_manager, **joined)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        joined = await self._joined(kwargs) if _FILTERS & kwargs.keys() else kwargs
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **joined)

    async def _joined(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Join the filters of a call to the retriever's own."""
        given, own = [
            await read_filter(one.get("filter"), one.get("expr"))
            for one in (kwargs, self.search_kwargs)
        ]
        return {**kwargs, "filter": own & given, "expr": None}


class SearchMethods(StoreBase):
    """Similarity search by text and by vector, with scores, and with diversity.

    Common arguments:

    - `k`: the most Documents to return, 1 to 16384.
    - `param`: Milvus's search parameters, `{"params": {"nprobe": 32}}`; for a store with several
      vector fields a list of them, in the fields' order.
    - `filter`: a condition, `{"field": "year", "operator": "gte", "value": 2000}`; a list of
      conditions, which all hold; a group, `{"all": […]}`, `{"any": […]}` or `{"not": …}`; or a
      filter expression.
    - `expr`: a [filter expression](https://milvus.io/docs/boolean.md). It, `filter` and the scope
      all hold.
    - `timeout`: seconds for the whole call; `None` for the store's.
    - further keyword arguments: `consistency_level`, `offset`, `round_decimal`,
      `group_by_field`, `group_size`, `strict_group_size`, `ignore_growing`; for several vector
      fields `fetch_k`, `reranker`, `ranker_type` and `ranker_params`; outside scopes
      `partition_names`.
    - `search_mode`, of searches for a text: `"dense"` for the dense vector fields alone,
      `"sparse"` for those of BM25 and of sparse embeddings, `"hybrid"` for both, or
      `UnsupportedError`; by default all that the store has.

    All raise `InvalidInputError` for arguments that are wrong, and the errors below `MilvusError`
    if Milvus fails.
    """

    async def asimilarity_search(
        self,
        query: str,
        k: int = 4,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the Documents nearest to a text.

        A store with several vector fields (several embeddings, or one and BM25) searches all of
        them and fuses the hits by reciprocal rank, or by the ranker that the call names.

        Args:
            query: The text.
            k: The most Documents.
            param: Search parameters.
            expr: A filter expression.
            timeout: Seconds for the call.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Further arguments, see the class.

        Returns:
            The Documents, nearest first; `[]` if nothing matches or nothing was written yet.
        """
        found = await self.asimilarity_search_with_score(
            query, k, param, expr, timeout, filter=filter, **kwargs
        )
        return [document for document, _ in found]

    similarity_search = blocking(asimilarity_search)

    async def asimilarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> Scored:
        """Return the Documents nearest to a text, each with Milvus's distance.

        The distance is higher for nearer Documents with COSINE and IP, and lower with L2 (which
        is squared); fused searches return the ranker's score.

        Args:
            query: The text.
            k: The most Documents.
            param: Search parameters.
            expr: A filter expression.
            timeout: Seconds for the call.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Further arguments, see the class.

        Returns:
            Pairs of Document and distance, nearest first.
        """
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        return await self._run(operations.similarity_search, timeout, query, arguments)

    similarity_search_with_score = blocking(asimilarity_search_with_score)

    async def asimilarity_search_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the Documents nearest to a vector.

        Args:
            embedding: The vector, `(dim,)` float32 values; a sparse one as `{index: weight}`.
            k: The most Documents.
            param: Search parameters.
            expr: A filter expression.
            timeout: Seconds for the call.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Further arguments, see the class.

        Returns:
            The Documents, nearest first.
        """
        found = await self.asimilarity_search_with_score_by_vector(
            embedding, k, param, expr, timeout, filter=filter, **kwargs
        )
        return [document for document, _ in found]

    similarity_search_by_vector = blocking(asimilarity_search_by_vector)

    async def asimilarity_search_with_score_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> Scored:
        """Return the Documents nearest to a vector, each with Milvus's distance.

        Args:
            embedding: The vector, `(dim,)` float32 values; a sparse one as `{index: weight}`.
            k: The most Documents.
            param: Search parameters.
            expr: A filter expression.
            timeout: Seconds for the call.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Further arguments, see the class.

        Returns:
            Pairs of Document and distance, nearest first.
        """
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        return await self._run(operations.search_by_vector, timeout, embedding, arguments)

    similarity_search_with_score_by_vector = blocking(asimilarity_search_with_score_by_vector)

    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, *, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """Return the Documents nearest to a text, each with a relevance of 0 to 1, 1 the best.

        The metric is the index's own: `(distance + 1) / 2` for COSINE and IP, `1 - distance / 4`
        for L2, both of which hold for vectors of length 1.

        Args:
            query: The text.
            k: The most Documents.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: `score_threshold`, the least relevance to return, and what
                `asimilarity_search_with_score` takes.

        Returns:
            Pairs of Document and relevance, nearest first.

        Raises:
            UnsupportedError: If the collection's metric has no such score (BM25, fused searches).
        """
        threshold = kwargs.pop("score_threshold", None)
        if threshold is not None and not is_number(threshold):
            raise InvalidInputError("score_threshold must be a number from 0 to 1.")
        param, expr, timeout = (kwargs.pop(name, None) for name in ("param", "expr", "timeout"))
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        scored = await self._run(operations.search_with_relevance, timeout, query, arguments)
        if any(not 0 <= score <= 1 for _, score in scored):
            warnings.warn(
                "A relevance score lies outside 0 to 1: the vectors are not of length 1.",
                stacklevel=2,
            )
        return [pair for pair in scored if threshold is None or pair[1] >= threshold]

    similarity_search_with_relevance_scores = blocking(asimilarity_search_with_relevance_scores)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return Documents that are near a text and unlike each other.

        Args:
            query: The text.
            k: The most Documents.
            fetch_k: How many of the nearest to choose from. What would take more than about a
                second is refused: 2600 vectors of 1536 dimensions are the most, for k up to 100.
            lambda_mult: 1 for the nearest, 0 for the most diverse.
            param: Search parameters.
            expr: A filter expression.
            timeout: Seconds for the call.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Further arguments, see the class.

        Returns:
            The Documents, in the order in which they were chosen (Carbonell and Goldstein, 1998,
            "The use of MMR, diversity-based reranking for reordering documents").
        """
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        return await self._run(
            operations.max_marginal_relevance_search,
            timeout,
            query,
            arguments,
            fetch_k,
            lambda_mult,
        )

    max_marginal_relevance_search = blocking(amax_marginal_relevance_search)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        param: SearchParams = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Run `amax_marginal_relevance_search` for a vector of `(dim,)` floats."""
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        return await self._run(
            operations.max_marginal_relevance_search,
            timeout,
            embedding,
            arguments,
            fetch_k,
            lambda_mult,
        )

    max_marginal_relevance_search_by_vector = blocking(amax_marginal_relevance_search_by_vector)
