"""The multi-query retriever on real stores."""

import asyncio
import concurrent.futures
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import (
    DeadlineError,
    EmbeddingError,
    FilterError,
    InvalidInputError,
    StoreClosedError,
)
from milvus_tools.tools.settings import AnyStore
from tests.helpers.agents import KITE, OWL, SWIFT, Birds
from tests.helpers.retrievers import BROKEN, ENDLESS, Traced, UnreliableModel, found_by
from tests.helpers.support import texts

MakeStore = Callable[..., MilvusStore]
RECENT = {"field": "year", "operator": "gte", "value": 2003}


@pytest.fixture
def moody(
    make_store: MakeStore, birds: Birds, shared: MilvusStore
) -> tuple[UnreliableModel, AnyStore]:
    """The birds, behind an embedding model that fails on demand."""
    model = UnreliableModel()
    store = make_store(model, collection_name=shared.collection_name)
    return model, store.scoped(birds.store.scope)


async def test_several_queries_become_one_list(birds: Birds) -> None:
    """Each Document is there once, and tells who found it, where, and how near it was."""
    retriever = MilvusMultiQueryRetriever(birds.store, queries=[OWL], k=2, fetch_k=2)
    first, second = await retriever.ainvoke(KITE)
    assert {first.page_content, second.page_content} == {KITE, OWL}
    for document in (first, second):
        told = document.metadata["retrieval"]
        ranks = {one["query"]: one["rank"] for one in told["found_by"]}
        assert ranks[document.page_content] == 1
        assert told["score"] == pytest.approx(sum(1 / (60 + rank) for rank in ranks.values()))
        (own,) = (one for one in told["found_by"] if one["query"] == document.page_content)
        assert own["score"] == pytest.approx(1)
    assert {first.id, second.id} == {birds.kite, birds.owl}


async def test_without_a_source_the_question_is_asked_alone(birds: Birds) -> None:
    """It ranks as the store does, and an empty view finds nothing."""
    found = await MilvusMultiQueryRetriever(birds.store).ainvoke(SWIFT)
    assert texts(found) == texts(await birds.store.asimilarity_search(SWIFT))
    assert {tuple(found_by(document)) for document in found} == {(SWIFT,)}
    nobody = birds.store.scoped(nest="empty")
    assert await MilvusMultiQueryRetriever(nobody, queries=[KITE]).ainvoke(OWL) == []


async def test_a_collection_that_is_not_there_has_nothing(make_store: MakeStore) -> None:
    """No filter is an error then, and no model is asked for queries that can find nothing."""
    retriever = MilvusMultiQueryRetriever(
        make_store(), query_generator=lambda _: pytest.fail("asked"), filter=RECENT
    )
    assert await retriever.ainvoke("kite") == []
    assert await MilvusMultiQueryRetriever(make_store()).ainvoke("kite") == []


async def test_weights_decide_between_queries(birds: Birds) -> None:
    """The heavier query's first hit leads; the question has a weight of its own."""
    settings: dict[str, Any] = {"queries": [OWL, SWIFT], "k": 3, "fetch_k": 3, "rank_constant": 1}
    for weights, first in (([9, 1], OWL), ([1, 9], SWIFT)):
        retriever = MilvusMultiQueryRetriever(birds.store, weights=weights, **settings)
        assert (await retriever.ainvoke(KITE))[0].page_content == first
    retriever = MilvusMultiQueryRetriever(birds.store, original_weight=9, **settings)
    assert (await retriever.ainvoke(KITE))[0].page_content == KITE


async def test_the_question_can_be_left_out(birds: Birds) -> None:
    """Then only what was made is asked, unless nothing was."""
    for made, asked in (([OWL], OWL), ([], KITE)):
        retriever = MilvusMultiQueryRetriever(
            birds.store, query_generator=lambda _, made=made: made, include_original=False
        )
        assert {query for one in await retriever.ainvoke(KITE) for query in found_by(one)} == {
            asked
        }


async def test_a_call_narrows_what_is_fixed(birds: Birds) -> None:
    """Filters and expressions of both hold together; none takes the place of another."""
    retriever = MilvusMultiQueryRetriever(birds.store, filter=RECENT, queries=[KITE], k=3)
    assert sorted(texts(await retriever.ainvoke(KITE))) == [OWL, SWIFT]
    until = {"field": "year", "operator": "lt", "value": 2010}
    assert texts(await retriever.ainvoke(KITE, filter=until)) == [OWL]
    assert texts(await retriever.ainvoke(KITE, expr="year < 2010")) == [OWL]
    assert texts(await retriever.ainvoke(KITE, filter=[until, until], expr="year > 2003")) == []
    raw = MilvusMultiQueryRetriever(birds.store, expr='title == "Owls"', k=3)
    assert texts(await raw.ainvoke(KITE)) == [OWL]
    assert texts(await raw.ainvoke(KITE, expr='title == "Kites"')) == []
    assert await raw.ainvoke(KITE, filter={"any": [{"not": RECENT}, {"not": RECENT}]}) == []


async def test_a_call_may_ask_for_more_or_fewer(birds: Birds) -> None:
    """`k` of the call counts, also where a query considers fewer."""
    retriever = MilvusMultiQueryRetriever(birds.store, k=1, fetch_k=1)
    assert [len(await retriever.ainvoke(KITE, k=k)) for k in (None, 1, 2, 3)] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 0}, "k must be an integer"),
        ({"k": True}, "k must be an integer"),
        ({"k": "3"}, "k must be an integer"),
        ({"k": 10**6}, "k must be an integer"),
        ({"filter": []}, "at least one filter"),
        ({"filter": {"year": 3}}, 'To filter by "year", write {"field": "year"'),
        ({"filter": {"field": "text", "operator": "near", "value": 1}}, "no operator"),
        ({"expr": "year > 3) or (year < 3"}, "closes nothing"),
        ({"expr": 5}, "expr must be a string"),
        ({"filters": "year > 3"}, "takes k, filter and expr, not filters"),
        ({"search_kwargs": {}}, "takes k, filter and expr, not search_kwargs"),
    ],
)
async def test_what_a_call_can_not_have_is_refused(
    birds: Birds, arguments: dict[str, Any], said: str
) -> None:
    """Before any query is made, and in both faces."""
    retriever = MilvusMultiQueryRetriever(
        birds.store, query_generator=lambda _: pytest.fail("asked")
    )
    with pytest.raises(InvalidInputError, match=said):
        await retriever.ainvoke(KITE, **arguments)
    with pytest.raises(InvalidInputError, match=said):
        await asyncio.to_thread(retriever.invoke, KITE, **arguments)


async def test_a_field_that_nobody_knows_is_refused(make_store: MakeStore) -> None:
    """A static collection knows its fields."""
    store = make_store(enable_dynamic_field=False)
    await store.aadd_texts([KITE], [{"year": 1995}])
    retriever = MilvusMultiQueryRetriever(store)
    with pytest.raises(FilterError, match="no field 'yaer'"):
        await retriever.ainvoke(KITE, filter={**RECENT, "field": "yaer"})


async def test_one_failing_query_fails_the_call_and_ends_the_others(
    moody: tuple[UnreliableModel, AnyStore],
) -> None:
    """By default; the others' requests are cancelled, and nothing is left under way."""
    model, store = moody
    retriever = MilvusMultiQueryRetriever(store, queries=[ENDLESS, BROKEN])
    before = asyncio.all_tasks()
    with pytest.raises(EmbeddingError):
        await retriever.ainvoke(KITE)
    assert asyncio.all_tasks() == before
    with pytest.raises(EmbeddingError):
        await asyncio.to_thread(retriever.invoke, KITE)
    assert (model.cancelled, model.at_work) == ([ENDLESS] * 2, 0)


async def test_a_failing_query_can_be_skipped(
    moody: tuple[UnreliableModel, AnyStore], caplog: pytest.LogCaptureFixture
) -> None:
    """The query and its error are in every Document, in the log and in the trace."""
    _, store = moody
    trace = Traced()
    retriever = MilvusMultiQueryRetriever(store, queries=[BROKEN, OWL], k=1, on_error="skip")
    with caplog.at_level(logging.WARNING, "milvus_tools"):
        (found,) = await retriever.ainvoke(OWL, {"callbacks": [trace]})
    failed = {
        "query": BROKEN,
        "error": "EmbeddingError: The embedding model failed; no vector was made.",
    }
    assert found.page_content == OWL
    assert found.metadata["retrieval"]["failed"] == [failed]
    assert [record.getMessage() for record in caplog.records if "retriev" in record.name] == [
        "A retrieval continues despite failures (1): EmbeddingError"
    ]
    assert isinstance(trace.children[BROKEN]["error"], EmbeddingError)
    assert "error" not in trace.root
    (found,) = await asyncio.to_thread(retriever.invoke, OWL)
    assert found.metadata["retrieval"]["failed"] == [failed]


async def test_when_all_fail_that_is_an_error(moody: tuple[UnreliableModel, AnyStore]) -> None:
    """Whatever is to be done with failures."""
    _, store = moody
    retriever = MilvusMultiQueryRetriever(store, queries=[BROKEN + "?"], on_error="skip")
    with pytest.raises(EmbeddingError):
        await retriever.ainvoke(BROKEN)
    with pytest.raises(EmbeddingError):
        await asyncio.to_thread(retriever.invoke, BROKEN)


async def test_when_all_fail_the_error_says_that_none_were_made(
    moody: tuple[UnreliableModel, AnyStore], caplog: pytest.LogCaptureFixture
) -> None:
    """The note and the log name the failure, and tell nothing of a foreign one."""
    _, store = moody

    def fail(_: str) -> list[str]:
        raise ConnectionError("key sk-secret is wrong")

    retriever = MilvusMultiQueryRetriever(store, query_generator=fail, on_error="skip")
    for asked in (retriever.ainvoke, functools.partial(asyncio.to_thread, retriever.invoke)):
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING, "milvus_tools"),
            pytest.raises(EmbeddingError) as raised,
        ):
            await asked(BROKEN)
        assert raised.value.__notes__ == ["The queries could not be made either: ConnectionError"]
        (logged,) = (record for record in caplog.records if "retriev" in record.name)
        assert logged.getMessage() == (
            "A retrieval failed (EmbeddingError), and its queries could not be made: "
            "ConnectionError"
        )


async def test_a_call_is_held_to_its_time_by_handlers_too(birds: Birds) -> None:
    """One that never comes back from the start of a search costs the call, not more."""

    class Stuck(AsyncCallbackHandler):
        async def on_retriever_start(self, *_: Any, parent_run_id: Any, **__: Any) -> None:
            if parent_run_id is not None:
                await asyncio.Event().wait()

    retriever = MilvusMultiQueryRetriever(birds.store, queries=[OWL], timeout=0.5)
    with pytest.raises(DeadlineError, match="search did not end within"):
        await retriever.ainvoke(KITE, {"callbacks": [Stuck()]})


async def test_a_slow_query_costs_only_itself(moody: tuple[UnreliableModel, AnyStore]) -> None:
    """Its own deadline, or that of the call, ends it; what was found before stays."""
    _, store = moody
    for limits in ({"query_timeout": 1.0}, {"timeout": 1.0}):
        skipping = MilvusMultiQueryRetriever(
            store, queries=[ENDLESS], k=1, on_error="skip", **limits
        )
        (found,) = await skipping.ainvoke(OWL)
        assert found.page_content == OWL
        (failed,) = found.metadata["retrieval"]["failed"]
        assert failed["query"] == ENDLESS
        assert failed["error"].startswith("DeadlineError: ")
        (found,) = await asyncio.to_thread(skipping.invoke, OWL)
        assert found.page_content == OWL
        raising = MilvusMultiQueryRetriever(store, queries=[ENDLESS], **limits)
        with pytest.raises(DeadlineError):
            await raising.ainvoke(OWL)


async def test_queries_that_are_not_made_in_time_are_an_error(birds: Birds) -> None:
    """The call ends, and with it what makes them."""

    async def never(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    retriever = MilvusMultiQueryRetriever(birds.store, query_generator=never, timeout=0.2)
    with pytest.raises(DeadlineError, match="queries were not made"):
        await retriever.ainvoke(KITE)


async def test_a_generator_that_is_not_interrupted_has_used_its_time_up(birds: Birds) -> None:
    """`invoke` waits for it, and searches no more when the call's time is over."""

    def slow(_: str) -> list[str]:
        threading.Event().wait(0.2)
        return [OWL]

    retriever = MilvusMultiQueryRetriever(birds.store, query_generator=slow, timeout=0.1)
    with pytest.raises(DeadlineError, match="search did not end within"):
        await asyncio.to_thread(retriever.invoke, KITE)


async def test_a_model_that_fails_is_loud_unless_it_may_be_skipped(birds: Birds) -> None:
    """Skipped, the question is asked alone, and the Documents say so."""

    def fail(_: str) -> list[str]:
        raise ConnectionError("key sk-secret is wrong")

    loud = MilvusMultiQueryRetriever(birds.store, query_generator=fail)
    with pytest.raises(ConnectionError):
        await loud.ainvoke(KITE)
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(loud.invoke, KITE)
    for original in (True, False):
        quiet = MilvusMultiQueryRetriever(
            birds.store, query_generator=fail, on_error="skip", k=1, include_original=original
        )
        (found,) = await quiet.ainvoke(KITE)
        assert found.page_content == KITE
        failed = [{"query": "(making the queries)", "error": "ConnectionError"}]
        assert found.metadata["retrieval"]["failed"] == failed
        (found,) = await asyncio.to_thread(quiet.invoke, KITE)
        assert found.metadata["retrieval"]["failed"] == failed


async def test_every_search_is_a_run_below_the_retriever_s(birds: Birds) -> None:
    """With its query and what it found, from both faces."""
    retriever = MilvusMultiQueryRetriever(birds.store, queries=[OWL], k=1)
    for asked in (retriever.ainvoke, lambda *args: asyncio.to_thread(retriever.invoke, *args)):
        trace = Traced()
        await asked(KITE, {"callbacks": [trace], "tags": ["mine"]})
        assert set(trace.children) == {KITE, OWL}
        for query, run in trace.children.items():
            assert texts(run["documents"]) == [query]
            assert run["tags"] == ["mine"]
            assert run["metadata"]["ls_vector_store_provider"] == "ScopedMilvusStore"
        assert len(trace.root["documents"]) == 1
        root = next(key for key, run in trace.runs.items() if run["parent"] is None)
        assert {run["parent"] for run in trace.children.values()} == {root}


async def test_all_faces_find_the_same(birds: Birds) -> None:
    """One call, several, a stream, from threads and from other loops."""
    retriever = MilvusMultiQueryRetriever(birds.store, queries=[OWL], k=2, fetch_k=3)
    expected = await retriever.ainvoke(KITE)

    def sync() -> list[list[Document]]:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            threads = [pool.submit(retriever.invoke, KITE) for _ in range(8)]
            loops = [pool.submit(asyncio.run, retriever.ainvoke(KITE)) for _ in range(4)]
            found = [one.result() for one in (*threads, *loops)]
        return [*found, *retriever.batch([KITE] * 3), *retriever.stream(KITE)]

    found = await asyncio.to_thread(sync)
    found += await retriever.abatch([KITE] * 3)
    found += [one async for one in retriever.astream(KITE)]
    assert [texts(one) for one in found] == [texts(expected)] * 20
    assert [[found_by(document) for document in one] for one in found] == [[[KITE, OWL]] * 2] * 20


async def test_200_calls_at_once_share_requests(shared: MilvusStore, birds: Birds) -> None:
    """They find what each of them finds alone, in far fewer requests than queries."""
    retriever = MilvusMultiQueryRetriever(
        birds.store, query_generator=lambda text: [f"{text}!", f"{text}?"], filter=RECENT, k=2
    )
    await retriever.ainvoke("warm")
    before = shared.stats.search
    found = await asyncio.gather(*(retriever.ainvoke(f"bird {n}") for n in range(200)))
    after = shared.stats.search
    assert after.calls - before.calls == 600
    assert after.batches - before.batches <= 60
    for number in (0, 57, 199):
        assert texts(found[number]) == texts(await retriever.ainvoke(f"bird {number}"))


async def test_callers_share_no_document(birds: Birds) -> None:
    """A caller that changes its Documents changes no other caller's."""
    await birds.store.aadd_texts(["nest"], [{"eggs": ["one", "two"]}], ids=[f"{birds.kite}-nest"])
    retriever = MilvusMultiQueryRetriever(birds.store, queries=["nest"], k=1)
    (mine,), (yours,) = await asyncio.gather(*(retriever.ainvoke("nest") for _ in range(2)))
    mine.metadata["eggs"].append("three")
    mine.metadata["retrieval"]["found_by"].clear()
    assert yours.metadata["eggs"] == ["one", "two"]
    assert found_by(yours) == ["nest"]


async def test_what_a_document_tells_of_an_earlier_retrieval_is_replaced(birds: Birds) -> None:
    """Written back and found again it tells of the latter; another key leaves one's own alone."""
    retriever = MilvusMultiQueryRetriever(birds.store, k=1)
    (kite,) = await retriever.ainvoke(KITE)
    await birds.store.aadd_documents([kite])
    (again,) = await retriever.ainvoke(f"{KITE}!", expr='title == "Kites"')
    assert found_by(again) == [f"{KITE}!"]
    elsewhere = MilvusMultiQueryRetriever(birds.store, k=1, retrieval_key="via")
    (both,) = await elsewhere.ainvoke(KITE)
    assert found_by(both) == found_by(both, "via") == [KITE]


async def test_it_is_a_step_of_a_chain(birds: Birds) -> None:
    """LCEL: `|`, a configurable field, and arguments that are bound."""
    retriever = MilvusMultiQueryRetriever(birds.store, k=1)
    prompt = ChatPromptTemplate.from_messages([("human", "{birds}: {question}")])
    model = FakeListChatModel(responses=["In the air."])
    lines = retriever | (lambda found: "\n".join(texts(found)))
    asked = {"birds": lines, "question": RunnablePassthrough()} | prompt
    messages = (await asked.ainvoke(SWIFT)).to_messages()
    assert messages[0].content == f"{SWIFT}: {SWIFT}"
    assert await (asked | model | StrOutputParser()).ainvoke(SWIFT) == "In the air."
    many = retriever.configurable_fields(k=ConfigurableField("k"))
    assert len(await many.ainvoke(KITE, {"configurable": {"k": 3}})) == 3
    assert len(await retriever.bind(k=2).ainvoke(KITE)) == 2


class WordsInCommon(BaseCrossEncoder):
    """Scores a text by how many words of the question it has."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len({*one.split()} & {*other.split()})) for one, other in text_pairs]


async def test_a_reranker_works_on_what_it_finds(birds: Birds) -> None:
    """`ContextualCompressionRetriever` takes it as any retriever, in both faces."""
    reranking = ContextualCompressionRetriever(
        base_retriever=MilvusMultiQueryRetriever(birds.store, k=3),
        base_compressor=CrossEncoderReranker(model=WordsInCommon(), top_n=1),
    )
    assert texts(await reranking.ainvoke("hunt at night")) == [OWL]
    assert texts(await asyncio.to_thread(reranking.invoke, "in the air.")) == [SWIFT]


async def test_a_closed_store_says_so(make_store: MakeStore, birds: Birds) -> None:
    """Even if failures may be skipped."""
    store = make_store(collection_name=birds.store.collection_name)
    retriever = MilvusMultiQueryRetriever(store, queries=[KITE], on_error="skip")
    assert await retriever.ainvoke(OWL)
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await retriever.ainvoke(OWL)
