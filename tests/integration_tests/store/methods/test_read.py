"""Reading in an order, and with typed filters."""

from typing import Any

import pytest
from pymilvus import DataType

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import FilterError, InvalidInputError, MilvusError
from milvus_tools.filters import Condition, Operator
from milvus_tools.store.ordering import Order
from tests.conftest import Stores
from tests.helpers.support import ON_LITE

YEARS = {"a": 1999, "b": 2010, "c": 2001, "d": None, "e": "soon", "f": 2010.5, "g": True}


async def written(store: MilvusStore, key: str) -> ScopedMilvusStore:
    """Write one Document per year into a scope of the test's own."""
    view = store.scoped(reading=key, scoped_ids=True)
    metadatas = [{} if year is None else {"year": year} for year in YEARS.values()]
    await view.aadd_texts(list(YEARS), metadatas, ids=list(YEARS))
    return view


def ids(documents: list[Any]) -> str:
    """Return ids in a row."""
    return "".join(document.id for document in documents)


async def test_documents_come_in_order(shared: MilvusStore) -> None:
    """Booleans before numbers before strings, in either direction; those without come last."""
    view = await written(shared, "order")
    assert ids(await view.asearch_by_metadata(order_by="year")) == "gacbfed"
    assert ids(await view.asearch_by_metadata(order_by="year", descending=True)) == "efbcagd"
    assert ids(view.search_by_metadata(order_by="pk", descending=True)) == "gfedcba"
    assert ids(await view.asearch_by_metadata(order_by="pk", limit=2)) == "ab"
    found = await view.asearch_by_metadata("year > 2000", order_by="year", limit=2, offset=1)
    assert [(one.page_content, one.metadata["year"]) for one in found] == [
        ("b", 2010),
        ("f", 2010.5),
    ]


async def test_more_than_can_be_sorted_is_refused(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page is made of a part of what matches."""
    view = await written(shared, "many")
    monkeypatch.setattr(Order.__init__, "__defaults__", (False, 3))
    with pytest.raises(InvalidInputError, match="Up to 3 entities are sorted"):
        await view.asearch_by_metadata(order_by="year")
    assert ids(await view.asearch_by_metadata("year > 2000", order_by="year")) == "cbf"


@pytest.mark.parametrize("order_by", ["vector", 7])
async def test_an_order_by_nothing_is_refused(shared: MilvusStore, order_by: Any) -> None:
    """There is no order of vectors."""
    view = await written(shared, "refused")
    with pytest.raises(InvalidInputError):
        await view.asearch_by_metadata(order_by=order_by)


async def test_get_pks_takes_a_limit(shared: MilvusStore) -> None:
    """A bound tells whether there are many, without reading them all."""
    view = await written(shared, "limit")
    assert len(await view.aget_pks('pk != ""', limit=3)) == 3
    with pytest.raises(InvalidInputError, match="limit must be"):
        await view.aget_pks('pk != ""', limit=0)


@pytest.mark.parametrize("offset", [-1, 2, "1"])
async def test_get_pks_takes_no_offset_alone(shared: MilvusStore, offset: Any) -> None:
    """Without a limit one backend ignores it, and the other takes rows away."""
    with pytest.raises(InvalidInputError):
        await shared.aget_pks('pk != ""', offset=offset)


async def test_a_narrower_view_keeps_to_the_keys_of_the_wider(shared: MilvusStore) -> None:
    """The tenant's view reads, counts and deletes rows that a user's view wrote."""
    tenant = shared.scoped(keys="wide", scoped_ids=True)
    user = tenant.scoped(user="u")
    assert await user.aadd_texts(["of u"], ids=["1"]) == ["1"]
    assert await tenant.aadd_texts(["of all"], ids=["2"]) == ["2"]
    assert ids(await tenant.asearch_by_metadata(order_by="pk")) == "12"
    assert ids(await user.asearch_by_metadata()) == "1"
    assert (await user.adelete(["1", "2"])).count == 1
    assert ids(await tenant.aget_by_ids(["1", "2"])) == "2"


@ON_LITE
async def test_errors_tell_nothing_of_rows_outside(make_store: Stores) -> None:
    """Milvus Lite's error quotes a value of another tenant; ours does not."""
    secret = 9_007_199_254_740_993
    schema = {"tenant": {"dtype": DataType.VARCHAR, "kwargs": {"max_length": 9}}}
    schema["n"] = {"dtype": DataType.INT64}
    store = make_store(metadata_schema=schema)
    await store.scoped(tenant="b").aadd_texts(["theirs"], [{"n": secret}])
    view = store.scoped(tenant="a")
    for expr in ("n > 0.5", "n == 1.5", "n in [1.5]"):
        with pytest.raises(MilvusError, match="not shown") as refused:
            await view.acount(expr)
        assert str(secret) not in str(refused.value)
        with pytest.raises(MilvusError, match=str(secret)):
            await store.acount(expr)
    with pytest.raises(MilvusError, match=r"pars|expected|syntax"):
        await view.acount("n in")


async def test_typed_filters_become_expressions(shared: MilvusStore) -> None:
    """Conditions, or JSON that says them, are written for the collection as it is."""
    view = await written(shared, "typed")
    late = Condition("year", Operator.GTE, 2010)
    expr = await view.afilter_expression(late)
    assert ids(await view.asearch_by_metadata(expr, order_by="pk")) == "bf"
    both = [
        {"field": "year", "operator": "between", "value": [2000, 2010]},
        {"field": "pk", "operator": "ne", "value": "b"},
    ]
    assert ids(await view.asearch_by_metadata(view.filter_expression(both))) == "c"


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("eq", "b", "b"),
        ("in", ["a", "c", "x"], "ac"),
        ("not_in", ["a", "b", "c", "d", "e"], "fg"),
        ("prefix", "a", "a"),
        ("between", ["b", "d"], "bcd"),
        ("gt", "e", "fg"),
    ],
)
async def test_conditions_on_the_id_know_the_stored_keys(
    shared: MilvusStore, operator: str, value: Any, found: str
) -> None:
    """With scoped_ids the key is made of scope and id, and a filter means the id."""
    view = await written(shared, "keys")
    expr = await view.afilter_expression({"field": "pk", "operator": operator, "value": value})
    assert ids(await view.asearch_by_metadata(expr, order_by="pk")) == found


async def test_a_typed_filter_on_what_is_not_there_is_refused(shared: MilvusStore) -> None:
    """Fields must be known, if the caller wants them to be, and types be types."""
    view = await written(shared, "unknown")
    asked = {"field": "yaer", "operator": "eq", "value": 1}
    with pytest.raises(FilterError, match="Did you mean 'year'"):
        await view.afilter_expression(asked, {"year": "integer"}, allow_dynamic=False)
    with pytest.raises(InvalidInputError, match="The types of fields are string, integer"):
        await view.afilter_expression(asked, {"yaer": "date"})
    with pytest.raises(InvalidInputError, match="must be a dictionary"):
        await view.afilter_expression(asked, ["yaer"])  # type: ignore[arg-type]


async def test_without_a_collection_there_is_no_expression(make_store: Stores) -> None:
    """Nothing can be said for a collection that no write has made yet."""
    store = make_store()
    assert await store.afilter_expression({"field": "n", "operator": "eq", "value": 1}) is None
    assert await store.aschema() is None
    assert await store.asearch_by_metadata(order_by="n") == []


async def test_the_schema_is_told_as_milvus_has_it(shared: MilvusStore) -> None:
    """Programs can look at the fields of the collection."""
    view = await written(shared, "schema")
    schema = await view.aschema()
    assert schema is not None
    assert schema == view.schema()
    assert (schema.primary.name, list(schema.scalars), schema.dynamic) == ("pk", ["text"], True)
