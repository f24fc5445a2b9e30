"""Large collections and large writes: reads by key in a scope, and requests bounded in bytes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.ingest import aingest
from milvus_tools.transport import direct
from milvus_tools.transport.requests import DeleteRequest, QueryRequest, Row, WriteRequest, weight
from tests.helpers.support import DIM, CountingEmbeddings, texts
from tests.helpers.threads import BOUND
from tests.helpers.transports import Made, Recording

MakeStore = Callable[..., MilvusStore]
LIMIT = 8_000_000


async def test_r36_a_read_in_a_scope_goes_by_key(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """No condition stands beside the keys, and a foreign row's scope alone is read."""
    await shared.aadd_texts(["none"], ids=["r36 none"])
    made = Made(Recording)
    store = make_store(transport=made, collection_name=shared.collection_name)
    mine, other = store.scoped(r36="mine"), store.scoped(r36="other")
    await mine.aadd_texts(["mine"], [{"n": 1}], ids=["r36 mine"])
    await other.aadd_texts(["other"], [{"n": 2}], ids=["r36 other"])
    made.one.sent.clear()
    ids = ["r36 none", "r36 other", "r36 mine", "r36 missing"]
    (found,) = await mine.aget_by_ids(ids)
    assert (found.page_content, found.metadata) == ("mine", {"n": 1, "r36": "mine"})
    asked: list[QueryRequest] = made.one.sent
    assert [one.filter for one in asked] == ["", ""]
    assert (asked[0].output_fields, asked[0].dynamic_keys) == (("pk",), ("r36",))
    assert asked[1].keys is not None
    assert asked[1].keys.values == ("r36 mine",)
    assert await mine.aexisting_ids(ids) == {"r36 mine"}


async def test_r36_no_more_than_the_scope_is_read_of_rows_that_may_be_foreign(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """By upserts, deletes and reads of keys; Milvus compares a scope of an odd name first."""
    made = Made(Recording)
    store = make_store(transport=made, collection_name=shared.collection_name)
    await store.scoped({"r36k": "other", "r36 odd": "other"}).aadd_texts(["other"], ids=["r36 k"])
    mine, odd = store.scoped(r36k="mine"), store.scoped({"r36 odd": "mine"})
    made.one.sent.clear()
    for view in (mine, odd):
        with pytest.raises(ScopeError, match="taken"):
            await view.aadd_texts(["mine"], ids=["r36 k"])
    assert (await mine.adelete(["r36 k"])).missing == 1
    assert await mine.aget_pks() == []
    asked = [(one.filter, one.output_fields, one.dynamic_keys) for one in made.one.sent]
    assert asked == [
        ("", ("pk",), ("r36k",)),
        ('$meta["r36 odd"] == "mine"', ("pk", "$meta"), ()),
        ("", ("pk",), ()),
        ("", ("pk",), ("r36k",)),
        ('r36k == "mine"', ("pk",), ("r36k",)),
    ]


async def test_r36_a_delete_in_a_scope_leaves_other_rows(
    make_store: MakeStore, shared: MilvusStore, backend: str
) -> None:
    """A server is told the scope; Milvus Lite goes by the keys that it had under the locks."""
    made = Made(Recording)
    store = make_store(transport=made, collection_name=shared.collection_name)
    mine, other = store.scoped(r36d="mine"), store.scoped(r36d="other")
    await mine.aadd_texts(["a", "b"], ids=["r36 a", "r36 b"])
    await other.aadd_texts(["c"], ids=["r36 c"])
    result = await mine.adelete(["r36 a", "r36 c"])
    assert (result.count, result.missing) == (1, 1)
    assert (await mine.adelete(expr='pk like "r36%"')).count == 1
    assert texts(await other.aget_by_ids(["r36 a", "r36 b", "r36 c"])) == ["c"]
    filters = {one.filter for one in made.one.sent if isinstance(one, DeleteRequest)}
    assert filters == ({""} if backend == "lite" else {'r36d == "mine"'})


async def test_r36_a_scope_of_any_name_finds_its_rows(shared: MilvusStore) -> None:
    """A key that Milvus can't return by itself is compared in the filter."""
    mine, other = shared.scoped({"r36 my-key": "a"}), shared.scoped({"r36 my-key": "b"})
    await mine.aadd_texts(["mine"], ids=["r36 named"])
    assert texts(await mine.aget_by_ids(["r36 named"])) == ["mine"]
    assert await other.aget_by_ids(["r36 named"]) == []


async def test_r38_many_rows_are_read_beside_the_io_loop(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stores share the loop, and pymilvus decodes each row when it is read."""
    view = shared.scoped(r38="many")
    ids = [f"r38 {number:04}" for number in range(1_001)]
    await view.aadd_embeddings(ids, [[0.5] * DIM] * len(ids), ids=ids)
    loop, read, read_rows = portal()._loop, [], direct.read_rows

    def watched(rows: Any) -> list[Row]:
        if len(rows) == len(ids):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(BOUND)
            read.append(len(rows))
        return read_rows(rows)

    monkeypatch.setattr(direct, "read_rows", watched)
    assert sorted(await view.aget_pks()) == ids
    assert read == [len(ids)]


async def test_r34_a_load_is_cut_by_its_bytes(make_store: MakeStore, shared: MilvusStore) -> None:
    """Long texts go in several requests, in whatever batches they were embedded."""
    made = Made(Recording)
    store = make_store(transport=made, collection_name=shared.collection_name)
    ids = [f"r34 {number}" for number in range(150)]
    documents = [Document("x" * 64_000, id=id_) for id_ in ids]
    assert (await aingest(store, documents)).written == len(ids)
    sent = [one for one in made.one.sent if isinstance(one, WriteRequest)]
    assert [row["pk"] for one in sent for row in one.rows] == ids
    assert len(sent) > 1
    assert max(sum(map(weight, one.rows)) for one in sent) <= LIMIT
    again = await aingest(store, [*documents, Document("new", id="r34 new")], skip_existing=True)
    assert (again.written, again.skipped) == (1, len(ids))


async def test_r34_metadata_that_a_server_refuses_costs_no_embeddings(
    make_store: MakeStore, shared: MilvusStore, backend: str
) -> None:
    """It is refused before a collection is made and in one that is there; Lite takes it."""
    model = CountingEmbeddings()
    new, there = make_store(model), make_store(model, collection_name=shared.collection_name)
    longest, longer = {"key": "x" * (65_536 - 10)}, {"key": "x" * (65_537 - 10)}
    for store in (new, there) if backend == "server" else ():
        with pytest.raises(InvalidInputError, match="65537 bytes as JSON"):
            await store.aadd_texts(["short", "long"], [{}, longer], ids=["r34 s", "r34 l"])
    assert model.documents == []
    taken = longest if backend == "server" else longer
    await there.aadd_texts(["long"], [taken], ids=["r34 l"])
    (found,) = await there.aget_by_ids(["r34 l"])
    assert found.metadata == taken
