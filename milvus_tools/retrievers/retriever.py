"""`MilvusMultiQueryRetriever`: asks many queries at once, and gives back one ranked list."""

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, Self, TypeVar

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
from milvus_tools.errors import DeadlineError, InvalidInputError
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
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

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class _Call:
    """What one call asks for.

    Attributes:
        question: The question.
        k: The most Documents to return.
        filter: What must hold: the retriever's own filter, and the call's.
        deadline: The point in time by which all must be done, if there is one.
    """

    question: str
    k: int
    filter: QueryFilter
    deadline: Deadline | None

    @property
    def seconds(self) -> float | None:
        """Seconds left; `None` for no limit."""
        return None if self.deadline is None else self.deadline.remaining


@dataclasses.dataclass(frozen=True)
class _Made:
    """The queries that were made, or why none were."""

    queries: Sequence[Query] = ()
    failure: Exception | None = None


class MilvusMultiQueryRetriever(RetrieverSettings, BaseRetriever):
    """Asks the store several queries at once, and fuses what they find by reciprocal rank.

    The queries come from a chat model, a list, or a Runnable or function of one's own; the
    question itself is asked, too, and alone if there is none of these. Calls take `k`, and
    `filter` and `expr` that hold beside the retriever's own, never in their place.

    Each Document tells in `metadata["retrieval"]` its fused `score`, and in `found_by` each
    `query` that found it, at which `rank`, and with which `score`: what Milvus measured, a
    distance or a ranker's score; `None` with `mmr`. With `on_error="skip"`, `failed` names the
    queries that failed, if some did.

    A retriever does not change. `model_copy(update={"k": 8})` makes another, over the same store,
    whose settings are checked as at first.

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
        """Keep the settings; nothing is asked yet.

        Args:
            store: The store, or a view of it.
            llm: A chat model that makes the queries.
            **settings: The attributes of this class.

        Raises:
            ValidationError: If one is unknown, out of bounds, or contradicts another.
        """
        super().__init__(store=store, llm=llm, **settings)

    def model_post_init(self, context: Any, /) -> None:
        """Build what makes the queries, once."""
        super().model_post_init(context)
        self._own_filter = QueryFilter.read(self.filter, self.expr)
        if self.llm is not None:
            self._generator = generator_of_model(self.llm, self.prompt, self.max_queries)
        elif isinstance(self.query_generator, Runnable):
            self._generator = generator_of_runnable(self.query_generator)
        elif self.query_generator is not None:
            self._generator = generator_of_function(self.query_generator)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Make a retriever with the same settings but some, over the same store.

        Args:
            update: The settings that differ.
            deep: Not possible: a store can't be copied.

        Raises:
            ValidationError: If a setting is unknown, out of bounds, or contradicts another.
        """
        if deep:
            self.__deepcopy__()
        settings = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**settings, **(update or {})})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> NoReturn:
        """Say why there is no such copy.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "A retriever can't be copied deeply: its store holds connections. model_copy() and "
            "copy.copy() make one over the same store."
        )

    # An argument of a call reaches the async method only if the sync one has it, too.
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterLike = None,  # noqa: A002 - the word that people type
        expr: str | None = None,
        **unknown: Any,
    ) -> list[Document]:
        call = run_sync(self._call(query, k, filter, expr, unknown))
        if not run_sync(self._can_find(call)):
            return []
        made = self._made(call, {"callbacks": run_manager.get_child()})
        return run_sync(self._found(call, made, run_manager.get_child()))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterLike = None,  # noqa: A002 - the word that people type
        expr: str | None = None,
        **unknown: Any,
    ) -> list[Document]:
        call = await self._call(query, k, filter, expr, unknown)
        if not await self._can_find(call):
            return []
        made = await self._amade(call, {"callbacks": run_manager.get_child()})
        return await self._found(call, made, run_manager.get_child())

    async def _call(
        self,
        question: str,
        k: int | None,
        filter_: FilterLike,
        expr: str | None,
        unknown: Mapping[str, Any],
    ) -> _Call:
        require_question(question)
        if unknown:
            raise InvalidInputError(
                f"A call of the retriever takes k, filter and expr, not {', '.join(unknown)}."
            )
        return _Call(
            question,
            self.k if k is None else check_limit(k),
            self._own_filter & await read_filter(filter_, expr),
            None if self.timeout is None else Deadline.after(self.timeout),
        )

    async def _can_find(self, call: _Call) -> bool:
        """Check, before a model is paid for queries, the filter and that there is a collection."""
        if self._generator is None:
            return True
        written = await self.store.afilter_expression(call.filter, timeout=call.seconds)
        return written is not None

    def _made(self, call: _Call, config: RunnableConfig) -> _Made:
        if self._generator is None:
            return self._given()
        try:
            return self._chosen(self._generator.invoke(call.question, config))
        except Exception as error:
            if self.on_error == "raise":
                raise
            return _Made(failure=error)

    async def _amade(self, call: _Call, config: RunnableConfig) -> _Made:
        if self._generator is None:
            return self._given()
        try:
            return self._chosen(
                await _within(self._generator.ainvoke(call.question, config), call)
            )
        except Exception as error:
            if self.on_error == "raise":
                raise
            return _Made(failure=error)

    def _given(self) -> _Made:
        queries = self.queries or ()
        weights = [1.0] * len(queries) if self.weights is None else self.weights
        return _Made([Query(tidy(one), w) for one, w in zip(queries, weights, strict=True)])

    def _chosen(self, texts: Sequence[str]) -> _Made:
        taken = chosen(texts, most=self.max_queries, max_chars=self.max_query_chars)
        return _Made([Query(text) for text in taken])

    async def _found(
        self, call: _Call, made: _Made, callbacks: BaseCallbackManager
    ) -> list[Document]:
        """Search for all queries, and fuse what they find."""
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
        return merged(self, dict(zip(queries, outcomes, strict=True)), call.k, made.failure)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """Say in traces which store and which embedding model are behind this."""
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.store).__name__
        embedding = self.store.embeddings
        if embedding is not None and not isinstance(embedding, list):
            params["ls_embedding_provider"] = type(embedding).__name__
            name = getattr(embedding, "model", None)
            if isinstance(name, str):
                params["ls_embedding_model"] = name
        return params


async def _within(work: Awaitable[Result], call: _Call) -> Result:
    try:
        async with asyncio.timeout(call.seconds) as limit_:
            return await work
    except TimeoutError as error:
        if not limit_.expired():
            raise
        raise DeadlineError("The queries were not made within the retriever's time.") from error
