"""Documents in and out: many at once, paged, retrieved, indexed, ranked."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex
from langchain_milvus import BM25BuiltInFunction
from pymilvus import Function, FunctionType, RRFRanker

from milvus_tools import DeleteResult, MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import InvalidInputError, ScopeError, UnsupportedError
from milvus_tools.ranking import maximal_marginal_relevance
from milvus_tools.store.operations import search as search_module
from tests.helpers.support import DIM, ON_LITE, CountingEmbeddings, embeddings
from tests.helpers.threads import BOUND

MakeStore = Callable[..., MilvusStore]
MANY = 2_500  # more than one request of keys, and more than one batch of rows


async def test_more_than_a_request_holds_is_written_read_and_deleted(shared: MilvusStore) -> None:
    """Batches are cut and joined: ids, order and counts are as if there were none."""
    view = shared.scoped(test="many")
    ids = [f"many-{number:04}" for number in range(MANY)]
    vectors = [[float(number), 1.0] + [0.0] * (DIM - 2) for number in range(MANY)]
    written = await view.aadd_embeddings(
        (f"text {number}" for number in range(MANY)), vectors, ids=ids, batch_size=700
    )
    assert written == ids
    assert await view.acount() == MANY
    assert sorted(await view.aget_pks('test == "many"')) == ids
    found = await view.aget_by_ids(ids[::-1])
    assert [document.id for document in found] == ids[::-1]
    assert found[0].page_content == f"text {MANY - 1}"
    assert await view.adelete([*ids, "many-none"]) == DeleteResult(MANY, 1)
    assert await view.acount() == 0


async def test_texts_and_documents_are_taken_as_they_come(shared: MilvusStore) -> None:
    """Iterables, a lone text, Documents with and without ids; none of them is changed."""
    view = shared.scoped(test="as they come")
    lone, *made = [*await view.aadd_texts("alone"), *await view.aadd_texts(iter(["a", "b"]))]
    assert len({lone, *made}) == 3
    documents = [
        Document("one", id="come-1", metadata={"n": 1}),
        Document("two", metadata={"n": 2}),
        Document("three", id="come-3"),
    ]
    copies = [document.model_copy(deep=True) for document in documents]
    ids = await view.aadd_documents(documents, batch_size=2)
    assert documents == copies
    assert (ids[0], ids[2]) == ("come-1", "come-3")
    found = await view.aget_by_ids(ids)
    assert [document.page_content for document in found] == ["one", "two", "three"]
    again = await view.aadd_documents(documents, ids=["come-4", None, "come-1"])
    assert (again[0], again[2]) == ("come-4", "come-1")
    (kept,) = await view.aget_by_ids(["come-1"])
    assert (kept.page_content, kept.metadata) == ("three", {"test": "as they come"})
    assert await view.aadd_texts([]) == await view.aadd_documents([]) == []
    for texts, arguments in [
        (["a"], {"metadatas": [{}, {}]}),
        (["a", "b"], {"ids": ["x"]}),
        (["a"], {"ids": "x"}),
        ([b"a"], {}),
    ]:
        with pytest.raises(InvalidInputError):
            await view.aadd_texts(texts, **arguments)


async def test_metadata_searches_return_the_fields_asked_for(shared: MilvusStore) -> None:
    """`fields` chooses among the metadata keys, and the caller's list stays as it was."""
    view = shared.scoped(test="fields")
    await view.aadd_texts(["kite"], [{"n": 1, "of year": 2024}], ids=["fields-1"])
    whole = {"n": 1, "of year": 2024, "test": "fields"}
    for fields, metadata in [
        (None, whole),
        (["n"], {"n": 1}),
        (["of year", "n", "absent"], {"n": 1, "of year": 2024}),
        ([], {}),
    ]:
        asked = None if fields is None else list(fields)
        (found,) = await view.asearch_by_metadata("n == 1", fields=fields)
        assert (found.id, found.page_content, found.metadata) == ("fields-1", "kite", metadata)
        assert fields == asked
    with pytest.raises(InvalidInputError):
        await view.asearch_by_metadata(fields="n")


async def test_searches_page_by_offset(shared: MilvusStore) -> None:
    """Pages of a search follow each other, and end."""
    view = shared.scoped(test="pages")
    await view.aadd_texts([f"page {number}" for number in range(7)])
    whole = [document.id for document in await view.asimilarity_search("page", k=7)]
    pages = [await view.asimilarity_search("page", k=3, offset=start) for start in (0, 3, 6, 9)]
    assert [[document.id for document in page] for page in pages] == [
        whole[:3],
        whole[3:6],
        whole[6:],
        [],
    ]


@pytest.mark.parametrize(
    "fusing",
    [
        {"fetch_k": 9},
        {"ranker_type": "rrf"},
        {"ranker_params": {"k": 3}},
        {"reranker": RRFRanker(), "fetch_k": 9},
    ],
)
async def test_one_field_is_not_fused(shared: MilvusStore, fusing: dict[str, Any]) -> None:
    """Arguments of fusion are refused where they would do nothing; `fetch_k` belongs to MMR."""
    view, vector = shared.scoped(test="one field"), embeddings().embed_query("kite")
    await view.aadd_texts(["kite"], ids=["one field"])
    given = {name: value for name, value in fusing.items() if name != "fetch_k"}
    for search in [
        view.asimilarity_search("kite", **fusing),
        view.asimilarity_search_with_relevance_scores("kite", **fusing),
        view.asimilarity_search_by_vector(vector, **fusing),
        view.as_retriever(search_kwargs=fusing).ainvoke("kite"),
        *([view.amax_marginal_relevance_search("kite", **fusing)] if given else []),
    ]:
        with pytest.raises(InvalidInputError, match="several vector fields"):
            await search
    diverse = view.as_retriever(search_type="mmr", search_kwargs={"fetch_k": 9})
    assert len(await diverse.ainvoke("kite")) == 1


async def test_no_loop_waits_while_hits_are_picked(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maximal marginal relevance is computed beside the I/O loop, which all stores share."""
    view = shared.scoped(test="picking")
    await view.aadd_texts(["kite", "index", "falcon"], ids=["pick-1", "pick-2", "pick-3"])
    loops = (asyncio.get_running_loop(), portal()._loop)
    picks = []

    def watched(*args: Any) -> list[int]:
        for loop in loops:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(BOUND)
        picks.append(maximal_marginal_relevance(*args))
        return picks[-1]

    monkeypatch.setattr(search_module, "maximal_marginal_relevance", watched)
    monkeypatch.setattr(search_module, "_SHORT", 0)  # as if these three were many
    found = await view.amax_marginal_relevance_search("kite", k=2, fetch_k=3)
    assert [document.id for document in found][:1] == ["pick-1"]
    assert [len(indices) for indices in picks] == [2]


async def test_no_call_picks_from_too_many(make_store: MakeStore) -> None:
    """MMR that would take a core more than a second is refused before it costs anything."""
    model = CountingEmbeddings(dim=1_536)
    store = make_store(model)
    await store.aadd_texts(["kite"])
    for k, fetch_k in ((4, 16_384), (1_000, 1_000)):
        with pytest.raises(InvalidInputError, match=r"fetch_k can be at most \d+ for k="):
            await store.amax_marginal_relevance_search("kite", k=k, fetch_k=fetch_k)
    with pytest.raises(InvalidInputError, match="fetch_k"):
        await store.amax_marginal_relevance_search("kite", fetch_k=16_380, offset=5)
    assert model.queries == []
    assert len(await store.amax_marginal_relevance_search("kite", k=120, fetch_k=2_000)) == 1


KINDS: dict[str, dict[str, Any]] = {
    "similarity": {"k": 3},
    "mmr": {"k": 3, "fetch_k": 5, "lambda_mult": 0.2},
    "similarity_score_threshold": {"k": 5, "score_threshold": 0.6},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_retrievers_find_what_the_searches_find(shared: MilvusStore, kind: str) -> None:
    """Each search type retrieves what its method finds, both ways, with `k` at the call."""
    view = shared.scoped(test="retrieved")
    ids = [f"retrieved-{number}" for number in range(8)]
    await view.aadd_texts([f"text {id_}" for id_ in ids], [{"n": n} for n in range(8)], ids=ids)
    arguments = {**KINDS[kind], "expr": "n < 7"}
    retriever = view.as_retriever(search_type=kind, search_kwargs=arguments, name="kites")
    assert retriever.get_name() == "kites"
    found = await view.asearch("text", kind, **arguments)
    assert 0 < len(found) < 7
    if kind == "similarity_score_threshold":
        relevant = await view.asimilarity_search_with_relevance_scores("text", **arguments)
        assert found == [document for document, score in relevant if score >= 0.6]
    else:
        method = {
            "mmr": view.amax_marginal_relevance_search,
            "similarity": view.asimilarity_search,
        }
        assert found == await method[kind]("text", **arguments)
    assert await retriever.ainvoke("text") == found
    assert await asyncio.to_thread(retriever.invoke, "text") == found
    assert await asyncio.to_thread(view.search, "text", kind, **arguments) == found
    assert await retriever.ainvoke("text", k=1) == found[:1]
    assert await retriever.ainvoke("text", expr="n == 7") == []


async def test_a_relevance_beyond_its_bounds_is_warned_of(make_store: MakeStore) -> None:
    """Vectors that are not of length 1 have no relevance of 0 to 1 by their inner product."""
    store = make_store(index_params={"index_type": "FLAT", "metric_type": "IP", "params": {}})
    await store.aadd_texts(["kite"], ids=["1"])
    with pytest.warns(UserWarning, match="length 1"):
        ((found, score),) = await store.asimilarity_search_with_relevance_scores("kite")
    assert found.id == "1"
    assert score > 1


@pytest.mark.parametrize("threshold", ["0.5", True, float("nan"), [0.5]])
async def test_a_threshold_is_a_number(shared: MilvusStore, threshold: Any) -> None:
    """NaN would let nothing through, and look like an empty collection."""
    with pytest.raises(InvalidInputError, match="score_threshold"):
        await shared.asimilarity_search_with_relevance_scores("x", score_threshold=threshold)


async def test_a_search_for_relevance_is_one_operation(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it has one deadline, and no collection made in between has another metric."""
    view = shared.scoped(test="relevance")
    await view.aadd_texts(["kite"], ids=["relevance"])
    run, timeouts = view._lifecycle.run, []

    async def counted(work: Any, operation: Any, seconds: float) -> Any:
        timeouts.append(seconds)
        return await run(work, operation, seconds)

    monkeypatch.setattr(view._lifecycle, "run", counted)
    ((found, score),) = await view.asimilarity_search_with_relevance_scores("kite", timeout=20)
    assert (found.id, score) == ("relevance", pytest.approx(1, abs=1e-5))
    assert timeouts == [20]


@ON_LITE
async def test_a_metric_without_relevance_costs_nothing(make_store: MakeStore) -> None:
    """A fused search is refused before the model is asked to embed the query."""
    model = CountingEmbeddings()
    store = make_store(
        model,
        vector_field=["vector", "words"],
        builtin_function=BM25BuiltInFunction(output_field_names="words"),
    )
    await store.aadd_texts(["kite"])
    with pytest.raises(UnsupportedError):
        await store.asimilarity_search_with_relevance_scores("kite")
    assert model.queries == []


async def test_an_id_that_two_scopes_want_goes_to_one(shared: MilvusStore) -> None:
    """Of writers that claim one new id at once all of one scope succeed, and none of the other."""
    scopes = [shared.scoped(test="race", tenant=tenant) for tenant in "ab"]
    answers = await asyncio.gather(
        *(scopes[number % 2].aadd_texts([f"{number}"], ids=["race-1"]) for number in range(8)),
        return_exceptions=True,
    )
    refused = [isinstance(answer, ScopeError) for answer in answers]
    assert {tuple(refused[::2]), tuple(refused[1::2])} == {(True,) * 4, (False,) * 4}
    counts = [await scope.acount() for scope in scopes]
    assert sorted(counts) == [0, 1]


@pytest.mark.parametrize("cleanup", ["full"])
async def test_langchain_s_index_works_within_a_view(shared: MilvusStore, cleanup: str) -> None:
    """Two tenants index one source under the same keys; each one's clean-up is its own."""
    views = [
        shared.scoped(test=f"index {cleanup}", tenant=tenant, scoped_ids=True) for tenant in "ab"
    ]
    records = [InMemoryRecordManager(tenant) for tenant in "ab"]
    arguments: dict[str, Any] = {
        "cleanup": cleanup,
        "source_id_key": "source",
        "key_encoder": "sha256",
    }
    texts = [f"{cleanup} {number}" for number in range(3)]
    documents = [Document(text, metadata={"source": "s"}) for text in texts]
    for record, view in zip(records, views, strict=True):
        record.create_schema()
        assert (await aindex(documents, record, view, **arguments))["num_added"] == 3
    changed = [*documents[:2], Document(f"{cleanup} new", metadata={"source": "s"})]
    told = await aindex(changed, records[0], views[0], **arguments)
    assert (told["num_added"], told["num_skipped"], told["num_deleted"]) == (1, 2, 1)
    forced = await aindex(changed, records[0], views[0], force_update=True, **arguments)
    assert forced["num_updated"] == 3
    contents = [
        {document.page_content for document in await view.asearch_by_metadata()} for view in views
    ]
    assert contents == [{document.page_content for document in changed}, set(texts)]


@ON_LITE
async def test_each_field_of_a_fused_search_has_its_parameters(make_store: MakeStore) -> None:
    """Index and search parameters go by field, a scope holds in all of them, and pages follow."""
    store = make_store(
        [embeddings(), embeddings(4)],
        vector_field=["large", "small", "words"],
        builtin_function=BM25BuiltInFunction(output_field_names="words"),
        index_params=[
            {"index_type": "FLAT", "metric_type": "L2", "params": {}},
            {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 8, "efConstruction": 32}},
            {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}},
        ],
        search_params=[{"params": {}}, {"params": {"ef": 32}}, {"params": {}}],
    )
    assert store.vector_fields == ["large", "small", "words"]
    views = [store.scoped(tenant=tenant) for tenant in "ab"]
    for view in views:
        name = view.scope["tenant"]
        await view.aadd_texts([f"kite {number} of {name}" for number in range(30)])
    found = await views[0].asimilarity_search_with_score("kite 3 of b", k=30, fetch_k=30)
    assert {document.metadata["tenant"] for document, _ in found} == {"a"}
    assert len({document.id for document, _ in found}) == 30
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    pages = [
        await views[0].asimilarity_search("kite 3 of b", k=10, fetch_k=30, offset=start)
        for start in (0, 10, 20)
    ]
    assert [document.id for page in pages for document in page] == [
        document.id for document, _ in found
    ]
    far = await views[0].asimilarity_search("kite 3 of b", k=5, offset=25)  # without fetch_k, too
    assert len({document.id for document in far}) == 5
    params = [{"params": {}}, {"params": {"ef": 64}}, {"params": {}}]
    retriever = store.as_retriever(search_kwargs={"k": 2, "param": params})
    assert await retriever.ainvoke("kite 3 of b") == await asyncio.to_thread(
        store.similarity_search, "kite 3 of b", 2
    )
    weighted = Function(
        name="weighted",
        input_field_names=[],
        function_type=FunctionType.RERANK,
        params={"reranker": "weighted", "weights": [0.0, 0.0, 1.0]},
    )
    (best, *_) = await store.asimilarity_search("kite 3 of b", k=3, reranker=weighted)
    assert best.page_content == "kite 3 of b"
    for wrong in ({"param": {"params": {}}}, {"ranker_type": "best"}, {"reranker": "rrf"}):
        with pytest.raises(InvalidInputError):
            await store.asimilarity_search("kite", **wrong)
