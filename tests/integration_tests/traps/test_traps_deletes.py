"""Deletes and ids: each trap of the clients below us (T01 ...) and what the store does instead."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from pymilvus import DataType, MilvusClient

from milvus_tools import DeleteResult, MilvusStore
from milvus_tools.errors import CollectionNotFoundError, InvalidInputError, MilvusError
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, DeleteRequest, Keys
from tests.helpers.support import DIM, make_collection, texts_of

MakeStore = Callable[..., MilvusStore]

HARD_IDS = [
    "o'brien",
    'say "hi"',
    "back\\slash",
    "line\nbreak\ttab\rreturn",
    "nul\x00",
    "escape\x1b",
    "delete\x7f",
    "soft\xadhyphen",
    "zero\u200bwidth",
    "line\u2028separator",
    "bom\ufeff",
    "right\u202eleft",
    "emoji 🦊",
    "percent%_",
    "') or (pk != '",
]


@pytest.mark.parametrize("scoped", [False, True])
async def test_deletes_at_once_count_each_row_once(shared: MilvusStore, *, scoped: bool) -> None:
    """Of deletes that meet, by id and by filter, exactly one says that a row is gone."""
    kind = f"meet-{scoped}"
    view = shared.scoped(kind=kind) if scoped else shared
    ids = [f"{kind}-{number}" for number in range(5)]
    await view.aadd_texts(ids, [{"kind": kind}] * 5, ids=ids)
    by_filter = [view.adelete(expr=f'kind == "{kind}"') for _ in range(3)]
    results = await asyncio.gather(*by_filter, *(view.adelete(ids) for _ in range(3)))
    assert sum(result.count for result in results) == 5
    assert await texts_of(shared, *ids) == []


async def test_t01_a_delete_that_did_not_happen_raises(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A malformed filter, an unknown field and a dropped collection are errors, not True."""
    store = make_store(enable_dynamic_field=False)
    await store.aadd_texts(["one"], [{"n": 1}], ids=["1"])
    for expression in ("n ==", "unknown == 1", "n == 'text"):
        with pytest.raises((MilvusError, InvalidInputError)):
            await store.adelete(expr=expression)
    assert await store.acount() == 1
    client.drop_collection(store.collection_name)
    with pytest.raises(CollectionNotFoundError):
        await store.adelete(expr="n == 1")
    with pytest.raises(CollectionNotFoundError):
        await store.adelete(ids=["1"])


async def test_t01_the_transport_sees_the_status_that_pymilvus_ignores(
    uri: str, shared: MilvusStore
) -> None:
    """A delete that Milvus refused has deleted none, although pymilvus's async client returns."""
    await shared.aadd_texts(["one"], ids=["t01"])
    connection = Connection({"uri": uri})
    await connection.open(30)
    transport = DirectTransport(connection)
    try:
        for name, expression in (
            (shared.collection_name, "pk =="),
            (shared.collection_name, "pk == 1"),
            ("no_such_collection", ""),
        ):
            request = DeleteRequest(name, expression, Keys("pk", ("t01",)))
            assert await transport.delete(request, Deadline.after(30)) == 0
    finally:
        await connection.close()
    assert await texts_of(shared, "t01") == ["one"]


class Refused(DirectTransport):
    """Deletes nothing, and says so as pymilvus's async client does."""

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Ask for what Milvus refuses."""
        refused = dataclasses.replace(request, filter="pk ==")
        return await super().delete(refused, deadline)


async def test_a_delete_that_deleted_none_looks_again(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The call raises if a row is still there."""
    await shared.aadd_texts(["one"], ids=["t01"])
    store = make_store(collection_name=shared.collection_name, transport=Refused)
    with pytest.raises(MilvusError, match="deleted none"):
        await store.adelete(["t01"])
    assert await texts_of(shared, "t01") == ["one"]


async def test_t02_a_delete_counts_what_was_really_there(shared: MilvusStore) -> None:
    """Ids that don't exist are told apart from those that were deleted."""
    await shared.aadd_texts(["one", "two"], ids=["t02-1", "t02-2"])
    answer = await shared.adelete(ids=["t02-1", "t02-none", "t02-1"])
    assert answer == DeleteResult(count=1, missing=1)
    assert await shared.adelete(ids=["t02-1"]) == DeleteResult(count=0, missing=1)
    assert await shared.adelete(expr='pk like "t02-%"') == DeleteResult(count=1)
    assert await shared.adelete(expr='pk like "t02-%"') == DeleteResult(count=0)


async def test_t03_invisible_characters_in_ids_do_not_stop_a_batch_delete(
    shared: MilvusStore,
) -> None:
    """Ids with control and invisible characters are written, read and deleted with the rest."""
    ids = [f"t03 {hard}" for hard in HARD_IDS]
    assert await shared.aadd_texts(HARD_IDS, ids=ids) == ids
    found = await shared.aget_by_ids(ids)
    assert [(one.id, one.page_content) for one in found] == list(zip(ids, HARD_IDS, strict=True))
    assert await shared.adelete(ids=ids) == DeleteResult(count=len(ids))
    assert await shared.aget_by_ids(ids) == []


async def test_t04_an_id_is_never_read_as_code(shared: MilvusStore) -> None:
    """An id that closes the list of ids deletes and reads nothing but itself."""
    await shared.aadd_texts(["one", "two"], [{"t04": "a"}, {"t04": "b"}], ids=["t04-1", "t04-2"])
    attacks = [
        f"zzz{quote}] or t04 != {quote}{quote} or pk in [{quote}zzz" for quote in ("'", '"')
    ]
    assert await shared.aget_by_ids(attacks) == []
    assert await shared.adelete(ids=attacks) == DeleteResult(count=0, missing=2)
    assert await shared.acount('t04 in ["a", "b"]') == 2
    await shared.aadd_texts(["three"], ids=[attacks[0]])
    assert await texts_of(shared, attacks[0]) == ["three"]
    assert await shared.adelete(ids=[attacks[0]]) == DeleteResult(count=1)
    assert await shared.acount('t04 in ["a", "b"]') == 2


async def test_t14_ids_and_filter_of_a_delete_both_hold(shared: MilvusStore) -> None:
    """A delete by ids keeps the rows that its filter does not match."""
    await shared.aadd_texts(["one", "two"], [{"t14": "a"}, {"t14": "b"}], ids=["t14-1", "t14-2"])
    answer = await shared.adelete(ids=["t14-1", "t14-2"], expr='t14 == "a" or t14 == "c"')
    assert answer == DeleteResult(count=1, missing=1)
    assert await texts_of(shared, "t14-1", "t14-2") == ["two"]


async def test_t19_ids_are_cast_to_the_type_of_the_key(
    make_store: MakeStore, client: MilvusClient, collection_name: str
) -> None:
    """String ids reach the rows of an INT64 key; those that are no integer are refused."""
    make_collection(client, collection_name, key=DataType.INT64)
    store = make_store()
    assert await store.aadd_texts(["one", "two"], ids=["1", "-2"]) == ["1", "-2"]
    assert [one.id for one in await store.aget_by_ids(["-2", "1"])] == ["-2", "1"]
    assert await store.adelete(ids=["1", "3"]) == DeleteResult(count=1, missing=1)
    assert await store.aget_pks("pk != 0") == [-2]
    for wrong in ("one", "1.0", "01", "1 or pk != 0", str(2**63)):
        with pytest.raises(InvalidInputError):
            await store.adelete(ids=[wrong])
    with pytest.raises(InvalidInputError):
        await store.aadd_texts(["without id"])
    assert await texts_of(store, "-2") == ["two"]


async def test_t20_a_store_reads_its_own_writes_and_deletes(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The next read sees an upsert and a delete, at the weakest consistency and from any view."""
    store = make_store(collection_name=shared.collection_name, consistency_level="Eventually")
    view = store.scoped(t20="a")
    for attempt in range(3):
        text = f"attempt {attempt}"
        await view.aadd_texts([text], ids=["t20"])
        assert await texts_of(store, "t20") == [text]
        (found,) = await store.asimilarity_search(text, expr='t20 == "a"')
        assert found.page_content == text
        await view.adelete(ids=["t20"])
        assert await store.asimilarity_search(text, expr='t20 == "a"') == []
        assert await store.acount('t20 == "a"') == 0


async def test_t20_a_strong_read_sees_what_another_client_wrote(
    shared: MilvusStore, client: MilvusClient
) -> None:
    """A read that asks for Strong consistency misses no client's write."""
    await shared.aadd_texts(["ours"], ids=["t20-ours"])
    for number in range(3):
        row = {"pk": f"t20-{number}", "text": "theirs", "vector": [1.0] * DIM, "t20": number}
        client.upsert(shared.collection_name, [row])
        expression = f"t20 == {number}"
        (found,) = await shared.asearch_by_metadata(expression, consistency_level="Strong")
        assert found.id == f"t20-{number}"
