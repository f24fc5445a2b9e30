"""`MilvusTranslator` under LangChain's `SelfQueryRetriever`."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.chains.query_constructor.schema import AttributeInfo
from langchain_classic.retrievers import SelfQueryRetriever
from langchain_core.language_models import FakeListChatModel
from langchain_core.structured_query import Comparator, Comparison

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import FilterError
from milvus_tools.filters import MilvusTranslator
from tests.helpers.support import ON_LITE

MOVIES: dict[str, dict[str, Any]] = {
    "dino": {"title": "The Lost Park", "year": 1993, "genres": ["scifi", "thriller"]},
    "dream": {"title": "The Dream", "year": 2010, "genres": ["scifi"], "rating": 8.2},
    "toys": {"title": "Story of Toys", "year": 1995, "genres": ["animated"], "rating": 9.5},
    "zone": {"year": 1979, "at": dt.datetime(1979, 5, 25, 20, tzinfo=dt.UTC)},
}
FIELDS = [
    AttributeInfo(name=name, description=f"the {name}", type=type_)
    for name, type_ in {
        "title": "string",
        "year": "integer",
        "genres": "list[string]",
        "rating": "float",
        "at": "date",
        "crew.director": "string",
    }.items()
]


async def written(store: MilvusStore, name: str) -> ScopedMilvusStore:
    """Write the movies into a scope of the test's own."""
    view = store.scoped(movies=name, scoped_ids=True)
    metadatas = [{**one, "crew": {"director": key}} for key, one in MOVIES.items()]
    await view.aadd_texts(list(MOVIES), metadatas, ids=list(MOVIES))
    return view


def retriever(store: Any, filter_: str, limit: int | None = None, **kwargs: Any) -> Any:
    """Return a retriever whose model answers with a filter, as LangChain's prompt asks."""
    answer = {"query": "a movie", "filter": filter_, **({"limit": limit} if limit else {})}
    model = FakeListChatModel(responses=[f"```json\n{json.dumps(answer)}\n```"])
    return SelfQueryRetriever.from_llm(
        model,
        store,
        "Brief summary of a movie",
        FIELDS,
        structured_query_translator=MilvusTranslator(),
        enable_limit=True,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("NO_FILTER", {"dino", "dream", "toys", "zone"}),
        ('gt("year", 1994)', {"dream", "toys"}),
        ('eq("year", 1993)', {"dino"}),
        ('ne("rating", 9.5)', {"dino", "dream", "zone"}),
        ('and(gte("year", 1993), lt("rating", 9))', {"dream"}),
        ('or(lte("year", 1979), gt("rating", 9))', {"zone", "toys"}),
        ('not(eq("title", "The Dream"))', {"dino", "toys", "zone"}),
        ('not(or(eq("year", 1993), eq("year", 2010)))', {"toys", "zone"}),
        ('in("year", [1993, 1995])', {"dino", "toys"}),
        ('nin("year", [1993, 1995])', {"dream", "zone"}),
        ('contain("genres", "scifi")', {"dino", "dream"}),
        ('like("title", "The%")', {"dino", "dream"}),
        ('like("title", "Story")', {"toys"}),
        ('lte("at", "1979-05-25")', {"zone"}),
        ('lt("at", "1979-05-25")', set()),
        ('gt("at", "1979-05-25T19:00:00")', {"zone"}),
        ('eq("crew.director", "toys")', {"toys"}),
    ],
)
async def test_r35_a_self_query_retriever_finds_what_its_model_filters(
    shared: MilvusStore, filter_: str, found: set[str]
) -> None:
    """Each comparator and operator, async and sync, within the scope."""
    view = await written(shared, f"self-query {filter_}")
    await shared.scoped(movies="another", scoped_ids=True).aadd_texts(["x"], [{"year": 1995}])
    asks = retriever(view, filter_, search_kwargs={"k": 10})
    assert {one.id for one in await asks.ainvoke("which movie?")} == found
    assert {one.id for one in asks.invoke("which movie?")} == found


async def test_r35_a_self_query_retriever_holds_what_is_fixed(shared: MilvusStore) -> None:
    """`expr` holds beside the model's filter, and the model's limit is the `k`."""
    view = await written(shared, "self-query fixed")
    asks = retriever(view, 'gt("year", 1900)', search_kwargs={"expr": "year < 1994", "k": 10})
    assert {one.id for one in await asks.ainvoke("x")} == {"dino", "zone"}
    assert len(await retriever(view, 'gt("year", 1900)', 3).ainvoke("x")) == 3


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ('like("title", "%Dream%")', "begin with its value"),
        ('gt("title", [1])', "is compared with"),
    ],
)
@ON_LITE
async def test_r35_a_filter_that_milvus_has_no_form_for_is_refused(
    shared: MilvusStore, filter_: str, said: str
) -> None:
    """With a sentence that says what is right."""
    asks = retriever(await written(shared, "self-query refused"), filter_)
    with pytest.raises(FilterError, match=said):
        await asks.ainvoke("x")


def test_r35_a_date_that_is_none_is_refused() -> None:
    """LangChain only warns of one."""
    for value in ({"type": "date", "date": "May 25"}, {"type": "datetime"}):
        with pytest.raises(FilterError, match="ISO 8601"):
            MilvusTranslator().visit_comparison(Comparison(Comparator.GT, "at", value))
    made: Callable[[Any], Any] = MilvusTranslator().visit_comparison
    found = made(Comparison(Comparator.GT, "at", {"type": "date", "date": "2024-05-25"}))
    assert found.value == dt.date(2024, 5, 25)
