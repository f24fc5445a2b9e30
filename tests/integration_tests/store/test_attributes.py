"""The attributes that `langchain_milvus.Milvus` has, and what a subclass overrides."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_milvus.function import BM25BuiltInFunction
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError, ScopeError
from tests.helpers.support import DIM, ON_LITE, embeddings, make_collection

MakeStore = Callable[..., MilvusStore]
L2 = {"index_type": "FLAT", "metric_type": "L2"}


def test_r27_a_store_tells_what_its_collection_is(make_store: MakeStore) -> None:
    """Schema, indexes, fields and parameters are Milvus's own answers."""
    store = make_store(index_params=L2, enable_dynamic_field=False, consistency_level="Strong")
    store.add_texts(["kite", "owl"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    collection = store.col
    assert collection is not None
    assert collection.name == store.collection_name
    names = [field.name for field in collection.schema.fields]
    assert sorted(names) == ["n", "pk", "text", "vector"]
    assert store.fields == names
    types = {field.name: field.dtype for field in collection.schema.fields}
    assert types["n"] == DataType.INT64
    assert collection.schema.primary_field.name == store._primary_field == "pk"
    (index,) = collection.indexes
    assert (index.field_name, index.params) == ("vector", L2)
    assert store.index_params == L2
    assert store.search_params == {"metric_type": "L2", "params": {}}
    assert collection.num_entities == 2
    store.delete(["1"])
    assert collection.num_entities == 1  # counted again
    assert not store.enable_dynamic_field
    assert store._vector_field == "vector"
    assert store._text_field == "text"


def test_r27_a_store_tells_what_it_was_given(make_store: MakeStore) -> None:
    """Without a collection, the attributes are what a new one is to be; none is made."""
    model, function = embeddings(), BM25BuiltInFunction(output_field_names="sparse")
    store = make_store(
        model,
        builtin_function=function,
        vector_field=["vector", "sparse"],
        index_params=[L2, {"index_type": "AUTOINDEX", "metric_type": "BM25"}],
        partition_key_field="tenant",
        timeout=7,
        collection_description="birds",
        num_shards=1,
    )
    assert (store.col, store.fields) == (None, [])
    assert store.index_params == [L2, {"index_type": "AUTOINDEX", "metric_type": "BM25"}]
    assert store.search_params is None
    assert (store.embedding_func, store.builtin_func) == (model, function)
    assert store._vector_field == store.vector_fields == ["vector", "sparse"]
    assert (store._partition_key_field, store._metadata_field) == ("tenant", None)
    assert (store.timeout, store.consistency_level) == (7, "Session")
    assert (store.collection_description, store.num_shards) == ("birds", 1)
    assert store.num_partitions is store.partition_names is store.collection_properties is None
    assert (store.replica_number, store.metadata_schema, store.vector_schema) == (1, {}, None)
    assert store.enable_dynamic_field
    assert store.client.has_collection(store.collection_name) is False
    assert store.alias == store.client._using


async def test_r27_a_collection_that_others_made_counts_before_the_arguments(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Its primary key, its vector field and its metric are told, from inside a loop too."""
    store = make_store(primary_field="id")
    make_collection(client, store.collection_name, metric="IP", dynamic=False)
    assert store._primary_field == "pk"
    assert not store.enable_dynamic_field
    assert store.index_params == {"index_type": "FLAT", "metric_type": "IP"}
    await store.adrop()
    assert store.col is None


def test_r27_a_view_counts_its_own_entities(make_store: MakeStore) -> None:
    """What is no other tenant's secret is told; a client is not given."""
    store = make_store()
    acme = store.scoped(tenant="acme")
    acme.add_texts(["kite"], ids=["1"])
    store.scoped(tenant="other").add_texts(["owl", "crow"], ids=["2", "3"])
    assert acme.col is not None
    assert acme.col.num_entities == 1
    assert acme.fields == store.fields
    with pytest.raises(ScopeError):
        _ = make_store(scope={"tenant": "acme"}).alias


class Doubting(MilvusStore):
    """Half as sure as its distances."""

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda distance: distance / 2


async def test_r19_a_subclass_chooses_how_distances_become_scores(
    uri: str, collection_name: str
) -> None:
    """Its scores are returned, compared with the threshold, and hold in its views."""
    arguments: dict[str, Any] = {"collection_name": collection_name}
    async with Doubting(embeddings(), connection_args={"uri": uri}, **arguments) as store:
        view = store.scoped(tenant="acme")
        await view.aadd_texts(["kite", "owl"], ids=["1", "2"])
        for one in (store, view):
            found = await one.asimilarity_search_with_relevance_scores("kite", k=1)
            assert [(document.id, pytest.approx(score)) for document, score in found] == [
                ("1", 0.5)
            ]
        retriever = store.as_retriever(
            search_type="similarity_score_threshold",
            search_kwargs={"score_threshold": 0.49, "score_key": "relevance"},
        )
        (document,) = await retriever.ainvoke("kite")
        assert document.metadata["relevance"] == pytest.approx(0.5)


async def test_r19_a_call_chooses_how_distances_become_scores(make_store: MakeStore) -> None:
    """The function is told the distance; what is no function is refused."""
    store = make_store(index_params=L2)
    await store.aadd_texts(["kite"], ids=["1"])
    ((_, score),) = await store.asimilarity_search_with_relevance_scores(
        "kite", relevance_score_fn=lambda distance: 1 / (4 + distance)
    )
    assert score == pytest.approx(0.25, abs=1e-5)
    with pytest.raises(InvalidInputError, match="relevance_score_fn"):
        await store.asimilarity_search_with_relevance_scores("kite", relevance_score_fn=0.5)


def test_r19_the_store_s_own_function_is_that_of_its_metric(make_store: MakeStore) -> None:
    """It can be asked for, as of langchain-milvus's class."""
    store = make_store(index_params=L2)
    store.add_texts(["kite"], ids=["1"])
    assert store._select_relevance_score_fn()(2.0) == 0.5


@ON_LITE
def test_r27_several_fields_have_lists_of_parameters(make_store: MakeStore) -> None:
    """They are in the order of the fields."""
    cosine = {"index_type": "FLAT", "metric_type": "COSINE"}
    names = ["first", "second"]
    store = make_store([embeddings(), embeddings()], vector_field=names, index_params=[L2, cosine])
    store.add_texts(["kite"], ids=["1"])
    assert store.index_params == [L2, cosine]
    assert isinstance(store.search_params, list)
    assert [one["metric_type"] for one in store.search_params] == ["L2", "COSINE"]
    assert store.col is not None
    assert {index.field_name for index in store.col.indexes} == set(names)
    dimensions = {field.params.get("dim") for field in store.col.schema.fields}
    assert DIM in dimensions
