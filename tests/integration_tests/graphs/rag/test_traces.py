"""Traces of the RAG graph: retriever runs with their Documents, and the models' calls."""

import collections
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler

from graphs.rag import Context, build_graph
from milvus_tools import MilvusStore
from tests.helpers.openai_clients import Clients
from tests.helpers.openai_service import EMBEDDINGS, OpenAIService
from tests.helpers.rag_graph import DOCUMENTS, QUESTION, PlayedModel, plan, reflection
from tests.helpers.support import DIM, ON_LITE, CountingEmbeddings

MakeStore = Callable[..., MilvusStore]
SEVERAL = "Who came? Who saw? Who won? Who lost? Who wept? Who fled? Who ran?"  # 7 and itself


class FailingOnce(CountingEmbeddings):
    """Fails for the first query."""

    failed = False

    def embed_query(self, text: str) -> list[float]:
        if not self.failed:
            self.failed = True
            raise RuntimeError("told to")
        return super().embed_query(text)


async def loaded(make_store: MakeStore, embedding: Any = None, **arguments: Any) -> MilvusStore:
    """Return a store with the documents."""
    store = make_store(embedding, **arguments)
    await store.aadd_documents(DOCUMENTS)
    return store


async def runs(context: Context, question: str = QUESTION) -> list[Any]:
    """Return the events of a run that are not those of chains."""
    stream = build_graph(context).astream_events({"question": question}, version="v2")
    return [event async for event in stream if "_chain_" not in event["event"]]


def named(events: list[Any], event: str) -> list[Any]:
    """Return the events of a kind."""
    return [one for one in events if one["event"] == event]


async def test_r47_each_sub_question_is_a_retriever_run(make_store: MakeStore) -> None:
    """With its text, and the Documents that it found, in the order of the search."""
    store = await loaded(make_store)
    events = await runs(Context(store=store, max_rounds=1), f"{QUESTION} What are kites?")
    started, ended = named(events, "on_retriever_start"), named(events, "on_retriever_end")
    assert len(started) == len(ended) == 3
    for one in ended:
        found = one["data"]["output"]
        alone = await store.asimilarity_search(one["data"]["input"]["query"], k=10)
        assert [each.id for each in found] == [each.id for each in alone]
        assert one["metadata"]["langgraph_node"] == "retrieve"


@ON_LITE
async def test_r47_each_attempt_is_a_retriever_run(make_store: MakeStore) -> None:
    """The one that failed, and the one that found."""

    class Attempts(AsyncCallbackHandler):
        """Counts how retriever runs end."""

        def __init__(self) -> None:
            self.ends: list[str] = []

        async def on_retriever_end(self, documents: Any, **_: Any) -> None:
            self.ends.append(f"found {len(documents)}")

        async def on_retriever_error(self, error: BaseException, **_: Any) -> None:
            self.ends.append(type(error).__name__)

    seen = Attempts()
    store = await loaded(make_store, FailingOnce(), batching=False)
    graph = build_graph(Context(store=store, max_rounds=1, retries=1))
    output = await graph.ainvoke({"question": QUESTION}, {"callbacks": [seen]})
    assert seen.ends == ["EmbeddingError", "found 3"]
    assert not output["notes"]


@ON_LITE
async def test_r47_a_trace_has_the_models_calls_too(make_store: MakeStore) -> None:
    """Plan, reflection and answer, and the retrievers between them."""
    model = PlayedModel([plan("What is Leland?")], [reflection(answerable=True)])
    with OpenAIService(model, dim=DIM) as service:
        async with Clients(service) as clients:
            store = await loaded(make_store, clients.embeddings)
            events = await runs(Context(store=store, model=clients.chat()))
            await store.aclose()
    ends = collections.Counter(
        (one["event"], one["metadata"]["langgraph_node"])
        for one in events
        if one["event"].endswith("_end")
    )
    assert ends == {
        ("on_chat_model_end", "plan"): 1,
        ("on_retriever_end", "retrieve"): 2,
        ("on_chat_model_end", "reflect"): 1,
        ("on_chat_model_end", "answer"): 1,
    }


@pytest.mark.parametrize("traced", [False, True])
async def test_r47_traced_branches_share_requests(make_store: MakeStore, traced: bool) -> None:
    """Eight retriever runs at the same time embed their texts in three requests at most."""
    with OpenAIService(dim=DIM) as service:
        async with Clients(service) as clients:
            store = await loaded(make_store, clients.embeddings)
            context = Context(store=store, max_rounds=1)
            before, searches = service.requests[EMBEDDINGS], store.stats.search.batches
            if traced:
                events = await runs(context, SEVERAL)
                assert len(named(events, "on_retriever_end")) == 8
            else:
                await build_graph(context).ainvoke({"question": SEVERAL})
            await store.aclose()
    assert service.requests[EMBEDDINGS] - before <= 3
    assert store.stats.search.batches - searches <= 3
