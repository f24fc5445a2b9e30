"""The traps that concern retrievers, by their numbers in TRAPS.md."""

import asyncio
from collections.abc import Callable

import pytest
from langchain_classic.retrievers import MultiQueryRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import EmbeddingError
from tests.helpers.agents import KITE, OWL, Birds
from tests.helpers.retrievers import BROKEN, UnreliableModel, found_by
from tests.helpers.support import texts

MakeStore = Callable[..., MilvusStore]


async def test_t44_arguments_of_a_call_reach_both_faces(birds: Birds) -> None:
    """`k`, `filters` and `expr` count in `ainvoke`, `invoke`, `abatch` and `batch`."""
    retriever = MilvusMultiQueryRetriever(birds.store)
    old = {"field": "year", "operator": "lt", "value": 2010}
    narrowed = {"k": 1, "filter": old, "expr": "year > 1995"}
    for found in (
        await retriever.ainvoke(KITE, **narrowed),
        await asyncio.to_thread(retriever.invoke, KITE, **narrowed),
        *await retriever.abatch([KITE], **narrowed),
        *await asyncio.to_thread(lambda: retriever.batch([KITE], **narrowed)),
    ):
        assert texts(found) == [OWL]


async def test_t47_queries_are_bounded_fail_alone_and_find_each_row_once(
    make_store: MakeStore, birds: Birds, shared: MilvusStore
) -> None:
    """LangChain's own retriever is run with the same queries for comparison."""
    model = UnreliableModel()
    store = make_store(model, collection_name=shared.collection_name).scoped(birds.store.scope)
    versions = [f"{number}. bird {number}" for number in range(1, 40)]
    llm = FakeListChatModel(responses=["\n".join(["Here are 39 versions:", *versions])])
    theirs = MultiQueryRetriever.from_llm(store.as_retriever(), llm)
    model.together = asyncio.Barrier(40)
    await theirs.ainvoke(KITE)
    assert "Here are 39 versions:" in model.queries

    model.queries.clear()
    model.most_at_work, model.together = 0, asyncio.Barrier(4)
    ours = MilvusMultiQueryRetriever(store, llm, max_queries=39, max_concurrency=4, k=10)
    found = await ours.ainvoke(KITE)
    assert model.most_at_work == 4
    assert sorted(model.queries) == sorted([KITE, *(f"bird {number}" for number in range(1, 40))])
    assert len({document.id for document in found}) == len(found) == 3

    model.together = None
    failing = FakeListChatModel(responses=[f"1. {BROKEN}\n2. {OWL}"])
    with pytest.raises(EmbeddingError):
        await MultiQueryRetriever.from_llm(store.as_retriever(), failing).ainvoke(KITE)
    found = await MilvusMultiQueryRetriever(store, failing, on_error="skip").ainvoke(KITE)
    assert {query for document in found for query in found_by(document)} == {KITE, OWL}


class InThreads(BaseCallbackHandler):
    """A handler that LangChain runs in threads, which comes back at another time for each run."""


async def test_t59_the_queries_of_concurrent_calls_stay_together(
    make_store: MakeStore, birds: Birds, shared: MilvusStore
) -> None:
    """Eight queries are one request, and so are eight calls of one query, handlers or not."""
    store = make_store(UnreliableModel(), collection_name=shared.collection_name)
    view = store.scoped(birds.store.scope)
    eight = MilvusMultiQueryRetriever(view, queries=[f"bird {n}" for n in range(7)])
    alone = MilvusMultiQueryRetriever(view)
    await alone.ainvoke("warm")
    for _ in range(20):
        before = store.stats.search
        await eight.ainvoke(KITE, {"callbacks": [InThreads()]})
        await asyncio.gather(*(alone.ainvoke(f"kite {n}") for n in range(8)))
        after = store.stats.search
        assert (after.calls - before.calls, after.batches - before.batches) == (16, 2)
