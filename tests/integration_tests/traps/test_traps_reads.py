"""Reads: each trap of the clients below us (T05 ...) and what the store does instead."""

import asyncio
import math
from collections.abc import Callable

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import BM25BuiltInFunction
from langchain_milvus.utils.sparse import BaseSparseEmbedding
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import (
    CollectionNotFoundError,
    FilterError,
    InvalidInputError,
    MilvusError,
    StoreClosedError,
    UnavailableError,
    UnsupportedError,
)
from milvus_tools.filters.literals import equals, literal
from tests.helpers.milvus_server import free_ports
from tests.helpers.support import DIM, ON_LITE, ON_SERVER, embeddings, make_collection

MakeStore = Callable[..., MilvusStore]

HARD_VALUES = [
    "",
    " ",
    "o'brien",
    'say "hi"',
    "'''\"\"\"",
    "back\\slash",
    "\\",
    '\\"',
    "\\n",
    "line\nbreak",
    "tab\treturn\r",
    "nul\x00",
    "escape\x1b",
    "delete\x7f",
    "nbsp\xa0",
    "soft\xadhyphen",
    "zero\u200bwidth",
    "line\u2028separator",
    "bom\ufeff",
    "emoji 🦊",
    "é",  # one character
    "e\u0301",  # the same to the eye, in two
    "%_*?",
    "{{}} {0} $meta",
    'a" or t06 != "zzz',
    "true",
    "1",
]


class Compass(Embeddings):
    """Reads a text as degrees, and points there: a unit vector of two dimensions."""

    def embed_query(self, text: str) -> list[float]:
        """Point where the text says."""
        angle = math.radians(float(text))
        return [math.cos(angle), math.sin(angle)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Point where each text says."""
        return [self.embed_query(text) for text in texts]


DEGREES = ["0", "60", "180"]  # cosine 1, 0.5 and -1; squared distance 0, 1 and 4


def ids(documents: list[Document]) -> list[str | None]:
    """Return the ids of Documents, in their order."""
    return [document.id for document in documents]


async def test_t05_a_hostile_scope_value_shows_no_other_rows(shared: MilvusStore) -> None:
    """A value that closes its string is a value: it finds the rows that have it, and no others."""
    hostile = 'a" or t05 != "zzz'
    await shared.scoped(t05="a").aadd_texts(["theirs"], ids=["t05-a"])
    view = shared.scoped(t05=hostile)
    assert await view.asimilarity_search("theirs") == []
    assert await view.asearch_by_metadata() == []
    assert await view.acount() == 0
    await view.aadd_texts(["ours"], ids=["t05-hostile"])
    assert ids(await view.asimilarity_search("theirs")) == ["t05-hostile"]
    assert ids(await view.asearch_by_metadata()) == ["t05-hostile"]


@pytest.mark.parametrize(
    "name", ['t05_key != "zzz" or t05_key', 't05_key"] != "zzz" or $meta["t05_key', "t05 key"]
)
async def test_t05_a_hostile_field_name_shows_no_other_rows(
    shared: MilvusStore, name: str
) -> None:
    """A name that is an expression is a name: only rows that have this key match."""
    await shared.aadd_texts(["theirs"], [{"t05_key": "a"}], ids=["t05-key"])
    view = shared.scoped({name: "b"})
    assert await view.asimilarity_search("theirs") == []
    await view.aadd_texts(["ours"], ids=[f"t05 {name}"])
    assert ids(await view.asearch_by_metadata()) == [f"t05 {name}"]
    assert await shared.acount(equals(name, "a", dynamic=True)) == 0


async def test_t05_a_raw_expression_can_not_leave_the_scope(shared: MilvusStore) -> None:
    """Text that would close the scope's bracket is refused, and an `or` stays inside it."""
    await shared.scoped(t05_raw="b").aadd_texts(["theirs"], ids=["t05-raw"])
    view = shared.scoped(t05_raw="a")
    for raw in (
        'n == 1) or (t05_raw == "b"',
        'n == 1) or t05_raw == "b"',
        't05_raw == "b" or (n == 1',
        't05_raw == "b" or (n in [1)]',
        'n == "1',
    ):
        with pytest.raises(FilterError):
            await view.asearch_by_metadata(raw)
    assert await view.asearch_by_metadata('n == 1 or t05_raw == "b"') == []
    assert await view.asimilarity_search("theirs", expr='n == 1 or t05_raw == "b"') == []


async def test_t06_every_string_finds_itself_and_nothing_else(shared: MilvusStore) -> None:
    """Values that break other literal writers are written, compared and given back exactly."""
    keys = [f"t06-{number}" for number in range(len(HARD_VALUES))]
    await shared.aadd_texts(keys, [{"t06": value} for value in HARD_VALUES], ids=keys)
    found = await asyncio.gather(
        *(shared.asearch_by_metadata(f"t06 == {literal(value)}") for value in HARD_VALUES)
    )
    assert [ids(documents) for documents in found] == [[key] for key in keys]
    assert [document.metadata["t06"] for (document,) in found] == HARD_VALUES
    listed = ", ".join(map(literal, HARD_VALUES))
    assert await shared.acount(f"t06 in [{listed}]") == len(HARD_VALUES)


async def test_t07_a_search_by_metadata_that_failed_is_not_an_empty_list(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """Bad filters, a dropped collection and a closed store raise; `[]` means no rows."""
    store = make_store()
    assert await store.asearch_by_metadata("n == 1") == []
    await store.aadd_texts(["one"], [{"n": 1}], ids=["1"])
    assert await store.asearch_by_metadata("n == 2") == []
    assert ids(await store.asearch_by_metadata("n == 1")) == ["1"]
    for expression in ("n ==", "n === 1", "pk == 1", "no_such_function(n)"):
        with pytest.raises(MilvusError):
            await store.asearch_by_metadata(expression)
    client.drop_collection(store.collection_name)
    with pytest.raises(CollectionNotFoundError):
        await store.asearch_by_metadata("n == 1")
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await store.asearch_by_metadata("n == 1")


async def test_t07_a_server_that_is_down_is_not_an_empty_list(make_store: MakeStore) -> None:
    """A search by metadata raises if no server listens."""
    (port,) = free_ports(1)
    store = make_store(connection_args={"uri": f"http://127.0.0.1:{port}"})
    with pytest.raises(UnavailableError):
        await store.asearch_by_metadata("n == 1")


async def test_t08_a_search_by_metadata_returns_the_metadata_alone(shared: MilvusStore) -> None:
    """All keys come back, no text, id or vector among them; the caller's list stays as it is."""
    written = {"t08": True, "tags": ["a", "b"], "deep": {"n": None}, "ratio": 0.5}
    await shared.aadd_texts(["one"], [written], ids=["t08"])
    (found,) = await shared.asearch_by_metadata("t08 == true")
    assert (found.id, found.page_content, found.metadata) == ("t08", "one", written)
    fields = ["tags", "not_there"]
    (found,) = await shared.asearch_by_metadata("t08 == true", fields=fields)
    assert (found.id, found.page_content, found.metadata) == ("t08", "one", {"tags": ["a", "b"]})
    assert fields == ["tags", "not_there"]


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
async def test_t09_relevance_is_highest_for_the_best_whatever_the_metric(
    make_store: MakeStore, client: MilvusClient, collection_name: str, metric: str
) -> None:
    """The metric is read from the index, so the exact match scores 1 and a threshold keeps it."""
    make_collection(client, collection_name, metric=metric, dim=2)
    store = make_store(Compass())
    await store.aadd_texts(DEGREES, ids=DEGREES)
    scored = await store.asimilarity_search_with_relevance_scores("0")
    assert [document.id for document, _ in scored] == DEGREES
    assert [score for _, score in scored] == pytest.approx([1, 0.75, 0], abs=1e-6)
    for threshold, kept in ((0.9, 1), (0.7, 2), (0, 3)):
        found = await store.asimilarity_search_with_relevance_scores(
            "0", score_threshold=threshold
        )
        assert [document.id for document, _ in found] == DEGREES[:kept]


async def test_t21_a_retrievers_own_filter_always_holds(shared: MilvusStore) -> None:
    """A caller's `expr` narrows the retriever's, and an unsafe one is refused."""
    keys = ["t21-a1", "t21-a2", "t21-b1"]
    metadatas = [{"t21": key[4], "n": int(key[5])} for key in keys]
    await shared.aadd_texts(keys, metadatas, ids=keys)
    retriever = shared.as_retriever(search_kwargs={"expr": 't21 == "a"', "k": 10})
    assert set(ids(await retriever.ainvoke("one"))) == {"t21-a1", "t21-a2"}
    assert await retriever.ainvoke("one", expr='t21 == "b"') == []
    narrowed = await retriever.ainvoke("one", expr='t21 == "b" or n == 1')
    assert ids(narrowed) == ["t21-a1"]
    assert set(ids(await retriever.ainvoke("one", expr=None))) == {"t21-a1", "t21-a2"}
    with pytest.raises(FilterError):
        await retriever.ainvoke("one", expr='n == 1) or (t21 == "b"')


@ON_LITE
async def test_t22_a_hybrid_search_returns_as_many_as_asked_again_and_again(
    make_store: MakeStore,
) -> None:
    """Twenty asked are twenty found, and a weighted search works the third time, too."""
    store = make_store([embeddings(), embeddings(16)], vector_field=["one", "two"])
    texts = [f"text {number}" for number in range(25)]
    await store.aadd_texts(texts, ids=texts)
    weighted = {"ranker_type": "weighted", "ranker_params": {"weights": [0.4, 0.6]}}
    for _ in range(3):
        found = await store.asimilarity_search("text 7", k=20, **weighted)
        assert len(set(ids(found))) == 20
        assert found[0].id == "text 7"
    assert len(await store.asimilarity_search("text 7", k=25)) == 25
    assert store.vector_fields == ["one", "two"]


@ON_SERVER
async def test_t22_an_old_server_says_that_it_has_no_hybrid_search(make_store: MakeStore) -> None:
    """Several vector fields on Milvus 2.3.5 are refused before anything is made."""
    store = make_store([embeddings(), embeddings(16)], vector_field=["one", "two"])
    with pytest.raises(UnsupportedError, match="Several vector fields"):
        await store.aadd_texts(["one"], ids=["1"])
    assert not store.client.has_collection(store.collection_name)


@ON_LITE
async def test_t23_full_text_search_works_without_index_parameters(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """BM25 alone, best first, on an index that Milvus Lite can build; it has no relevance."""
    store = make_store([], builtin_function=BM25BuiltInFunction(output_field_names="words"))
    animals = ["red fox jumps", "red hen", "blue whale swims"]
    await store.aadd_texts(animals, [{"n": 1}, {"n": 2}, {"n": 3}], ids=["fox", "hen", "whale"])
    assert ids(await store.asimilarity_search("a red fox", k=3)) == ["fox", "hen"]
    assert ids(await store.asimilarity_search("a red fox", expr="n != 1")) == ["hen"]
    index = client.describe_index(store.collection_name, "words")
    assert (index["index_type"], index["metric_type"]) == ("SPARSE_INVERTED_INDEX", "BM25")
    with pytest.raises(UnsupportedError, match="BM25"):
        await store.asimilarity_search_with_relevance_scores("a red fox")


@ON_LITE
async def test_t23_full_text_and_vectors_are_searched_together(make_store: MakeStore) -> None:
    """With an embedding beside BM25 a row that only one of them finds is found."""
    store = make_store(Compass(), builtin_function=BM25BuiltInFunction(output_field_names="words"))
    await store.aadd_texts(DEGREES, ids=DEGREES)
    assert store.vector_fields == ["vector", "words"]
    found = await store.asimilarity_search_with_score("0", k=3)
    assert [document.id for document, _ in found] == DEGREES
    assert [score for _, score in found] == pytest.approx([2 / 61, 1 / 62, 1 / 63])


class Words(BaseSparseEmbedding):
    """Counts words by their first letter."""

    def embed_query(self, query: str) -> dict[int, float]:
        """Return a weight per letter."""
        return {ord(word[0]): 1.0 for word in query.split()}

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the weights of each text."""
        return [self.embed_query(text) for text in texts]


@ON_LITE
async def test_t23_sparse_vectors_work_without_index_parameters(make_store: MakeStore) -> None:
    """A sparse embedding model gets an index that Milvus Lite can build."""
    store = make_store(Words())
    await store.aadd_texts(["alpha beta", "gamma delta"], ids=["1", "2"])
    ((found, score),) = await store.asimilarity_search_with_score("delta epsilon")
    assert (found.id, score) == ("2", 1.0)


@ON_SERVER
async def test_t23_an_old_server_says_that_it_has_no_full_text_search(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """BM25 and sparse vectors on Milvus 2.3.5 are refused before anything is made."""
    bm25 = BM25BuiltInFunction(output_field_names="words")
    for store, name in (
        (make_store([], builtin_function=bm25), "built-in functions"),
        (make_store(Words()), "Sparse vectors"),
    ):
        with pytest.raises(UnsupportedError, match=name):
            await store.aadd_texts(["one"], ids=["1"])
        assert not client.has_collection(store.collection_name)


async def test_t23_filter_templates_are_refused(shared: MilvusStore) -> None:
    """An argument that neither backend knows is an error; the filter is not left out."""
    await shared.aadd_texts(["one"], ids=["t23"])
    for name in ("expr_params", "filter_params", "filter"):
        with pytest.raises(InvalidInputError, match=name):
            await shared.asimilarity_search("one", expr="n == {n}", **{name: {"n": 1}})
        with pytest.raises(InvalidInputError, match=name):
            await shared.adelete(expr="n == {n}", **{name: {"n": 1}})


async def test_t24_a_new_collection_compares_by_cosine(
    shared: MilvusStore, client: MilvusClient
) -> None:
    """Our own collections have COSINE: nearest first, and its distance the highest."""
    vector = [1.0] + [0.0] * (DIM - 1)
    near, far = [0.5, 0.5] + [0.0] * (DIM - 2), [-1.0] + [0.0] * (DIM - 1)
    keys = ["t24-far", "t24-near", "t24-same"]
    await shared.aadd_embeddings(keys, [far, near, [10 * one for one in vector]], ids=keys)
    assert client.describe_index(shared.collection_name, "vector")["metric_type"] == "COSINE"
    found = await shared.asimilarity_search_with_score_by_vector(vector, expr='pk like "t24-%"')
    assert [document.id for document, _ in found] == ["t24-same", "t24-near", "t24-far"]
    assert [score for _, score in found] == pytest.approx([1, math.sqrt(0.5), -1], abs=1e-6)


@ON_LITE
async def test_t24_fused_searches_rank_by_place_and_not_by_distance(
    make_store: MakeStore,
) -> None:
    """An L2 field and a COSINE field count alike: the score is made of the two places."""
    metrics = [{"index_type": "FLAT", "metric_type": metric} for metric in ("L2", "COSINE")]
    store = make_store(
        [Compass(), Compass()], vector_field=["squared", "angle"], index_params=metrics
    )
    await store.aadd_texts(DEGREES, ids=DEGREES)
    found = await store.asimilarity_search_with_score("10")
    assert [document.id for document, _ in found] == DEGREES
    assert [score for _, score in found] == pytest.approx([2 / 61, 2 / 62, 2 / 63])


async def test_t25_metadata_keys_need_not_be_identifiers(store: MilvusStore) -> None:
    """Free-form keys come back from every read, and break none."""
    written = {"a b": 1, "c-d": "x", 'q"uote': [2], "ключ": None, "in": True, "9": 9}
    await store.aadd_texts(["one"], [written], ids=["1"])
    await store.aadd_texts(["two"], [{"plain": 2}], ids=["2"])
    assert {one.id: one.metadata for one in await store.asimilarity_search("one")} == {
        "1": written,
        "2": {"plain": 2},
    }
    (found,) = await store.amax_marginal_relevance_search("one", k=1)
    assert found.metadata == written
    (found,) = await store.asearch_by_metadata('pk == "1"', fields=["a b", "in"])
    assert found.metadata == {"a b": 1, "in": True}
    (found,) = await store.aget_by_ids(["1"])
    assert found.metadata == written
    assert await store.aget_pks(equals("a b", 1, dynamic=True)) == ["1"]


async def test_t28_wrong_arguments_raise_without_assert(shared: MilvusStore) -> None:
    """Arguments are checked by errors of ours, which `python -O` leaves in."""
    await shared.aadd_texts(["one"], ids=["t28"])
    calls = [
        shared.adelete(),
        shared.adelete(ids="t28"),
        shared.adelete(ids=[None]),
        shared.aget_by_ids("t28"),
        shared.aget_pks(""),
        shared.aadd_texts(["one"], ids=["1", "2"]),
        shared.aadd_texts(["one"], [{}, {}]),
        shared.aadd_texts([1]),
        shared.aadd_texts(["one"], [{"n": math.nan}]),
        shared.aadd_texts(["one"], [{"n": object()}]),
        shared.aadd_embeddings(["one"], []),
        shared.aadd_embeddings(["one"], [[1.0]]),
        shared.aupsert(documents=["one"]),
        shared.asimilarity_search(["one"]),
        shared.asimilarity_search("one", expr=1),
        shared.asimilarity_search("one", param={"metric_type": "L2"}),
        shared.asimilarity_search("one", no_such_argument=1),
        shared.asimilarity_search("one", timeout=0),
        shared.asimilarity_search_by_vector([1.0]),
        shared.asearch_by_metadata(fields="n"),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results if not isinstance(result, InvalidInputError)] == []


async def test_t30_limits_are_the_same_on_every_backend(shared: MilvusStore) -> None:
    """Limits out of bounds are refused before they are sent, and those on the edge are not."""
    await shared.aadd_texts(["one"], ids=["t30"])
    for wrong in (0, -1, 16_385, 1.0, True, "4", None):
        for call in (
            shared.asimilarity_search("one", k=wrong),
            shared.amax_marginal_relevance_search("one", k=wrong),
            shared.amax_marginal_relevance_search("one", fetch_k=wrong),
            shared.asearch_by_metadata(limit=wrong),
            shared.aadd_texts(["one"], batch_size=wrong),
        ):
            with pytest.raises(InvalidInputError, match="must be an integer from 1 to 16384"):
                await call
    for extra in ({"offset": 16_381}, {"offset": -1}):
        with pytest.raises(InvalidInputError, match="offset"):
            await shared.asimilarity_search("one", k=4, **extra)
        with pytest.raises(InvalidInputError, match="offset"):
            await shared.asearch_by_metadata(limit=4, **extra)
    edge = {"expr": 'pk == "t30"', "consistency_level": "Strong"}
    assert ids(await shared.asimilarity_search("one", k=16_384, **edge)) == ["t30"]
    assert await shared.asearch_by_metadata(limit=1, offset=16_383, **edge) == []
