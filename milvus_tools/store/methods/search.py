"""The public methods that search."""

from __future__ import annotations  # `help` shows the short names of types

import warnings
from collections.abc import Callable
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
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.store.base import StoreBase
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.operations import search as operations
from milvus_tools.store.operations.search import Scored, SearchArguments
from milvus_tools.store.options import is_number
from milvus_tools.transport.requests import Vector

_FILTERS: Final = {"filter", "expr"}

SearchParams = dict[str, Any] | list[dict[str, Any]] | None


class StoreRetriever(VectorStoreRetriever):
    """A retriever that always applies its own filter.

    A `filter` or an `expr` passed to `invoke` is joined to those in `search_kwargs` with AND.
    LangChain's `VectorStoreRetriever` would replace them.
    """

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if _FILTERS & kwargs.keys():
            own, given = [QueryFilter.read(*both) for both in self._filters(kwargs)]
            kwargs |= {"filter": own & given, "expr": None}  # the filter holds each `expr` now
        return super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if _FILTERS & kwargs.keys():
            own, given = [await read_filter(*both) for both in self._filters(kwargs)]
            kwargs |= {"filter": own & given, "expr": None}
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)

    def _filters(self, kwargs: dict[str, Any]) -> list[tuple[FilterLike, str | None]]:
        """Return the `filter` and the `expr` of the retriever, and those of the call."""
        return [(one.get("filter"), one.get("expr")) for one in (self.search_kwargs, kwargs)]


class SearchMethods(StoreBase):
    """Searches by text and by vector, with scores, relevance or diversity.

    `asimilarity_search` describes the arguments that they share. All raise `InvalidInputError`
    for wrong arguments, and `MilvusError` or a subclass of it if Milvus fails.
    """

    # The store that a view is of: what a subclass of `MilvusStore` overrides holds in views, too.
    _viewed: SearchMethods | None = None

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

        A store with several vector fields (several embedding models, or one and BM25) searches
        all of them. It fuses the hits by reciprocal rank, or by the ranker that the call names.

        Args:
            query: The text.
            k: The most Documents to return, from 1 to 16384.
            param: Milvus's search parameters, such as `{"params": {"nprobe": 32}}`. A search of
                several vector fields takes a list of them, in the order of the fields.
            expr: A [filter expression](https://milvus.io/docs/boolean.md).
            timeout: Seconds for the whole call; `None` for the store's `timeout`.
            filter: One of: a condition, `{"field": "year", "operator": "gte", "value": 2000}`; a
                list of conditions, joined with AND; a group, `{"all": […]}`, `{"any": […]}` or
                `{"not": …}`; a filter expression. `filter`, `expr` and the scope must all hold.
            **kwargs: Further arguments:

                - `search_mode`: `"dense"` searches the dense vector fields only, `"sparse"` those
                  of BM25 and of sparse embeddings only, and `"hybrid"` both kinds; by default the
                  store searches all its vector fields.
                - `consistency_level`, `offset`, `round_decimal`, `ignore_growing`,
                  `group_by_field`, `group_size` and `strict_group_size`, as in Milvus. With
                  `group_by_field`, `k` is the number of groups: `k=3` with `group_size=2` finds
                  up to 6 Documents. Milvus 2.3 does not group; 2.4 groups in one field, by one.
                - `fetch_k`, `reranker`, `ranker_type` and `ranker_params`, for a search of several
                  vector fields; `score_threshold`, the lowest score of the ranker to return. The
                  scores of reciprocal rank fusion depend on ranks alone: a Document that is first
                  in each of two fields has 2/61.
                - `output_fields`, the metadata keys to return, in place of all.
                - `score_key` and `id_key`, metadata keys under which each Document returned has
                  its score and its id, in place of what it has there. LangChain's
                  `EnsembleRetriever` tells Documents of one text apart by an `id_key`.
                - `partition_names`, for a store without a scope.

        Returns:
            The Documents, nearest first; `[]` if none matches or nothing was written yet.

        Raises:
            InvalidInputError: If an argument is wrong.
            UnsupportedError: If the store or the collection lacks a vector field of the kind that
                `search_mode` names.
            MilvusError: If Milvus fails.
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

        Nearer Documents have a higher distance with COSINE and IP, and a lower one with L2, which
        is squared. A search of several vector fields returns the ranker's score instead.

        Args:
            query: The text.
            k: The most Documents to return.
            param: Milvus's search parameters.
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: As in `asimilarity_search`.

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
            embedding: The vector: `(dim,)` float32 values, or `{index: weight}` if it is sparse.
            k: The most Documents to return.
            param: Milvus's search parameters.
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: As in `asimilarity_search`, except `search_mode` and the arguments for
                several vector fields.

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
            embedding: The vector: `(dim,)` float32 values, or `{index: weight}` if it is sparse.
            k: The most Documents to return.
            param: Milvus's search parameters.
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: As in `asimilarity_search`, except `search_mode` and the arguments for
                several vector fields.

        Returns:
            Pairs of Document and distance, nearest first.
        """
        arguments = SearchArguments(k, param, expr, filter, kwargs)
        return await self._run(operations.search_by_vector, timeout, embedding, arguments)

    similarity_search_with_score_by_vector = blocking(asimilarity_search_with_score_by_vector)

    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, *, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """Return the Documents nearest to a text, each with a relevance score from 0 to 1.

        The score depends on the metric of the index: it is `(distance + 1) / 2` for COSINE and
        IP, and `1 - distance / 4` for L2. Both need vectors of length 1. A score of 1 is the best.

        Args:
            query: The text.
            k: The most Documents to return.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: `score_threshold`, the lowest score to return; `relevance_score_fn`, which
                makes the score of a distance (as does `_select_relevance_score_fn` of a subclass,
                for all calls); and the other arguments of `asimilarity_search_with_score`.

        Returns:
            Pairs of Document and relevance score, nearest first.

        Raises:
            UnsupportedError: If there is no such score: for BM25, and for a search of several
                vector fields.
        """
        # LangChain's method names none of these, so callers pass them as keyword arguments.
        threshold = kwargs.pop("score_threshold", None)
        if threshold is not None and not is_number(threshold):
            raise InvalidInputError("score_threshold must be a number from 0 to 1.")
        param, expr, timeout = (kwargs.pop(name, None) for name in ("param", "expr", "timeout"))
        score = kwargs.pop("relevance_score_fn", None)
        owner = self._viewed or self
        ours = SearchMethods._select_relevance_score_fn
        if score is None and type(owner)._select_relevance_score_fn is not ours:  # noqa: SLF001
            score = owner._select_relevance_score_fn()  # noqa: SLF001 - of the same classes
        if score is None:
            arguments = SearchArguments(k, param, expr, filter, kwargs)
            scored = await self._run(operations.search_with_relevance, timeout, query, arguments)
        elif callable(score):
            found = await self.asimilarity_search_with_score(
                query, k, param, expr, timeout, filter=filter, **kwargs
            )
            scored = operations.rescored(found, score, kwargs.get("score_key"))
        else:
            raise InvalidInputError("relevance_score_fn must be a function of a distance.")
        # A warning and no error, as LangChain's own method does.
        if any(not 0 <= score <= 1 for _, score in scored):
            warnings.warn(
                "A relevance score lies outside 0 to 1: the vectors are not of length 1.",
                stacklevel=2,
            )
        return [pair for pair in scored if threshold is None or pair[1] >= threshold]

    similarity_search_with_relevance_scores = blocking(asimilarity_search_with_relevance_scores)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Return what makes a relevance score of a distance. Subclasses may override it.

        Raises:
            UnsupportedError: If there is no such score.
        """
        return run_sync(self._run(operations.relevance, None))

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
        """Return Documents that are near a text and differ from each other.

        This is maximal marginal relevance (Carbonell and Goldstein, 1998, "The use of MMR,
        diversity-based reranking for reordering documents").

        Args:
            query: The text.
            k: The most Documents to return.
            fetch_k: The number of nearest Documents to choose from. A choice that would take more
                than about a second is refused: with 1536 dimensions and `k` up to 100, the most
                is 2600.
            lambda_mult: A number from 0, for the most diverse, to 1, for the nearest.
            param: Milvus's search parameters.
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: As in `asimilarity_search`, except `search_mode` and the arguments for
                several vector fields.

        Returns:
            The Documents, in the order in which they were chosen.

        Raises:
            UnsupportedError: If the vectors are sparse.
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
        """Return Documents that are near a vector and differ from each other.

        Args:
            embedding: The vector, `(dim,)` float32 values.
            k: The most Documents to return.
            fetch_k: As in `amax_marginal_relevance_search`.
            lambda_mult: A number from 0, for the most diverse, to 1, for the nearest.
            param: Milvus's search parameters.
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: As in `asimilarity_search`, except `search_mode` and the arguments for
                several vector fields.

        Returns:
            The Documents, in the order in which they were chosen.

        Raises:
            UnsupportedError: If the vectors are sparse.
        """
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
