"""Writes: each trap of the clients below us (T10 ...) and what the store does instead."""

import asyncio
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from pymilvus import MilvusClient

from milvus_tools import DeleteResult, MilvusStore
from milvus_tools.errors import InvalidInputError, MilvusError, PartialWriteError, ScopeError
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, DeleteRequest, WriteRequest
from tests.helpers.support import (
    DIM,
    ON_LITE,
    CountingEmbeddings,
    embeddings,
    make_collection,
    texts_of,
)

MakeStore = Callable[..., MilvusStore]


async def metadata(store: MilvusStore, id_: str) -> dict:
    """Return the metadata that the store has for an id that is there."""
    (document,) = await store.aget_by_ids([id_])
    return document.metadata


def partition_keys(client: MilvusClient, store: MilvusStore) -> list[str]:
    """Return the names of the collection's fields that are partition keys."""
    fields = client.describe_collection(store.collection_name)["fields"]
    return [field["name"] for field in fields if field.get("is_partition_key")]


async def test_t10_concurrent_first_writes_make_one_collection(make_store: MakeStore) -> None:
    """Of two stores' eight first writes, with metadata all different, none is lost."""
    stores = [make_store(), make_store()]
    ids = [str(number) for number in range(8)]
    await asyncio.gather(
        *(
            stores[number % 2].aadd_texts([f"text {id_}"], [{f"key{id_}": number}], ids=[id_])
            for number, id_ in enumerate(ids)
        )
    )
    for store in stores:
        found = await store.aget_by_ids(ids)
        assert [one.metadata for one in found] == [{f"key{number}": number} for number in range(8)]


class Overtaken(CountingEmbeddings):
    """Embeds documents only after another store has made the collection."""

    def __init__(self, make: Callable[[], None]) -> None:
        """Keep what makes the collection."""
        super().__init__()
        self.make = make

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Make the collection first."""
        self.make()
        return super().embed_documents(texts)


async def test_t10_a_collection_made_by_somebody_faster_is_used(
    make_store: MakeStore, client: MilvusClient, collection_name: str
) -> None:
    """A first write that another process overtakes goes into that one's collection."""
    model = Overtaken(lambda: make_collection(client, collection_name, metric="IP"))
    store = make_store(model)
    await store.aadd_texts(["one"], [{"n": 1}], ids=["1"])
    assert await metadata(store, "1") == {"n": 1}
    assert client.describe_index(collection_name, "vector")["metric_type"] == "IP"


async def test_t11_a_store_opened_too_early_finds_the_collection_later(
    make_store: MakeStore,
) -> None:
    """A store that looked before another made the collection reads and writes all the same."""
    early, other = make_store(), make_store()
    assert await early.asimilarity_search("one") == []
    assert await early.acount() == 0
    await other.aadd_texts(["one"], [{"n": 1}], ids=["1"])
    (found,) = await early.asimilarity_search("one", consistency_level="Strong")
    assert (found.id, found.metadata) == ("1", {"n": 1})
    await early.aadd_texts(["two"], [{"m": 2}], ids=["2"])
    assert await metadata(early, "2") == {"m": 2}


async def test_t12_metadata_keys_that_the_first_document_lacked_are_kept(
    make_store: MakeStore,
) -> None:
    """A collection is dynamic by default, and its own flag counts before the store's."""
    store = make_store()
    await store.aadd_texts(["bare"], ids=["1"])
    await store.aadd_texts(["rich"], [{"new": [1, {"deep": None}]}], ids=["2"])
    assert await metadata(store, "1") == {}
    assert await metadata(store, "2") == {"new": [1, {"deep": None}]}
    forgetful = make_store(enable_dynamic_field=False)
    await forgetful.aadd_texts(["late"], [{"late": True}], ids=["3"])
    assert await metadata(forgetful, "3") == {"late": True}
    (found,) = await forgetful.asearch_by_metadata('pk == "2"')
    assert found.metadata == {"new": [1, {"deep": None}]}


async def test_t12_a_static_collection_refuses_the_keys_it_would_drop(
    make_store: MakeStore,
) -> None:
    """Keys that a collection without dynamic field can't keep are an error; nothing is written."""
    store = make_store(enable_dynamic_field=False)
    await store.aadd_texts(["one"], [{"n": 1}], ids=["1"])
    with pytest.raises(InvalidInputError, match="extra"):
        await store.aadd_texts(["two", "three"], [{"n": 2}, {"n": 3, "extra": 4}], ids=["2", "3"])
    with pytest.raises(InvalidInputError, match="'n' needs a value"):
        await store.aadd_texts(["two"], [{}], ids=["2"])
    assert await store.acount() == 1


@pytest.mark.parametrize("name", ["text", "pk", "vector", "$meta"])
async def test_t13_reserved_metadata_keys_are_refused(store: MilvusStore, name: str) -> None:
    """A key that would overwrite id, text or vector is an error before anything is made."""
    with pytest.raises(InvalidInputError, match="reserved"):
        await store.aadd_texts(["one"], [{name: "other"}], ids=["1"])
    assert await store.acount() == 0
    assert not store.client.has_collection(store.collection_name)


async def test_t13_a_retrieved_document_can_be_written_under_a_new_id(
    shared: MilvusStore,
) -> None:
    """A found Document written again under another id leaves the old row as it was."""
    await shared.aadd_texts(["one"], [{"n": 1}], ids=["t13-old"])
    (found,) = await shared.aget_by_ids(["t13-old"])
    found.metadata["n"] = 2
    assert await shared.aadd_documents([found], ids=["t13-new"]) == ["t13-new"]
    assert await metadata(shared, "t13-old") == {"n": 1}
    assert await metadata(shared, "t13-new") == {"n": 2}
    copied = Document(id="t13-new", page_content="two", metadata={"pk": "t13-new"})
    await shared.aadd_documents([copied])
    assert await metadata(shared, "t13-new") == {}
    with pytest.raises(InvalidInputError, match="reserved"):
        await shared.aadd_documents([copied], ids=["t13-newer"])


async def test_t15_a_partition_key_needs_no_further_flag(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """`partition_key_field` alone makes it one, also of rows that move to another partition."""
    store = make_store(partition_key_field="tenant")
    await store.aadd_texts(["one", "two"], [{"tenant": "a"}, {"tenant": "b"}], ids=["1", "2"])
    assert partition_keys(client, store) == ["tenant"]
    (found,) = await store.asimilarity_search("one", expr='tenant == "b"')
    assert (found.id, found.metadata) == ("2", {"tenant": "b"})
    await store.aadd_texts(["moved"], [{"tenant": "c"}], ids=["1"])
    assert await store.acount('tenant == "a"') == 0
    assert await store.acount('tenant == "c"') == 1
    with pytest.raises(InvalidInputError, match="tenant"):
        await store.aadd_texts(["three"], [{}], ids=["3"])


async def test_t15_a_partition_key_goes_with_ids_that_milvus_makes(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """With `auto_id`, too, each row goes to the partition where filters look for it."""
    store = make_store(partition_key_field="tenant", auto_id=True, num_partitions=3)
    await store.aadd_texts(["one", "two"], [{"tenant": "a"}, {"tenant": "b"}])
    assert partition_keys(client, store) == ["tenant"]
    (found,) = await store.asimilarity_search("one", expr='tenant == "b"')
    assert (found.page_content, found.metadata) == ("two", {"tenant": "b"})


async def test_t16_another_scopes_id_can_not_be_taken_over(shared: MilvusStore) -> None:
    """An upsert of an id outside the scope raises, and nothing of its batch is written."""
    ours, theirs = shared.scoped(t16="a"), shared.scoped(t16="b")
    await theirs.aadd_texts(["theirs"], ids=["t16-1"])
    with pytest.raises(ScopeError):
        await ours.aadd_texts(["new", "ours"], ids=["t16-2", "t16-1"])
    with pytest.raises(ScopeError):
        await ours.aadd_texts(["new"], [{"t16": "b"}], ids=["t16-2"])
    assert await texts_of(shared, "t16-1", "t16-2") == ["theirs"]
    assert await ours.adelete(ids=["t16-1"]) == DeleteResult(count=0, missing=1)
    assert await texts_of(theirs, "t16-1") == ["theirs"]


async def test_t16_scoped_ids_let_two_scopes_use_one_id(shared: MilvusStore) -> None:
    """With the scope in the keys the same id is another row in each scope."""
    ours, theirs = (shared.scoped(t16_keys=who, scoped_ids=True) for who in "ab")
    await theirs.aadd_texts(["theirs"], ids=["t16-3"])
    await ours.aadd_texts(["ours"], ids=["t16-3"])
    assert await texts_of(theirs, "t16-3") == ["theirs"]
    assert await texts_of(ours, "t16-3") == ["ours"]
    assert await ours.adelete(ids=["t16-3"]) == DeleteResult(count=1)
    assert await texts_of(theirs, "t16-3") == ["theirs"]


async def test_t17_an_upsert_replaces_the_whole_row(shared: MilvusStore) -> None:
    """No metadata of the row before survives an upsert."""
    await shared.aadd_texts(["old"], [{"old": 1, "both": 1}], ids=["t17"])
    document = Document(id="t17", page_content="new", metadata={"new": 2, "both": 2})
    await shared.aupsert(documents=[document])
    assert await metadata(shared, "t17") == {"new": 2, "both": 2}
    (found,) = await shared.asimilarity_search("new", k=1, expr='pk == "t17"')
    assert (found.page_content, found.metadata) == ("new", {"new": 2, "both": 2})


async def test_t18_of_two_rows_with_one_id_the_later_is_kept(shared: MilvusStore) -> None:
    """One id twice, in one call or in two, is one row: the last one given."""
    ids = ["t18-1", "t18-2", "t18-1"]
    assert await shared.aadd_texts(["first", "other", "last"], ids=ids) == ids
    assert await texts_of(shared, "t18-1", "t18-2") == ["last", "other"]
    await shared.aadd_texts(["again"], ids=["t18-1"])
    assert await texts_of(shared, "t18-1") == ["again"]
    assert await shared.acount('pk like "t18-%"') == 2
    split = await shared.aadd_texts(["first", "last"], ids=["t18-3", "t18-3"], batch_size=1)
    assert split == ["t18-3", "t18-3"]
    assert await texts_of(shared, "t18-3") == ["last"]


class Diverted(DirectTransport):
    """Sends all but the first write, or delete, to a partition that Milvus does not know."""

    def __init__(self, connection: Connection) -> None:
        """Let the first request pass."""
        super().__init__(connection)
        self.first: Iterator[dict] = iter([{}])

    def _elsewhere(self) -> dict:
        return next(self.first, {"partition_name": "no_such_partition"})

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list:
        """Write, but elsewhere."""
        request = dataclasses.replace(request, options=self._elsewhere())
        return await super().upsert(request, deadline)

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete, but elsewhere."""
        request = dataclasses.replace(request, options=self._elsewhere())
        return await super().delete(request, deadline)


async def test_t26_a_write_that_fails_half_way_says_which_ids_it_wrote(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The error carries the ids of the batches that are there, and doing it again completes it."""
    await shared.aadd_texts(["old"], ids=["t26-5"])  # makes the collection, if need be
    store = make_store(collection_name=shared.collection_name, transport=Diverted)
    ids = [f"t26-{number}" for number in range(5)]
    with pytest.raises(PartialWriteError, match="2 of 5") as caught:
        await store.aadd_texts(ids, ids=ids, batch_size=2)
    assert caught.value.written == ids[:2]
    assert isinstance(caught.value.__cause__, MilvusError)
    assert await texts_of(store, *ids) == ids[:2]
    assert await shared.aadd_texts(ids, ids=ids, batch_size=2) == ids
    assert await texts_of(shared, *ids) == ids


async def test_t26_a_delete_that_fails_half_way_says_which_ids_it_deleted(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A delete of more ids than one request takes carries those that are gone."""
    ids = [f"t26-many-{number}" for number in range(1001)]
    await shared.aadd_embeddings(ids, [[1.0] * DIM] * len(ids), ids=ids, batch_size=2000)
    store = make_store(collection_name=shared.collection_name, transport=Diverted)
    with pytest.raises(PartialWriteError, match="1000 of 1001") as caught:
        await store.adelete(ids=ids)
    assert set(ids) - set(caught.value.written) == set(
        await store.aget_pks('pk like "t26-many-%"')
    )
    assert len(caught.value.written) == 1000


async def test_t27_upsert_makes_the_collection_and_keeps_document_ids(
    store: MilvusStore,
) -> None:
    """`aupsert` returns the ids, writes `Document.id`, and every read gives it back."""
    documents = [
        Document(id="mine", page_content="one", metadata={"n": 1}),
        Document(page_content="two"),
    ]
    ids = await store.aupsert(documents=documents)
    assert ids[0] == "mine"
    assert len(set(ids)) == 2
    assert documents[1].id is None
    assert [one.id for one in await store.aget_by_ids(ids)] == ids
    assert {one.id for one in await store.asimilarity_search("one")} == set(ids)
    assert {one.id for one in await store.asearch_by_metadata()} == set(ids)
    assert {one.id for one in await store.amax_marginal_relevance_search("one")} == set(ids)
    assert set(await store.aget_pks('pk != ""')) == set(ids)


async def test_t29_leaving_ids_out_once_changes_nothing_later(store: MilvusStore) -> None:
    """A first write without ids makes string keys, and later writes choose theirs."""
    (made,) = await store.aadd_texts(["made"])
    assert await store.aadd_texts(["given"], ids=["given"]) == ["given"]
    (again,) = await store.aadd_texts(["made again"])
    assert await texts_of(store, made, "given", again) == ["made", "given", "made again"]
    assert await store.adelete(ids=[made, "given"]) == DeleteResult(count=2)


async def test_t29_a_collection_with_auto_id_refuses_given_ids(make_store: MakeStore) -> None:
    """Where Milvus makes the keys, a given id is an error and one left out never is."""
    store = make_store(auto_id=True)
    first = await store.aadd_texts(["one"])
    with pytest.raises(InvalidInputError, match="auto_id"):
        await store.aadd_texts(["two"], ids=["2"])
    other = make_store()  # what it was told does not count: the collection has auto_id
    with pytest.raises(InvalidInputError, match="auto_id"):
        await other.aadd_texts(["two"], ids=["2"])
    second = await other.aadd_texts(["two"])
    assert await texts_of(other, *first, *second) == ["one", "two"]
    assert await other.adelete(ids=first) == DeleteResult(count=1)


async def test_scoped_ids_need_keys_of_ours(make_store: MakeStore) -> None:
    """With `auto_id` no row could be got by its id again, so none is written or paid for."""
    scope = {"tenant": "a"}
    with pytest.raises(InvalidInputError, match="choose one"):
        make_store(auto_id=True, scope=scope, scoped_ids=True)
    model = CountingEmbeddings()
    store = make_store(model, auto_id=True)
    for reopened in (store, make_store(model)):  # the collection, once it is there, says it
        view = reopened.scoped(scope, scoped_ids=True)
        with pytest.raises(InvalidInputError, match="auto_id"):
            await view.aadd_texts(["kite"])
        with pytest.raises(InvalidInputError, match="auto_id"):
            await view.aupsert(["1"], [Document("kite")])
        assert model.documents == []
        (id_,) = await make_store(auto_id=True).scoped(scope).aadd_texts(["kite"])
        assert [found.id for found in await store.scoped(scope).aget_by_ids([id_])] == [id_]


EMBEDDINGS: list[Any] = [
    *(None, 5, "x", b"x", {"a": 1}, np.array(5), [None], [5], [True], ["abc"], [[]], [[None]]),
    *([[1, "x"]], [[1e300, 1]], [[math.nan, 1]], [[[1.0]]], [np.zeros((2, 2))], [[1.0], [2.0]]),
]


async def test_embeddings_that_are_none_make_no_collection(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Whatever is no list of vectors is refused by an error of ours, before anything is made."""
    store = make_store()
    for wrong in EMBEDDINGS:
        with pytest.raises(InvalidInputError):
            await store.aadd_embeddings(["kite"], wrong)
    assert not client.has_collection(store.collection_name)


@ON_LITE
async def test_lists_of_embeddings_that_are_none_make_no_collection(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """So it is where each text has a vector per model."""
    store = make_store([embeddings(), embeddings(4)], vector_field=["one", "two"])
    for wrong in [*EMBEDDINGS[:-2], [[[1.0], 2.0]], [[[1.0], [None]]], [[[1.0], [2.0], [3.0]]]]:
        with pytest.raises(InvalidInputError):
            await store.aadd_embeddings(["kite"], wrong)
    assert not client.has_collection(store.collection_name)


def changed(**values: Any) -> Document:
    """Return a Document that was changed to what its constructor would refuse."""
    document = Document("kite", metadata={"n": 1})
    for name, value in values.items():
        document.__dict__[name] = value
    return document


@pytest.mark.parametrize("new", [True, False])
async def test_documents_that_are_none_are_refused(
    make_store: MakeStore, shared: MilvusStore, new: bool
) -> None:
    """A Document whose parts have other types is refused, on a new collection too."""
    model = CountingEmbeddings()
    name = {} if new else {"collection_name": shared.collection_name}
    if not new:
        await shared.aadd_texts(["kite"], ids=["changed"])
    store = make_store(model, **name)
    parts = [{"metadata": None}, {"metadata": [("n", 1)]}, {"page_content": 5}]
    for part in parts:
        with pytest.raises(InvalidInputError):
            await store.aadd_documents([changed(**part)])
        with pytest.raises(InvalidInputError):
            await store.aupsert(documents=[Document("fine"), changed(**part)])
    assert model.documents == []
