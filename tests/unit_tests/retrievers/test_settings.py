"""Settings that a retriever refuses at construction."""

import copy
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.filters import Condition, Operator
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.ranking import fuse
from tests.helpers.tools import unopened

CONDITION = {"field": "n", "operator": "eq", "value": 1}
MODEL = FakeListChatModel(responses=["who?"])


def made(**settings: Any) -> MilvusMultiQueryRetriever:
    """Make a retriever over a store that is never opened."""
    return MilvusMultiQueryRetriever(unopened(), **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"llm": MODEL, "queries": ["a"]}, "one of llm, queries and query_generator"),
        ({"queries": ["a"], "query_generator": list}, "one of llm, queries and query_generator"),
        ({"include_original": False}, "there is only the question to search for"),
        ({"queries": []}, "queries is empty"),
        ({"queries": ["a", " \x00"]}, "A query in queries is empty"),
        ({"queries": ["a" * 9], "max_query_chars": 8}, "more than 8 characters"),
        ({"queries": "abc"}, "queries"),
        ({"queries": ["a"] * 101}, "at most 100"),
        ({"queries": ["a", "b"], "weights": [1]}, "one number for each query in queries"),
        ({"weights": [1]}, "one number for each query in queries"),
        ({"queries": ["a"], "weights": [-1]}, "greater than or equal to 0"),
        ({"original_weight": float("nan")}, "original_weight"),
        ({"original_weight": float("inf")}, "original_weight"),
        ({"query_generator": "who?"}, "must be a Runnable or a function"),
        ({"llm": "openai:gpt-5-mini"}, "instance of Runnable"),
        ({"prompt": PromptTemplate.from_template("Split!")}, "must have the variable question"),
        ({"prompt": PromptTemplate.from_template("{question} {x}")}, "but no other"),
        ({"mode": "hybrid"}, "needs a store with a dense embedding and BM25"),
        ({"mode": "dense"}, "mode"),
        ({"fallback": True}, "fallback is for the mode hybrid"),
        ({"filter": []}, "at least one filter"),
        ({"filter": {"field": "n"}}, "A condition is"),
        ({"expr": "n == 1) or (n == 2"}, "closes nothing"),
        ({"search_kwargs": {"expr": "n == 1", "k": 3}}, "search_kwargs can't have expr, k"),
        ({"retrieval_key": ""}, "retrieval_key"),
        ({"quries": ["a"]}, "not permitted"),
        ({"on_error": "ignore"}, "on_error"),
        *(({name: 0}, name) for name in ("k", "fetch_k", "max_queries", "max_query_chars")),
        *(({name: 0}, name) for name in ("max_concurrency", "query_timeout", "timeout")),
        *(({name: 10**6}, name) for name in ("k", "fetch_k", "max_queries", "max_query_chars")),
        *(({name: 10**6}, name) for name in ("max_concurrency", "query_timeout", "timeout")),
        *(({"rank_constant": value}, "rank_constant") for value in (0, -1, 10**6)),
        *(({"lambda_mult": value}, "lambda_mult") for value in (-0.1, 1.1)),
    ],
)
def test_nonsense_is_refused_with_a_sentence(settings: dict[str, Any], said: str) -> None:
    """Two sources, none, bounds that are passed, and unknown names."""
    with pytest.raises(ValidationError, match=said):
        made(**settings)


def test_a_store_is_needed() -> None:
    """Another vector store, or none, is refused."""
    with pytest.raises(ValidationError, match="store"):
        MilvusMultiQueryRetriever(None)  # type: ignore[arg-type]


def test_what_was_decided_can_not_be_changed() -> None:
    """A filter can't be taken off a retriever that is there."""
    retriever = made(filter=CONDITION)
    assert retriever.filter == QueryFilter.read(Condition("n", Operator.EQ, 1))
    with pytest.raises(ValidationError, match="frozen"):
        retriever.filter = None


def test_a_prompt_may_leave_the_number_out() -> None:
    """Only the question is needed."""
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    assert made(llm=MODEL, prompt=prompt).prompt is prompt


def test_a_configured_copy_keeps_the_rest() -> None:
    """LangChain makes such copies at each call of a configurable retriever."""
    retriever = made(queries=["a"], filter=CONDITION)
    open_to = retriever.configurable_fields(k=ConfigurableField("k"))
    configured, _ = open_to.prepare({"configurable": {"k": 7}})  # type: ignore[attr-defined]
    assert (configured.k, configured.queries) == (7, ["a"])
    assert (configured.filter, configured.store) == (retriever.filter, retriever.store)


async def test_a_copy_goes_by_its_new_settings() -> None:
    """They are checked, and what makes queries is made anew; the rest and the store stay."""
    first = made(query_generator=lambda _: ["old"], k=2, filter=CONDITION, tags=["mine"])
    other = first.model_copy(update={"query_generator": lambda _: ["new"], "k": 3})
    assert (other.k, other.filter, other.tags) == (3, first.filter, ["mine"])
    assert other.store is first.store
    call = other._call("who?", None, QueryFilter(), {})
    for retriever, query in ((first, "old"), (other, "new"), (first.model_copy(), "old")):
        assert [one.text for one in (await retriever._amake_queries(call, {})).queries] == [query]


@pytest.mark.parametrize(
    "update", [{"k": 10**6}, {"max_queries": -1}, {"nonsense": 3}, {"queries": ["a"]}]
)
def test_a_copy_is_refused_what_a_new_one_is(update: dict[str, Any]) -> None:
    """Bounds, names and contradictions."""
    with pytest.raises(ValidationError, match="|".join(update)):
        made(query_generator=list).model_copy(update=update)


def test_a_deep_copy_is_refused_with_a_sentence() -> None:
    """A plain copy, which shares the store, is none."""
    retriever = made(queries=["a"])
    assert copy.copy(retriever).store is retriever.store
    with pytest.raises(TypeError, match="its store holds connections"):
        copy.deepcopy(retriever)
    with pytest.raises(TypeError, match="its store holds connections"):
        retriever.model_copy(deep=True)


def test_traces_name_the_store_and_the_embedding_model() -> None:
    """The parameters are those that LangSmith knows."""
    embedding = DeterministicFakeEmbedding(size=8)
    object.__setattr__(embedding, "model", "small-1")
    store = MilvusStore(embedding, connection_args={"uri": "./never_opened.db"})
    assert MilvusMultiQueryRetriever(store)._get_ls_params() == {
        "ls_retriever_name": "milvusmultiquery",
        "ls_vector_store_provider": "MilvusStore",
        "ls_embedding_provider": "DeterministicFakeEmbedding",
        "ls_embedding_model": "small-1",
    }
    two = MilvusStore([embedding] * 2, connection_args={"uri": "./never_opened.db"})
    assert MilvusMultiQueryRetriever(two.scoped(a="b"))._get_ls_params() == {
        "ls_retriever_name": "milvusmultiquery",
        "ls_vector_store_provider": "ScopedMilvusStore",
    }


def test_failures_are_told_to_each_document_on_its_own() -> None:
    """A caller that changes one Document's metadata changes no other Document."""
    hits = [(Document(id=id_, page_content=id_), 1.0) for id_ in "ab"]
    failed = [{"query": "who?", "error": "gone"}]
    one, other = fuse({"q": hits}, 2, key="via", failed=failed)
    one.metadata["via"]["failed"][0]["query"] = "changed"
    assert other.metadata["via"]["failed"] == failed == [{"query": "who?", "error": "gone"}]
    assert set(one.metadata) == {"via"}
