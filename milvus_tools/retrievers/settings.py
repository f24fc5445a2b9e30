"""Settings of the retriever: the operator decides them before the first call."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import Runnable
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, model_validator

from milvus_tools.filters.guard import checked
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.ranking import RANK_CONSTANT, RETRIEVAL
from milvus_tools.retrievers.query_generation import QUERY_PROMPT, tidy
from milvus_tools.store import MilvusStore, ScopedMilvusStore
from milvus_tools.store.options import MAX_LIMIT

MOST_QUERIES: Final = 100
_MOST_SECONDS: Final = 3_600.0

# Arguments of the store's searches that the retriever sets itself.
_OWN: Final = {"k", "fetch_k", "filter", "expr", "timeout", "search_mode", "lambda_mult", "offset"}

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=_MOST_SECONDS)]


class RetrieverSettings(BaseModel):
    """The settings of the retriever: the source of queries, the searches, the fusion of hits."""

    # Frozen, so that no filter can be taken off a retriever that is there.
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    store: InstanceOf[MilvusStore] | InstanceOf[ScopedMilvusStore]
    """The store, or a scoped view of it. Its scope holds for every search."""

    llm: InstanceOf[Runnable] | None = None  # type: ignore[type-arg]
    """A chat model that makes the queries, by structured output or, without support, as text."""

    queries: Sequence[str] | None = Field(None, max_length=MOST_QUERIES)
    """Queries that are searched for beside every question."""

    query_generator: Any = None
    """A Runnable, or a function, async or not, that makes queries of a question. A list of strings
    is taken unchanged; a text or a message is parsed as a model's answer."""

    prompt: InstanceOf[BasePromptTemplate] = QUERY_PROMPT  # type: ignore[type-arg]
    """The prompt for `llm`, with the variable `question` and optionally `max_queries`."""

    include_original: bool = True
    """Whether the question itself is searched for. It always is if there are no other queries."""

    max_queries: int = Field(5, ge=1, le=MOST_QUERIES)
    """The most queries that are taken from `llm` or `query_generator`."""

    max_query_chars: int = Field(1_000, ge=1, le=65_535)  # Milvus's bound of a VARCHAR
    """The most characters of a query from `llm` or `query_generator`. Longer ones are left out and
    logged."""

    k: int = Field(4, ge=1, le=MAX_LIMIT)
    """The most Documents to return."""

    fetch_k: int | None = Field(None, ge=1, le=MAX_LIMIT)
    """The number of hits to fetch for each query, at least `k`. With the mode `mmr`, each query
    picks `k` of them; with the others, all are fused. `None` means `k`, or 20 with `mmr`. With
    longer lists, hits at the end of several lists can displace a hit that only one query finds."""

    mode: Literal["similarity", "mmr", "hybrid"] = "similarity"
    """The kind of search: by the dense vector (`similarity`), by the dense vector for diverse hits
    (`mmr`), or by the dense vector and by words, with BM25 or a sparse embedding (`hybrid`). A
    store that has only BM25 supports only `similarity`, which then searches by words."""

    fallback: bool = False
    """Whether `hybrid` falls back to the dense vector if the collection or Milvus does not support
    hybrid search. If not, that is an error."""

    lambda_mult: float = Field(0.5, ge=0, le=1)
    """The balance of `mmr`: 1 for the nearest hits, 0 for the most diverse."""

    search_kwargs: Mapping[str, Any] = Field(default_factory=dict)
    """Further arguments of the store's searches, such as `param` or `consistency_level`."""

    filter: Annotated[Any, AfterValidator(QueryFilter.read)] = None
    """The filter of every search: a condition such as `{"field": "year", "operator": "gte",
    "value": 2000}`, a list of conditions, a group of them, or a filter expression."""

    expr: Annotated[str | None, AfterValidator(checked)] = None
    """A filter expression that must hold beside `filter`."""

    original_weight: Weight = 1.0
    """The weight of the question's own hits."""

    weights: Sequence[Weight] | None = None
    """The weights of the hits of `queries`, one for each; all 1 if `None`."""

    rank_constant: float = Field(RANK_CONSTANT, gt=0, le=MAX_LIMIT)
    """The constant of reciprocal rank fusion. The greater it is, the less the first ranks stand
    out from the others."""

    retrieval_key: str = Field(RETRIEVAL, min_length=1)
    """The metadata key for a Document's fused score and the queries that found it. An existing
    value is replaced: most often it comes from an earlier retrieval, whose Documents were written
    back to the store."""

    on_error: Literal["raise", "skip"] = "raise"
    """The reaction to failed queries. `raise` cancels the others and raises. `skip` logs the
    failures, continues without them, and names them in every Document's metadata; if the queries
    can't be made, only the question is searched for. If all queries fail, the first failure is
    raised; if the queries could not be made either, a note says so."""

    max_concurrency: int = Field(16, ge=1, le=MOST_QUERIES)
    """The most searches of one call at the same time."""

    query_timeout: Seconds | None = None
    """The timeout of each search in seconds. `None` means the store's timeout."""

    timeout: Seconds | None = None
    """The timeout of the whole call in seconds. `None` means no limit. `invoke` can't interrupt a
    model or a generator, but the time counts."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        sources = [self.llm, self.queries, self.query_generator]
        given = [source for source in sources if source is not None]
        _require(len(given) <= 1, "Give one of llm, queries and query_generator, not several.")
        _require(
            self.query_generator is None
            or callable(self.query_generator)
            or isinstance(self.query_generator, Runnable),
            "query_generator must be a Runnable or a function.",
        )
        _require(
            self.include_original or given,
            "Without llm, queries or query_generator there is only the question to search for: "
            "include_original can't be False.",
        )
        self._check_queries()
        self._check_search()
        return self

    def _check_queries(self) -> None:
        queries = self.queries or ()
        _require(self.queries is None or bool(queries), "queries is empty.")
        _require(all(map(tidy, queries)), "A query in queries is empty.")
        _require(
            all(len(query) <= self.max_query_chars for query in queries),
            f"A query in queries has more than {self.max_query_chars} characters.",
        )
        _require(
            self.weights is None or len(self.weights) == len(queries),
            "weights must have one number for each query in queries.",
        )
        _require(
            "question" in self.prompt.input_variables
            and set(self.prompt.input_variables) <= {"question", "max_queries"},
            "prompt must have the variable question, and may have max_queries, but no other.",
        )

    def _check_search(self) -> None:
        _require(
            self.fallback is False or self.mode == "hybrid", "fallback is for the mode hybrid."
        )
        _require(
            self.mode != "hybrid" or self.fallback or len(self.store.vector_fields) > 1,
            "The mode hybrid needs a store with a dense embedding and BM25: "
            "MilvusStore(embedding, builtin_function=BM25BuiltInFunction(…), …).",
        )
        taken = _OWN & self.search_kwargs.keys()
        _require(
            not taken,
            f"search_kwargs can't have {', '.join(sorted(taken))}: the retriever sets them.",
        )


def _require(fits: object, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)
