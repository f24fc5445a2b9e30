"""Opening a collection that others have loaded."""

from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from tests.helpers.support import ON_SERVER


@ON_SERVER
async def test_a_loaded_collection_keeps_its_replicas(
    shared: MilvusStore, make_store: Callable[..., MilvusStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers from 2.4.13 on would change them to what the request says, older ones refuse it."""
    await shared.aadd_texts(["there"], ids=["replicas"])
    asked: list[dict[str, Any]] = []
    load = MilvusClient.load_collection

    def noted(client: MilvusClient, name: str, **arguments: Any) -> None:
        asked.append(arguments)
        load(client, name, **arguments)

    monkeypatch.setattr(MilvusClient, "load_collection", noted)
    for more in ({}, {"replica_number": 1}):
        store = make_store(collection_name=shared.collection_name, **more)
        assert await store.aget_by_ids(["replicas"])
    there = {"replica_number": 1, "resource_groups": ["__default_resource_group"]}
    assert [one.items() >= there.items() for one in asked] == [True, True]
