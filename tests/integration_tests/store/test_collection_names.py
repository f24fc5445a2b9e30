"""Names of collections: the same ones on Milvus Lite and on the server."""

from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError
from tests.helpers.support import ON_LITE, CountingEmbeddings, make_collection

MakeStore = Callable[..., MilvusStore]
NAMES = {
    "my-docs": "'my_docs'",
    "my docs": "'my_docs'",
    "2024_docs": "'_2024_docs'",
    "döcs": "'d_cs'",
    "a$b": "'a_b'",
    "x" * 256: "xxx",
    "": "'_'",
}


@pytest.mark.parametrize("name", NAMES)
async def test_r35_a_name_that_a_server_refuses_is_refused(
    make_store: MakeStore, name: str
) -> None:
    """By the first call, before a text is embedded, with a sentence and a name that is right."""
    model = CountingEmbeddings()
    for first in (
        lambda store: store.aadd_texts(["x"]),
        lambda store: store.acount(),
        lambda store: store.asimilarity_search("x"),
        lambda store: store.aopen(),
    ):
        with pytest.raises(InvalidInputError, match="letters, digits and underscores") as refused:
            await first(make_store(model, collection_name=name))
        assert NAMES[name] in str(refused.value)
    assert not model.documents
    assert not model.queries


@pytest.mark.parametrize("name", ["_docs", "Docs_2024", "x" * 255])
async def test_r35_every_other_name_is_taken(
    make_store: MakeStore, client: MilvusClient, name: str
) -> None:
    """Up to the last character that a server takes."""
    store = make_store(collection_name=name)
    try:
        await store.aadd_texts(["x"], ids=["a"])
        assert await store.acount() == 1
    finally:
        client.drop_collection(name)


@ON_LITE
@pytest.mark.parametrize("arguments", [{}, {"drop_old": True}])
async def test_r35_a_collection_that_lite_has_stays_usable(
    make_store: MakeStore, client: MilvusClient, arguments: dict[str, Any]
) -> None:
    """Whatever its name is, and it can be dropped and made anew."""
    make_collection(client, "old-docs")
    client.insert("old-docs", [{"pk": "old", "text": "old", "vector": [1.0] * 8}])
    try:
        store = make_store(collection_name="old-docs", **arguments)
        there = [] if arguments else ["old"]
        assert [one.id for one in await store.asearch_by_metadata()] == there
        await store.aadd_texts(["new"], ids=["new"])
        assert await store.acount() == len(there) + 1
        await store.adrop()
        await store.aadd_texts(["newer"], ids=["newer"])
        assert await store.aget_pks("pk != ''") == ["newer"]
    finally:
        client.drop_collection("old-docs")
