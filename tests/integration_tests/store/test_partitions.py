"""Explicit partitions: what a store reads, and where it writes."""

from collections.abc import Callable

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError, ScopeError

MakeStore = Callable[..., MilvusStore]


async def test_a_store_of_one_partition_writes_and_reads_there(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A new collection gets the partition; others' entities are not read."""
    spring = make_store(partition_names=["spring"])
    await spring.aadd_texts(["one"], ids=["1"])
    autumn = make_store(partition_names=["autumn"])
    client.create_partition(spring.collection_name, "autumn")
    await autumn.aadd_texts(["two"], ids=["2"])
    assert [found.id for found in await spring.asimilarity_search("one")] == ["1"]
    assert [found.id for found in await autumn.asearch_by_metadata()] == ["2"]
    assert (await spring.acount(), await autumn.acount()) == (1, 1)


async def test_a_store_of_several_partitions_wants_to_be_told_where_to_write(
    make_store: MakeStore,
) -> None:
    """A write that the store could not read back is refused; in a scope none is named."""
    store = make_store(partition_names=["spring", "autumn"])
    await store.aadd_texts(["one"], ids=["1"], partition_name="spring")
    with pytest.raises(InvalidInputError, match="partition_name"):
        await store.aadd_texts(["two"], ids=["2"])
    with pytest.raises(ScopeError):
        await store.scoped(tenant="a").aadd_texts(["two"], ids=["2"], partition_name="spring")
    assert await store.acount(partition_names=["autumn"]) == 0
    assert await store.acount() == 1
