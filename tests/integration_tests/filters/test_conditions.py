"""Typed filters against an oracle in Python, on both backends."""

import asyncio
import collections
import contextlib
import random
from collections.abc import Callable, Iterator

import pytest
from langchain_core.documents import Document
from pymilvus import MilvusClient

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters import Fields, Filter, describe, expression, parse
from milvus_tools.filters.conditions import MAX_DEPTH
from milvus_tools.schema import Schema
from tests.conftest import new_name
from tests.helpers.filter_oracle import Row, World, depth, holds, is_answerable
from tests.helpers.generated_filters import as_json, filters, make, rows, worlds
from tests.helpers.generated_values import generated

COUNTS = [
    500,
    pytest.param(10_000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)]),
]
Tally = collections.Counter[str]
MAX_CHARS = 8_000  # of a filter that can be too long as an expression
SENTENCE = r"^[^\x00-\x1f]+\.( Did you mean .+)?$"
PACK = 100  # filters at the same time


@contextlib.contextmanager
def made(client: MilvusClient, world: World) -> Iterator[str]:
    """Make a world's collection, and drop it at the end."""
    name = new_name()
    make(client, name, world)
    yield name
    client.drop_collection(name)


async def filled(
    store: MilvusStore, client: MilvusClient, world: World
) -> tuple[ScopedMilvusStore, list[Row]]:
    """Write a world's rows for two tenants, flush half of them; return the view of one."""
    dice = random.Random(7)  # the same rows in every run
    theirs, ours = (
        [Document(id=f"{n}", page_content=f"{n}", metadata=row) for n, row in enumerate(some)]
        for some in (rows(world, dice), rows(world, dice))
    )
    view, other = (store.scoped({"tenant": tenant}, scoped_ids=True) for tenant in "ab")
    await other.aadd_documents(theirs)
    await view.aadd_documents(ours[::2])
    await asyncio.to_thread(client.flush, store.collection_name)
    await view.aadd_documents(ours[1::2])
    return view, [
        {**one.metadata, "pk": f"tenant=%22a%22:{one.id}", "text": one.page_content, "tenant": "a"}
        for one in ours
    ]


@pytest.mark.parametrize("count", COUNTS)
async def test_filters_mean_what_they_mean_in_python(
    make_store: Callable[..., MilvusStore],
    client: MilvusClient,
    backend: str,
    count: int,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """A typed filter is refused with a sentence, or finds the rows that it finds in Python."""
    tally = Tally()
    there = worlds(lite=backend == "lite")
    for number, world in enumerate(there):
        share = count // len(there) + (number < count % len(there))
        with made(client, world) as name:
            store = make_store(collection_name=name, metadata_field=world.metadata_field)
            view, metadata = await filled(store, client, world)
            tally += await check_world(view, metadata, world, client, share)
    record_testsuite_property(f"filters ({backend})", dict(tally))
    assert tally.total() == count
    assert tally["answered"] > count / 2
    assert tally["refused"] > count / 20


async def check_world(
    view: ScopedMilvusStore,
    metadata: list[Row],
    world: World,
    client: MilvusClient,
    count: int,
) -> Tally:
    """Ask a world many filters, some of them at the same time."""
    schema = await asyncio.to_thread(Schema.read, client, view.collection_name, 30)
    fields = Fields(
        schema,
        world.declared,
        allow_dynamic=True,
        lite=world.lite,
        metadata_field=world.metadata_field,
    )
    asked = generated(filters(world), count)
    tally = Tally()
    for start in range(0, count, PACK):
        some = asked[start : start + PACK]
        checks = [check_filter(view, metadata, world, fields, filter_) for filter_ in some]
        tally.update(await asyncio.gather(*checks))
    return tally


async def check_filter(
    view: ScopedMilvusStore, metadata: list[Row], world: World, fields: Fields, drawn: Filter
) -> str:
    """Ask one filter; say what came of it."""
    if depth(drawn) > MAX_DEPTH or not is_answerable(drawn, world):
        with pytest.raises((FilterError, UnsupportedError), match=SENTENCE):
            expression(parse(as_json(drawn)), fields)
        return "refused"
    filter_ = parse(as_json(drawn))
    assert filter_ == drawn
    assert describe(filter_).isprintable()
    try:
        expr = expression(filter_, fields)
    except FilterError:
        assert len(repr(drawn)) > MAX_CHARS, drawn
        return "refused"
    found = await view.aget_pks(expr)
    wanted = [row["text"] for row in metadata if holds(drawn, row, world)]
    assert sorted(found, key=int) == wanted, (drawn, expr)
    return "answered"


async def test_metadata_in_one_field_is_filtered_by_plain_names(
    make_store: Callable[..., MilvusStore],
) -> None:
    """A store made with `metadata_field` takes the names that its Documents' metadata has."""
    store = make_store(metadata_field="metadata")
    metadata = [{"topic": "kites", "a b": 1, "tags": ["x"]}, {"topic": "birds", "a b": None}]
    await store.aadd_texts(["1", "2"], metadata, ids=["1", "2"])
    for name, asked, value, wanted in (
        ("topic", "eq", "kites", ["1"]),
        ("topic", "ne", "kites", ["2"]),
        ("a b", "lt", 2, ["1"]),
        ("a b", "exists", False, ["2"]),
        ("tags", "contains", "x", ["1"]),
        ("none", "ne", 1, ["1", "2"]),
    ):
        condition = {"field": name, "operator": asked, "value": value}
        found = await store.asearch_by_metadata(await store.afilter_expression(condition))
        assert sorted(str(one.id) for one in found) == wanted, name
