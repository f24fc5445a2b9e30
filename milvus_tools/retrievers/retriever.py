"""`MilvusMultiQueryRetriever`: searches for several queries at once and returns one ranking."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NoReturn, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import ConfigDict

from milvus_tools._io.loop import run_sync
from milvus_tools._io.tasks import within
from milvus_tools.errors import InvalidInputError, UncopyableError
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.links import arank_by_links
from milvus_tools.retrievers.query_generation import (
    Query,
    QueryGenerator,
    chosen,
    generator_of_function,
    generator_of_model,
    generator_of_runnable,
    planned,
    require_question,
    tidy,
)
from milvus_tools.retrievers.search import merged, search_all, search_one
from milvus_tools.retrievers.settings import RetrieverSettings
from milvus_tools.store import MilvusStore, ScopedMilvusStore
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.options import check_limit
from milvus_tools.transport.requests import Deadline

_LATE: Final = "The queries were not made within the retriever's timeout."


@dataclasses.dataclass(frozen=True)
class _Call:
    """The arguments of one call.

    Attributes:
        question: The question.
        k: The most Documents to return.
        filter: The retriever's own filter and the call's, joined.
        deadline: The deadline of the whole call, or `None`.
    """

    question: str
    k: int
    filter: QueryFilter
    deadline: Deadline | None

    @property
    def seconds(self) -> float | None:
        """The seconds left, or `None` without a deadline."""
        return None if self.deadline is None else self.deadline.remaining


@dataclasses.dataclass(frozen=True)
class _Queries:
    """The queries of a call beside the question, or the error that prevented them."""

    queries: Sequence[Query] = ()
    failure: Exception | None = None


class MilvusMultiQueryRetriever(RetrieverSettings, BaseRetriever):
    """A retriever that searches for several queries at once and fuses their hits by rank.

    The queries come from a chat model, a list, a Runnable or a function. The question itself is
    searched for, too; without these sources it is the only query. Calls take `k`, `filter` and
    `expr`. The filters of a call hold beside the retriever's own filters (T21).

    `metadata["retrieval"]` of each Document has its fused `score`, and in `found_by` each `query`
    that found it with its `rank` and `score`. That score is Milvus's distance or a ranker's
    score; with `mmr` it is `None`. With `on_error="skip"`, `failed` names the queries that
    failed, if there are any.

    A retriever is immutable. `model_copy(update={"k": 8})` makes another one over the same store,
    and checks its settings.

    Example:
        ```python
        retriever = MilvusMultiQueryRetriever(store, init_chat_model("openai:gpt-5-mini"), k=8)
        recent = {"field": "year", "operator": "gte", "value": 2000}
        documents = await retriever.ainvoke("Who made the dice game?", filter=recent)
        ```
    """

    model_config: ClassVar[ConfigDict] = RetrieverSettings.model_config

    _generator: QueryGenerator | None = None
    _own_filter: QueryFilter = QueryFilter()

    def __init__(
        self,
        store: MilvusStore | ScopedMilvusStore,
        llm: Runnable[Any, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Check and keep the settings, without any request.

        Args:
            store: The store, or a scoped view of it.
            llm: A chat model that makes the queries.
            **settings: The attributes of this class.

        Raises:
            ValidationError: If a setting is unknown, out of bounds, or contradicts another.
        """
        super().__init__(store=store, llm=llm, **settings)

    def model_post_init(self, context: Any, /) -> None:
        """Build the query generator and read the filters, once."""
        super().model_post_init(context)
        # Once, as a long filter takes milliseconds to read.
        self._own_filter = QueryFilter.read(self.filter, self.expr)
        if self.llm is not None:
            self._generator = generator_of_model(self.llm, self.prompt, self.max_queries)
        elif isinstance(self.query_generator, Runnable):
            self._generator = generator_of_runnable(self.query_generator)
        elif self.query_generator is not None:
            self._generator = generator_of_function(self.query_generator)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a retriever over the same store, with some settings changed.

        Args:
            update: The settings to change.
            deep: Must be false, because a store can't be copied.

        Raises:
            TypeError: If `deep` is true.
            ValidationError: If a setting is unknown, out of bounds, or contradicts another.
        """
        if deep:
            self.__deepcopy__()
        # Pydantic's own `model_copy` would not check the settings.
        settings = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**settings, **(update or {})})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> NoReturn:
        """Refuse a deep copy.

        Raises:
            UncopyableError: Always.
        """
        raise UncopyableError(
            "A retriever can't be copied deeply, because its store holds connections. Use "
            "model_copy() or copy.copy(), which keep the store."
        )

    # LangChain passes an argument to the async method only if the sync one has it, too (T44).
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterLike = None,  # noqa: A002 - the name that callers expect
        expr: str | None = None,
        **unknown: Any,
    ) -> list[Document]:
        call = self._call(query, k, QueryFilter.read(filter, expr), unknown)
        if not run_sync(self._can_find(call)):
            return []
        # The generator runs in the caller's thread: a blocking model must not hold the I/O loop.
        made = self._make_queries(call, {"callbacks": run_manager.get_child()})
        return run_sync(self._search(call, made, run_manager.get_child()))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterLike = None,  # noqa: A002 - the name that callers expect
        expr: str | None = None,
        **unknown: Any,
    ) -> list[Document]:
        call = self._call(query, k, await read_filter(filter, expr), unknown)
        if not await self._can_find(call):
            return []
        made = await self._amake_queries(call, {"callbacks": run_manager.get_child()})
        return await self._search(call, made, run_manager.get_child())

    def _call(
        self, question: str, k: int | None, filter_: QueryFilter, unknown: Mapping[str, Any]
    ) -> _Call:
        require_question(question)
        # A misspelled `filter` must not be ignored.
        if unknown:
            raise InvalidInputError(
                f"A call of the retriever takes k, filter and expr, not {', '.join(unknown)}."
            )
        return _Call(
            question,
            self.k if k is None else check_limit(k),
            self._own_filter & filter_,
            None if self.timeout is None else Deadline.after(self.timeout),
        )

    async def _can_find(self, call: _Call) -> bool:
        """Check the filter and that the collection exists, before a model is paid for queries."""
        if self._generator is None:
            # Nothing to save: the searches themselves check the filter.
            return True
        written = await self.store.afilter_expression(call.filter, timeout=call.seconds)
        return written is not None

    def _make_queries(self, call: _Call, config: RunnableConfig) -> _Queries:
        if self._generator is None:
            return self._given_queries()
        try:
            # Without the deadline: a blocking call can't be interrupted, but its time counts.
            return self._chosen_queries(self._generator.invoke(call.question, config))
        except Exception as error:
            if self.on_error == "raise":
                raise
            return _Queries(failure=error)

    async def _amake_queries(self, call: _Call, config: RunnableConfig) -> _Queries:
        if self._generator is None:
            return self._given_queries()
        try:
            async with within(call.seconds, _LATE):
                texts = await self._generator.ainvoke(call.question, config)
            return self._chosen_queries(texts)
        except Exception as error:
            if self.on_error == "raise":
                raise
            return _Queries(failure=error)

    def _given_queries(self) -> _Queries:
        queries = self.queries or ()
        weights = [1.0] * len(queries) if self.weights is None else self.weights
        return _Queries([Query(tidy(one), w) for one, w in zip(queries, weights, strict=True)])

    def _chosen_queries(self, texts: Sequence[str]) -> _Queries:
        taken = chosen(texts, most=self.max_queries, max_chars=self.max_query_chars)
        return _Queries([Query(text) for text in taken])

    async def _search(
        self, call: _Call, made: _Queries, callbacks: BaseCallbackManager
    ) -> list[Document]:
        queries = planned(
            call.question,
            made.queries,
            include_original=self.include_original,
            original_weight=self.original_weight,
        )
        outcomes = await search_all(
            [query.text for query in queries],
            functools.partial(search_one, self, k=call.k, filter_=call.filter),
            callbacks,
            max_concurrency=self.max_concurrency,
            deadline=call.deadline,
            stop_at_failure=self.on_error == "raise",
        )
        found = dict(zip(queries, outcomes, strict=True))
        if self.link_field is None:
            return merged(self, found, call.k, made.failure)
        documents = merged(self, found, None, made.failure)
        return (await arank_by_links(call.question, documents, self.link_field))[: call.k]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.store).__name__
        embedding = self.store.embeddings
        # LangSmith's parameters name one model.
        if embedding is not None and not isinstance(embedding, list):
            params["ls_embedding_provider"] = type(embedding).__name__
            name = getattr(embedding, "model", None)
            if isinstance(name, str):
                params["ls_embedding_model"] = name
        return params
