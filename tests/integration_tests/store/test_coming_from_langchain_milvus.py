"""Collections, arguments and retrievers that developers have who come from langchain-milvus."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_milvus.function import BM25BuiltInFunction
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError, MilvusError, UnsupportedError
from tests.helpers.support import DIM, ON_LITE, ON_SERVER, embeddings, texts

MakeStore = Callable[..., MilvusStore]


def quick_setup(client: MilvusClient, name: str) -> None:
    """Make a collection as pymilvus's quick start does, with two rows."""
    client.create_collection(name, dimension=DIM, consistency_level="Strong")
    model = embeddings()
    rows = [
        {"id": number, "vector": model.embed_query(text), "text": text, "subject": "birds"}
        for number, text in enumerate(["kite", "owl"])
    ]
    client.insert(name, rows)


async def test_r29_a_collection_of_the_quick_setup_is_read_and_written(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Its text is a dynamic key: read, filtered, written, replaced and deleted there."""
    store = make_store(consistency_level="Strong")
    quick_setup(client, store.collection_name)
    (found,) = await store.asimilarity_search("kite", k=1)
    assert found == Document(id="0", page_content="kite", metadata={"subject": "birds"})
    assert texts(await store.asearch_by_metadata("text == 'owl'")) == ["owl"]
    await store.aadd_texts(["crow", "eagle"], [{"subject": "x"}, {}], ids=["1", "7"])
    (replaced, new) = await store.aget_by_ids(["1", "7"])
    assert (replaced.page_content, replaced.metadata) == ("crow", {"subject": "x"})
    assert new.page_content == "eagle"
    assert {row["text"] for row in client.query(store.collection_name, "id >= 0")} == {
        "kite",
        "crow",
        "eagle",
    }
    assert (await store.adelete(["0"])).count == 1
    with pytest.raises(InvalidInputError, match="reserved"):
        await store.aadd_texts(["x"], [{"text": "y"}], ids=["9"])


async def test_r29_a_row_without_a_text_is_told(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A key of another name is not read as an empty text."""
    store = make_store(text_field="body", consistency_level="Strong")
    quick_setup(client, store.collection_name)
    with pytest.raises(MilvusError, match="no text as 'body'"):
        await store.asimilarity_search("kite")
    client.insert(store.collection_name, {"id": 5, "vector": [0.1] * DIM, "body": 5})
    with pytest.raises(MilvusError, match="no text as 'body'"):
        await store.aget_by_ids(["5"])


@ON_LITE
async def test_r29_full_text_search_takes_an_automatic_index(make_store: MakeStore) -> None:
    """Milvus Lite has one index for it, which `AUTOINDEX` means there."""
    indexes = [
        {"index_type": "FLAT", "metric_type": "COSINE"},
        {"index_type": "AUTOINDEX", "metric_type": "BM25"},
    ]
    store = make_store(
        builtin_function=BM25BuiltInFunction(output_field_names="sparse"),
        vector_field=["dense", "sparse"],
        index_params=indexes,
    )
    await store.aadd_texts(["the red kite", "the barn owl"], ids=["1", "2"])
    found = await store.asimilarity_search("owl", k=1, search_mode="sparse")
    assert texts(found) == ["the barn owl"]
    with pytest.raises(UnsupportedError, match="analyzer_name"):
        await store.asimilarity_search(
            "owl", search_mode="sparse", param={"params": {"analyzer_name": "english"}}
        )


async def test_r29_the_metric_of_search_parameters_makes_the_index(make_store: MakeStore) -> None:
    """Without `index_params`, a new collection gets the metric that its searches name."""
    store = make_store(search_params={"metric_type": "L2"})
    await store.aadd_texts(["kite", "owl"], ids=["1", "2"])
    assert isinstance(store.index_params, dict)
    assert store.index_params["metric_type"] == "L2"
    ((document, distance),) = await store.asimilarity_search_with_score("kite", k=1)
    assert (document.id, distance) == ("1", pytest.approx(0, abs=1e-5))


async def test_r29_search_parameters_need_no_params_around_them(make_store: MakeStore) -> None:
    """`{"radius": …}` is held as `{"params": {"radius": …}}` is."""
    store = make_store()
    await store.aadd_texts(["kite", "owl", "crow"], ids=["1", "2", "3"])
    for param in ({"radius": 0.99}, {"params": {"radius": 0.99}}):
        found = await store.asimilarity_search("kite", param=param)
        assert [document.id for document in found] == ["1"]
    assert len(await store.asimilarity_search("kite", param={"nprobe": 10})) == 3
    for name in ("offset", "limit", "group_by_field"):
        with pytest.raises(InvalidInputError, match="pass it as an argument"):
            await store.asimilarity_search("kite", param={name: 1})


async def test_r29_a_search_returns_the_metadata_that_it_names(make_store: MakeStore) -> None:
    """So does a retriever; `*` is all; what can't be returned is refused."""
    store = make_store()
    await store.aadd_texts(["kite"], [{"a": 1, "b": {"c": 2}, "d": 3}], ids=["1"])
    for names, expected in (
        (["a", "b"], {"a": 1, "b": {"c": 2}}),
        (("*",), {"a": 1, "b": {"c": 2}, "d": 3}),
        (["pk", "text"], {}),
        ([], {}),
    ):
        (found,) = await store.asimilarity_search("kite", output_fields=names)
        assert (found.id, found.page_content, found.metadata) == ("1", "kite", expected)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"output_fields": ["d"]})
    (found,) = await retriever.ainvoke("kite")
    assert found.metadata == {"d": 3}
    for wrong in (["vector"], [1], "a"):
        with pytest.raises(InvalidInputError, match="output_fields"):
            await store.asimilarity_search("kite", output_fields=wrong)


async def test_r29_metadata_in_a_field_is_named_as_well(make_store: MakeStore) -> None:
    """`output_fields` has the keys inside `metadata_field`."""
    store = make_store(metadata_field="metadata")
    await store.aadd_texts(["kite"], [{"a": 1, "b": 2}], ids=["1"])
    (found,) = await store.asimilarity_search("kite", output_fields=["b"])
    assert found.metadata == {"b": 2}


async def test_r33_scores_and_ids_stand_in_metadata(make_store: MakeStore) -> None:
    """Plain retrievers return Documents alone, so they have both there if they are to."""
    store = make_store()
    await store.aadd_texts(["kite", "owl"], ids=["1", "2"])
    keys = {"score_key": "score", "id_key": "pk"}
    ((document, distance), *_) = await store.asimilarity_search_with_score("kite", **keys)
    assert document.metadata == {"score": distance, "pk": "1"}
    assert distance == pytest.approx(1, abs=1e-5)
    for search_type in ("similarity", "mmr"):
        retriever = store.as_retriever(search_type=search_type, search_kwargs={"k": 1, **keys})
        (found,) = await retriever.ainvoke("kite")
        assert found.metadata == document.metadata
    relevant = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9, **keys}
    )
    (found,) = await relevant.ainvoke("kite")
    assert found.metadata["score"] == pytest.approx(1, abs=1e-5)
    (plain,) = await store.asimilarity_search("kite", k=1)
    assert plain.metadata == {}


async def test_r33_an_ensemble_keeps_two_documents_of_one_text(make_store: MakeStore) -> None:
    """It tells them apart by the id, and fuses those of one id."""
    store = make_store()
    await store.aadd_texts(["kite", "kite"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    retriever = store.as_retriever(search_kwargs={"k": 2, "id_key": "id"})
    ensemble = EnsembleRetriever(retrievers=[retriever, retriever], id_key="id")
    found = await ensemble.ainvoke("kite")
    assert sorted(document.id or "" for document in found) == ["1", "2"]


def hybrid(make_store: MakeStore, **arguments: Any) -> MilvusStore:
    """Return a store with two vector fields."""
    return make_store([embeddings(), embeddings()], vector_field=["a", "b"], **arguments)


@ON_LITE
async def test_r33_a_search_of_several_fields_has_a_threshold(make_store: MakeStore) -> None:
    """It is compared with the ranker's score, by a plain retriever too."""
    store = hybrid(make_store)
    await store.aadd_texts(["kite", "owl", "crow"], ids=["1", "2", "3"])
    found = await store.asimilarity_search_with_score("kite", score_threshold=2 / 61 - 1e-6)
    assert [(document.id, pytest.approx(score)) for document, score in found] == [("1", 2 / 61)]
    retriever = store.as_retriever(search_kwargs={"score_threshold": 2 / 62 - 1e-6})
    assert len(await retriever.ainvoke("kite")) == 2
    with pytest.raises(InvalidInputError, match="finite"):
        await store.asimilarity_search("kite", score_threshold=float("nan"))
    with pytest.raises(UnsupportedError, match="score_threshold"):
        await store.asimilarity_search_with_relevance_scores("kite")


async def test_r33_a_threshold_of_one_field_is_that_of_relevance(make_store: MakeStore) -> None:
    """Milvus's distances go up or down with the metric, so none is compared with a threshold."""
    store = make_store()
    await store.aadd_texts(["kite"], ids=["1"])
    with pytest.raises(InvalidInputError, match="similarity_score_threshold"):
        await store.asimilarity_search("kite", score_threshold=0.5)


@ON_LITE
@pytest.mark.parametrize("name", ["radius", "range_filter"])
@pytest.mark.parametrize("nested", [True, False])
async def test_r16_a_range_in_a_search_of_several_fields_is_refused(
    make_store: MakeStore, name: str, *, nested: bool
) -> None:
    """Milvus Lite would ignore it, whether a call gives it or the store."""
    range_ = {"params": {name: 0.99}} if nested else {name: 0.99}
    store = hybrid(make_store)
    await store.aadd_texts(["kite", "owl"], ids=["1", "2"])
    with pytest.raises(UnsupportedError, match="no range"):
        await store.asimilarity_search("kite", param=[{}, range_])
    store = hybrid(make_store, search_params=[range_, {}])
    with pytest.raises(UnsupportedError, match="no range"):
        await store.asimilarity_search("kite")
    assert len(await store.asimilarity_search("kite", param=[{}, {}])) == 2


async def test_r16_a_range_in_one_field_is_held(make_store: MakeStore) -> None:
    """By searches by text and by vector, by pages, by many at once and by MMR."""
    store = make_store()
    names = ["kite", "owl", "crow", "eagle"]
    await store.aadd_texts(names, ids=names)
    param = {"params": {"radius": 0.99}}
    assert texts(await store.asimilarity_search("owl", param=param)) == ["owl"]
    assert await store.asimilarity_search("owl", param=param, offset=1) == []
    vector = embeddings().embed_query("crow")
    assert texts(await store.asimilarity_search_by_vector(vector, param=param)) == ["crow"]
    assert texts(await store.amax_marginal_relevance_search("crow", param=param)) == ["crow"]
    scored = store.as_retriever(search_kwargs={"param": param})
    assert [texts(found) for found in await scored.abatch(names)] == [[name] for name in names]
    below = {"params": {"radius": -1.1, "range_filter": 0.99}}
    found = texts(await store.asimilarity_search("owl", param=below))
    assert sorted(found) == ["crow", "eagle", "kite"]


@ON_LITE
async def test_r18_a_null_text_is_empty(make_store: MakeStore, client: MilvusClient) -> None:
    """Every read that meets it returns a Document."""
    schema = MilvusClient.create_schema()
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=10)
    schema.add_field("text", DataType.VARCHAR, max_length=10, nullable=True)
    schema.add_field("n", DataType.INT64, nullable=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
    store = make_store()
    client.create_collection(store.collection_name, schema=schema, index_params=indexes)
    client.insert(store.collection_name, {"pk": "1", "vector": embeddings().embed_query("q")})
    nothing = Document(id="1", page_content="", metadata={})
    assert await store.asimilarity_search("q") == [nothing]
    assert await store.amax_marginal_relevance_search("q") == [nothing]
    assert await store.asearch_by_metadata("pk == '1'") == [nothing]
    assert await store.aget_by_ids(["1"]) == [nothing]
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.1}
    )
    assert await retriever.ainvoke("q") == [nothing]


OPTIONAL = [
    {"nullable": True},
    {"default_value": 0},
    {"kwargs": {"nullable": True}},
    {"kwargs": {"default_value": 7}},
]


@ON_SERVER
@pytest.mark.parametrize("optional", OPTIONAL)
async def test_r18_a_server_that_drops_a_rule_is_not_given_it(
    make_store: MakeStore, client: MilvusClient, optional: dict[str, Any]
) -> None:
    """Milvus 2.3 would make the collection without it, and nothing would say so."""
    store = make_store(metadata_schema={"n": {"dtype": DataType.INT64, **optional}})
    with pytest.raises(UnsupportedError, match=r"need Milvus 2\.5"):
        await store.aadd_texts(["kite"], [{"n": 1}], ids=["1"])
    assert not client.has_collection(store.collection_name)
    plain = {"nullable": False}
    store = make_store(metadata_schema={"n": {"dtype": DataType.INT64, **plain}})
    assert await store.aadd_texts(["kite"], [{"n": 1}], ids=["1"]) == ["1"]


@ON_LITE
@pytest.mark.parametrize("optional", OPTIONAL)
async def test_r18_milvus_lite_holds_such_a_rule(
    make_store: MakeStore, optional: dict[str, Any]
) -> None:
    """A Document without the key is written, and has the default or nothing."""
    store = make_store(metadata_schema={"n": {"dtype": DataType.INT64, **optional}})
    await store.aadd_texts(["kite"], ids=["1"])
    (found,) = await store.aget_by_ids(["1"])
    default = {**optional, **optional.get("kwargs", {})}.get("default_value")
    assert found.metadata == ({} if default is None else {"n": default})
