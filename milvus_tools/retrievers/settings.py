"""What an operator decides about a retriever, before anybody asks it."""

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

_OWN: Final = {"k", "fetch_k", "filter", "expr", "timeout", "search_mode", "lambda_mult", "offset"}

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=_MOST_SECONDS)]


class RetrieverSettings(BaseModel):
    """Where queries come from, how they are searched for, and what becomes of their hits."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    store: InstanceOf[MilvusStore] | InstanceOf[ScopedMilvusStore]
    """The store, or a view of it; its scope holds for every search."""

    llm: InstanceOf[Runnable] | None = None  # type: ignore[type-arg]
    """A chat model that makes the queries: by structured output, or, if it has none, as text."""

    queries: Sequence[str] | None = Field(None, max_length=MOST_QUERIES)
    """Queries that are asked beside every question."""

    query_generator: Any = None
    """A Runnable, or a function, async or not, that makes a list of queries of a question. Such
    a list is taken as it stands; a text or a message is read as a model's answer."""

    prompt: InstanceOf[BasePromptTemplate] = QUERY_PROMPT  # type: ignore[type-arg]
    """What `llm` is asked, with the variables `question` and, if it likes, `max_queries`."""

    include_original: bool = True
    """Whether the question is asked as well. It always is if no queries were made."""

    max_queries: int = Field(5, ge=1, le=MOST_QUERIES)
    """The most queries that are taken from `llm` or `query_generator`."""

    max_query_chars: int = Field(1_000, ge=1, le=65_535)
    """Longer queries of theirs are left out, and logged."""

    k: int = Field(4, ge=1, le=MAX_LIMIT)
    """The most Documents to return."""

    fetch_k: int | None = Field(None, ge=1, le=MAX_LIMIT)
    """How many hits of each query are considered, at least `k`. With the mode `mmr` each query
    picks `k` of them, else all are fused. `None` for `k`, or 20 with `mmr`: the last hits of a
    longer list push others out that one query alone finds."""

    mode: Literal["similarity", "mmr", "hybrid"] = "similarity"
    """How each query is searched for: by its dense vector (`similarity`), the same with hits that
    are unlike each other (`mmr`), or by its dense vector and its words, with BM25 or a sparse
    embedding (`hybrid`). A store of BM25 alone has only `similarity`, which then goes by words."""

    fallback: bool = False
    """Whether `hybrid` does without words where the collection or Milvus can't search by them;
    else that is an error."""

    lambda_mult: float = Field(0.5, ge=0, le=1)
    """For `mmr`: 1 for the nearest, 0 for the most diverse."""

    search_kwargs: Mapping[str, Any] = Field(default_factory=dict)
    """Further arguments of the store's searches, such as `param` or `consistency_level`."""

    filter: Annotated[Any, AfterValidator(QueryFilter.read)] = None
    """What holds for every search: a condition, `{"field": "year", "operator": "gte", "value":
    2000}`, a list of conditions, a group of them, or a filter expression."""

    expr: Annotated[str | None, AfterValidator(checked)] = None
    """A filter expression that holds beside `filter`."""

    original_weight: Weight = 1.0
    """How much the question's own hits count."""

    weights: Sequence[Weight] | None = None
    """How much the hits of each of `queries` count; 1 for each if `None`."""

    rank_constant: float = Field(RANK_CONSTANT, gt=0, le=MAX_LIMIT)
    """The greater, the less the first ranks count before the others."""

    retrieval_key: str = Field(RETRIEVAL, min_length=1)
    """The metadata key under which a Document tells who found it. What it has there already is
    replaced: most often that is what an earlier retrieval told, and was written back."""

    on_error: Literal["raise", "skip"] = "raise"
    """What to do if some queries fail. `raise` ends the others. `skip` goes on without them, logs
    it, and names them in every Document's metadata; if the queries can't be made, the question is
    asked alone. If all fail, the first failure is raised, with a note of why no queries were made
    if they could not be."""

    max_concurrency: int = Field(16, ge=1, le=MOST_QUERIES)
    """The most queries of one call that are searched for at once."""

    query_timeout: Seconds | None = None
    """Seconds for each search; `None` for the store's."""

    timeout: Seconds | None = None
    """Seconds for the whole call; `None` for no such limit. `invoke` does not interrupt a model
    or a generator, but counts the time it takes."""

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
            "Without llm, queries or query_generator only the question is left to ask: "
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
            "weights must be one number for each of queries.",
        )
        _require(
            "question" in self.prompt.input_variables
            and set(self.prompt.input_variables) <= {"question", "max_queries"},
            "prompt must have the variable question, and may have max_queries, and no other.",
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
