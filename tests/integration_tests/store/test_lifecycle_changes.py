"""Changes of the collection by others while a store uses it, and models that don't fit."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import (
    CollectionNotFoundError,
    DeadlineError,
    DimensionError,
    InvalidInputError,
)
from tests.helpers.support import DIM, ON_LITE, embeddings, make_collection, texts

MakeStore = Callable[..., MilvusStore]
OTHER = 2 * DIM


async def test_a_wrong_dimension_is_said_at_open(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """`async with` and `aopen` refuse a model whose vectors don't fit the collection."""
    await shared.aadd_texts(["dimension"], ids=["dimension"])
    with pytest.raises(DimensionError, match=f"{OTHER} dimensions.* {DIM}"):
        async with make_store(embeddings(OTHER), collection_name=shared.collection_name):
            pytest.fail("The model does not fit.")
    with pytest.raises(DimensionError):
        await make_store(embeddings(OTHER), collection_name=shared.collection_name).aopen()


async def test_a_wrong_dimension_is_said_at_the_first_call(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Whatever needs the model says it; what needs none works."""
    await shared.aadd_texts(["dimension"], ids=["dimension"])
    store = make_store(embeddings(OTHER), collection_name=shared.collection_name)
    for call in (
        store.asimilarity_search("dimension"),
        store.amax_marginal_relevance_search("dimension"),
        store.asimilarity_search_by_vector([0.5] * OTHER),
        store.aadd_texts(["dimension"], ids=["dimension"]),
    ):
        with pytest.raises(DimensionError, match="another embedding model"):
            await call
    assert texts(await store.aget_by_ids(["dimension"])) == ["dimension"]


async def test_a_dropped_collection_is_noticed_and_made_anew(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Reads say that it is gone, rather than that nothing matches; a write makes it again."""
    store = make_store()
    await store.aadd_texts(["old"], ids=["1"])
    client.drop_collection(store.collection_name)
    for read in (
        store.asimilarity_search("old"),
        store.aget_by_ids(["1"]),
        store.asearch_by_metadata(),
        store.acount(),
        store.adelete(["1"]),
        store.aopen(),
    ):
        with pytest.raises(CollectionNotFoundError):
            await read
    assert await store.aadd_texts(["new"], ids=["2"]) == ["2"]
    assert texts(await store.aget_by_ids(["1", "2"])) == ["new"]
    assert await store.acount() == 1


async def test_a_collection_that_was_made_anew_is_used_as_it_is_now(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Metric, fields, dimension: the next call, of whichever kind, goes by what is there now."""
    store = make_store()
    name = store.collection_name
    await store.aadd_texts(["old"], [{"kind": "old"}], ids=["1"])

    client.drop_collection(name)
    make_collection(client, name, metric="L2", dynamic=False)
    assert await store.asimilarity_search("old") == []
    await store.aadd_texts(["new"], ids=["2"])
    ((document, relevance),) = await store.asimilarity_search_with_relevance_scores("new")
    assert (document.id, document.metadata) == ("2", {})
    assert relevance == pytest.approx(1)
    with pytest.raises(InvalidInputError, match="kind"):
        await store.aadd_texts(["newer"], [{"kind": "new"}])

    client.drop_collection(name)
    make_collection(client, name, dim=OTHER)
    with pytest.raises(DimensionError):
        await store.aadd_texts(["old"], ids=["1"])
    with pytest.raises(DimensionError):
        await store.asimilarity_search("old")
    assert await store.acount() == 0

    client.drop_collection(name)
    make_collection(client, name)
    await store.aadd_texts(["again"], [{"kind": "dynamic"}], ids=["3"])
    (document,) = await store.asimilarity_search("again")
    assert (document.id, document.metadata) == ("3", {"kind": "dynamic"})


async def test_a_released_collection_is_loaded_again(
    make_store: MakeStore, client: MilvusClient, backend: str
) -> None:
    """It is released between calls: each kind of call loads it, and answers."""
    store = make_store()
    await store.aadd_texts(["one", "two"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    kinds: list[tuple[Callable[[], Any], Callable[[Any], bool]]] = [
        (lambda: store.asimilarity_search("one"), lambda found: len(found) == 2),
        (lambda: store.aget_by_ids(["1"]), lambda found: len(found) == 1),
        (lambda: store.acount("n == 1"), lambda count: count == 1),
        (lambda: store.adelete(["1"]), lambda deleted: deleted.count == 1),
        (lambda: store.aadd_texts(["three"], ids=["3"]), lambda ids: ids == ["3"]),
    ]
    if backend == "server":  # which takes seconds to load
        kinds = kinds[-2:]
    for call, answered in kinds:
        client.release_collection(store.collection_name)
        assert answered(await call())
    assert texts(await store.aget_by_ids(["1", "2", "3"])) == ["two", "three"]


async def test_many_calls_notice_a_change_at_once(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Calls that run together while the collection is released all get their answer."""
    store = make_store()
    await store.aadd_texts(["one"], ids=["1"])
    client.release_collection(store.collection_name)
    answers = await asyncio.gather(*(store.asimilarity_search("one") for _ in range(20)))
    assert [texts(found) for found in answers] == [["one"]] * 20


@ON_LITE
async def test_drop_old_acts_once_and_never_late(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drop whose call ran out of time does not come after what was written since."""
    await make_store().aadd_texts(["old"], ids=["1"])
    dropping, written = threading.Event(), threading.Event()
    drop = MilvusClient.drop_collection

    def slow_at_first(*args: Any, **kwargs: Any) -> Any:
        if not dropping.is_set():
            dropping.set()
            written.wait(2)
        return drop(*args, **kwargs)

    monkeypatch.setattr(MilvusClient, "drop_collection", slow_at_first)
    store = make_store(drop_old=True)
    with pytest.raises(DeadlineError):
        await store.acount(timeout=0.5)
    assert dropping.is_set()
    await store.aadd_texts(["new"], ids=["2"])
    written.set()
    await store.aclose()
    assert texts(await make_store().aget_by_ids(["1", "2"])) == ["new"]
