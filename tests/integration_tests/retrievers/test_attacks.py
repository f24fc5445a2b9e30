"""No argument of a call, no query and no setting reaches outside the retriever's scope."""

import asyncio
from typing import Any

import pytest

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import InvalidInputError, MilvusToolsError
from tests.helpers.agents import KITE, OWL, Birds
from tests.helpers.retrievers import found_by
from tests.helpers.support import texts

SECRET = "The secret nest is in the old oak."
EXPRESSIONS = [
    'case != "x"',
    'case == "other"',
    '1 == 1) or (case != "x"',
    'year > 0 or case != "x"',
    'not (case == "x")',
    'case == "x" or pk != ""',
    'pk != ""',
    'text like "The secret%"',
    "",
    " ",
]
FILTERS: list[Any] = [
    {"field": "case", "operator": "ne", "value": "x"},
    {"any": [{"field": "case", "operator": "ne", "value": "x"}] * 2},
    {"not": {"field": "case", "operator": "eq", "value": "x"}},
    {"field": "pk", "operator": "ne", "value": "x"},
    {"field": "case", "operator": "exists", "value": True},
    {"field": 'x"] or (case != "x', "operator": "ne", "value": 1},
    {"field": "year", "operator": "eq", "value": '1) or (case != "x"'},
]
ARGUMENTS: list[dict[str, Any]] = [
    *({"expr": one} for one in EXPRESSIONS),
    *({"filters": one} for one in FILTERS),
    {"partition_names": ["_default"]},
    {"collection_name": "other"},
    {"store": None},
    {"search_kwargs": {"expr": "pk != ''"}},
    {"filter": 'case != "x"'},
    {"expr_params": {}},
    {"consistency_level": "Eventually"},
    {"ids": ["secret"]},
    {"k": 16_384},
]
QUERIES = [
    SECRET,
    'x" or case != "x',
    '") or (pk != ""',
    "x" * 60_000,
    "a\x00b\x1b[31m\r\n",
    "lone \ud800 surrogate \udfff",
    "\u202eright to left\u200b",
    "{question} {max_queries} {0} %s ${x}",
    "[[[[" * 500,
]


@pytest.fixture
async def guarded(birds: Birds, shared: MilvusStore) -> Birds:
    """The birds, beside a Document of another scope."""
    await shared.scoped(case="other").aadd_texts(
        [SECRET], [{"year": 2003}], ids=[birds.kite + "x"]
    )
    return birds


def made(birds: Birds, **settings: Any) -> MilvusMultiQueryRetriever:
    """Return a retriever in the birds' scope, with a filter of its own."""
    recent = {"field": "year", "operator": "gte", "value": 2003}
    return MilvusMultiQueryRetriever(birds.store, filter=recent, **settings)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=repr)
async def test_no_argument_reaches_past_scope_and_filter(
    guarded: Birds, arguments: dict[str, Any]
) -> None:
    """It narrows, or it is refused: neither the other's Document nor the old kite comes out."""
    retriever = made(guarded)
    for asked in (retriever.ainvoke, lambda *a, **k: asyncio.to_thread(retriever.invoke, *a, **k)):
        try:
            found = await asked(SECRET, **{"k": 1000, **arguments})
        except MilvusToolsError:
            continue
        assert not {SECRET, KITE} & set(texts(found))


@pytest.mark.parametrize("settings", [{"partition_names": ["_default"]}, {"filters": "year > 0"}])
async def test_no_search_argument_reaches_past_the_scope(
    guarded: Birds, settings: dict[str, Any]
) -> None:
    """The store's allow-list holds for `search_kwargs`, too."""
    with pytest.raises(MilvusToolsError):
        await made(guarded, search_kwargs=settings).ainvoke(SECRET)


@pytest.mark.parametrize("query", QUERIES, ids=[ascii(query)[:20] for query in QUERIES])
async def test_a_made_query_is_data(guarded: Birds, query: str) -> None:
    """It is searched for, made sound first, or left out; it neither fails nor reaches anything."""
    retriever = made(guarded, query_generator=lambda _: [query], k=10)
    found = await retriever.ainvoke(OWL)
    assert OWL in texts(found)
    assert not {SECRET, KITE} & set(texts(found))
    asked = {one for document in found for one in found_by(document)}
    assert OWL in asked
    assert all(one.isprintable() or "\u202e" in one for one in asked)
    assert len(asked) == (1 if len(query) > 1000 else 2)


async def test_a_question_that_can_not_be_sent_is_refused(guarded: Birds) -> None:
    """A question is not changed: a lone surrogate is an error, never skipped."""
    for retriever in (made(guarded), made(guarded, queries=[OWL], on_error="skip")):
        with pytest.raises(InvalidInputError, match="The question contains a lone surrogate"):
            await retriever.ainvoke("who \ud800?")
        with pytest.raises(InvalidInputError, match="The question contains a lone surrogate"):
            await asyncio.to_thread(retriever.invoke, "who \ud800?")


async def test_a_scope_can_be_narrowed_only(guarded: Birds) -> None:
    """A retriever over a narrower view finds less, one over none of it nothing."""
    mine = made(Birds(guarded.store.scoped(title="Owls"), "", "", ""), k=10)
    assert texts(await mine.ainvoke(SECRET)) == [OWL]
    with pytest.raises(PermissionError):
        guarded.store.scoped(case="other")
