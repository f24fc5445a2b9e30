"""`filter=` on every method that reads or deletes."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore, ScopedMilvusStore
from milvus_tools.errors import FilterError
from milvus_tools.filters import All, Condition, Operator, TypedFilter
from milvus_tools.store.methods.search import StoreRetriever
from tests.helpers.support import DIM, ON_LITE

YEARS = {"a": 1999, "b": 2010, "c": 2001, "d": None}
SINCE_2000 = {"field": "year", "operator": "gte", "value": 2000}
FORMS = {
    "a condition": SINCE_2000,
    "a condition of Python": Condition("year", Operator.GTE, 2000),
    "a list": [SINCE_2000],
    "all": {"all": [SINCE_2000, {"field": "year", "operator": "exists"}]},
    "any": {"any": [SINCE_2000, {"field": "year", "operator": "eq", "value": 2001}]},
    "not": {"not": {"not": SINCE_2000}},
    "nested": [{"any": [{"all": [SINCE_2000]}, {"not": {"field": "year", "operator": "exists"}}]}],
    "groups of Python": All([Condition("year", Operator.GTE, 2000)]),
    "with types": TypedFilter(SINCE_2000, {"year": "integer"}, allow_dynamic=False),
    "an expression": "year >= 2000",
}
VECTOR = [0.5] * DIM
Ids = Callable[[ScopedMilvusStore, Any], Awaitable[set[Any]]]


async def _ids_of(documents: Awaitable[list[Any]]) -> set[Any]:
    found = [one[0] if isinstance(one, tuple) else one for one in await documents]
    return {one.id for one in found}


async def _deleted(store: ScopedMilvusStore, filter_: Any) -> set[str]:
    before = set(await store.aget_pks())
    result = await store.adelete(filter=filter_)
    gone = before - set(await store.aget_pks())
    assert result.count == len(gone)
    return gone


async def _counted(store: ScopedMilvusStore, filter_: Any) -> set[str]:
    """Count, which tells no ids: those that another method finds, if they are as many."""
    found = set(await store.aget_pks(filter=filter_))
    assert await store.acount(filter=filter_) == len(found)
    return found


# One line per public method that takes `filter`.
METHODS: dict[str, Ids] = {
    "asimilarity_search": lambda s, f: _ids_of(s.asimilarity_search("x", filter=f)),
    "asimilarity_search_with_score": lambda s, f: _ids_of(
        s.asimilarity_search_with_score("x", filter=f)
    ),
    "asimilarity_search_by_vector": lambda s, f: _ids_of(
        s.asimilarity_search_by_vector(VECTOR, filter=f)
    ),
    "asimilarity_search_with_score_by_vector": lambda s, f: _ids_of(
        s.asimilarity_search_with_score_by_vector(VECTOR, filter=f)
    ),
    "asimilarity_search_with_relevance_scores": lambda s, f: _ids_of(
        s.asimilarity_search_with_relevance_scores("x", filter=f)
    ),
    "amax_marginal_relevance_search": lambda s, f: _ids_of(
        s.amax_marginal_relevance_search("x", filter=f)
    ),
    "amax_marginal_relevance_search_by_vector": lambda s, f: _ids_of(
        s.amax_marginal_relevance_search_by_vector(VECTOR, filter=f)
    ),
    "aget_by_ids": lambda s, f: _ids_of(s.aget_by_ids(list(YEARS), filter=f)),
    "aexisting_ids": lambda s, f: s.aexisting_ids(list(YEARS), filter=f),
    "asearch_by_metadata": lambda s, f: _ids_of(s.asearch_by_metadata(filter=f, order_by="pk")),
    "aiterate": lambda s, f: _iterated(s.aiterate(filter=f)),
    "aget_pks": lambda s, f: _ids_as_set(s.aget_pks(filter=f)),
    "acount": _counted,
    "adelete": _deleted,
}
RETRIEVERS: dict[str, Ids] = {
    "a retriever's own": lambda s, f: _ids_of(
        s.as_retriever(search_kwargs={"filter": f}).ainvoke("x")
    ),
    "a retriever's call": lambda s, f: _ids_of(s.as_retriever().ainvoke("x", filter=f)),
    "a multi-query retriever's own": lambda s, f: _ids_of(
        MilvusMultiQueryRetriever(s, queries=["y"], filter=f).ainvoke("x")
    ),
    "a multi-query retriever's call": lambda s, f: _ids_of(
        MilvusMultiQueryRetriever(s, queries=["y"]).ainvoke("x", filter=f)
    ),
}


async def _iterated(documents: AsyncIterator[Document]) -> set[Any]:
    return {document.id async for document in documents}


async def _ids_as_set(ids: Awaitable[list[Any]]) -> set[Any]:
    return set(await ids)


async def written(store: MilvusStore, key: str) -> ScopedMilvusStore:
    """Write one Document per year into a scope of the test's own."""
    view = store.scoped(filtering=key, scoped_ids=True)
    metadatas = [{} if year is None else {"year": year} for year in YEARS.values()]
    await view.aadd_texts(list(YEARS), metadatas, ids=list(YEARS))
    return view


@pytest.mark.parametrize("method", [*METHODS, *RETRIEVERS])
async def test_every_method_takes_every_form_of_filter(shared: MilvusStore, method: str) -> None:
    """Each finds, or deletes, exactly what matches."""
    view = await written(shared, method)
    found = {**METHODS, **RETRIEVERS}[method]
    for form, filter_ in FORMS.items():
        if method == "adelete":
            view = await written(shared, method)
        expected = set("bcd" if form == "nested" else "bc")
        assert await found(view, filter_) == expected, form


def test_every_reading_method_is_in_the_table() -> None:
    """A method that takes `expr`, or reads by id, takes `filter`, by keyword only."""
    for name, method in inspect.getmembers(MilvusStore, inspect.isfunction):
        parameters = inspect.signature(method).parameters
        if "expr" in parameters and not name.startswith("_"):
            assert "filter" in parameters, name
        if "filter" in parameters:
            assert parameters["filter"].kind is inspect.Parameter.KEYWORD_ONLY, name
            assert (name if name in METHODS else f"a{name}") in METHODS, name


async def test_filter_and_expr_both_hold(shared: MilvusStore) -> None:
    """Neither takes the place of the other, nor of the scope."""
    view = await written(shared, "both")
    await (await written(shared, "both, too")).aadd_texts(["e"], [{"year": 2005}], ids=["e"])
    early = "year < 2005"
    assert await view.acount(early, filter=SINCE_2000) == 1
    assert await view.acount(early, filter="year > 2000 or year < 0") == 1
    found = await view.asimilarity_search("x", expr=early, filter=SINCE_2000)
    assert [one.id for one in found] == ["c"]
    result = await view.adelete(["a", "c"], early, filter=SINCE_2000)
    assert (result.count, result.missing) == (1, 1)


@pytest.mark.parametrize("given", [{"filter": SINCE_2000}, {"expr": "year >= 2000"}])
@pytest.mark.parametrize("own", [{"filter": "year < 2005"}, {"expr": "year < 2005"}, {}])
async def test_a_calls_filter_is_joined_to_the_retrievers_own(
    shared: MilvusStore, own: dict[str, Any], given: dict[str, Any]
) -> None:
    """LangChain would put it in its place; in both faces."""
    view = await written(shared, "joined")
    retriever = view.as_retriever(search_kwargs={**own, "k": 4})
    assert isinstance(retriever, StoreRetriever)
    expected = {"c"} if own else {"b", "c"}
    assert await _ids_of(retriever.ainvoke("x", **given)) == expected
    found = await asyncio.to_thread(retriever.invoke, "x", **given)
    assert {one.id for one in found} == expected


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"year": 2000}, r'To filter by "year", write \{"field": "year", "operator": "eq"'),
        ({"year": {"$gte": 2000}}, r'\{"field": "year", "operator": "eq", "value": …\}'),
        ({"a": 1, "b": 2}, "A condition is"),
        ({}, "A condition is"),
        ([], "at least one filter"),
        (7, "A condition is"),
        ('{"field": "year", "operator": "eq", "value": 1}) or (year > 0', "closes nothing"),
        ("year > 3) or (year < 3", "closes nothing"),
        ({**SINCE_2000, "operator": "gtee"}, "Did you mean 'gte'"),
        ([SINCE_2000] * 101, "at most 100 conditions"),
    ],
)
@ON_LITE
async def test_a_wrong_filter_is_refused_with_the_right_form(
    shared: MilvusStore, wrong: Any, said: str
) -> None:
    """By every method, before anything is sent or deleted."""
    view = await written(shared, "wrong")
    for found in [*METHODS.values(), *RETRIEVERS.values()]:
        with pytest.raises(ValueError, match=said):
            await found(view, wrong)
    assert await view.acount() == len(YEARS)


@ON_LITE
async def test_a_filter_on_the_key_means_the_documents_id(shared: MilvusStore) -> None:
    """Also where stored keys are made of the scope and the id."""
    view = await written(shared, "keys")
    asked = {"field": "pk", "operator": "in", "value": ["a", "d", "z"]}
    assert set(await view.aget_pks(filter=asked)) == {"a", "d"}


@ON_LITE
async def test_declared_types_hold(shared: MilvusStore) -> None:
    """A key that was not declared, or a value of another type, is refused."""
    view = await written(shared, "types")
    for condition, fields in (
        (SINCE_2000, {"size": "integer"}),
        ({**SINCE_2000, "value": "old"}, {"year": "integer"}),
    ):
        narrow = TypedFilter(condition, fields, allow_dynamic=False)
        with pytest.raises(FilterError, match="year"):
            await view.acount(filter=narrow)
    with pytest.raises(FilterError, match="The types of fields are"):
        TypedFilter(SINCE_2000, {"year": "date"})


async def test_a_filter_before_the_first_write_finds_nothing(
    make_store: Callable[..., MilvusStore],
) -> None:
    """There is no schema to check it against."""
    store = make_store()
    assert await store.asimilarity_search("x", filter=SINCE_2000) == []
    assert await store.acount(filter=SINCE_2000) == 0
    assert (await store.adelete(filter=SINCE_2000)).count == 0
