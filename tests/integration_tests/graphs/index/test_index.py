"""The graph that writes Documents: what its report says, and what the collection then holds."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from pymilvus import DataType, MilvusClient

from graphs.index import MAX_DOCUMENTS, IndexingError, build_index
from graphs.index.graph import MAX_REFUSED
from milvus_tools import MilvusStore
from milvus_tools.ingest import content_id
from tests.helpers.support import ON_LITE, CountingEmbeddings, embeddings, make_collection

OWL = {"id": "owl", "page_content": "Owls hunt at night.", "metadata": {"year": 2003}}
KITE = {"page_content": "Kites glide."}
KITE_ID = content_id(Document("Kites glide."))


async def index(store: Any, *documents: Any) -> dict[str, Any]:
    """Run the graph, and return its report."""
    return dict(await build_index(store).ainvoke({"documents": list(documents)}))


def report(written: int, unchanged: int, *ids: str | None, failed: Any = ()) -> dict[str, Any]:
    """Return a report."""
    return {"written": written, "unchanged": unchanged, "failed": [*failed], "ids": [*ids]}


def failures(told: dict[str, Any]) -> dict[int, str]:
    """Return why Documents failed, by their places."""
    return {one["number"]: one["error"] for one in told["failed"]}


async def texts(store: Any, *ids: str) -> list[str]:
    """Return the texts of the ids that are there."""
    return [one.page_content for one in await store.aget_by_ids(list(ids))]


async def test_new_documents_are_written_and_the_same_ones_are_unchanged(
    make_store: Callable[..., MilvusStore],
) -> None:
    """A second run embeds nothing; a changed text is written; an id is made of the content."""
    model = CountingEmbeddings()
    store = make_store(model)
    assert await index(store, OWL, KITE) == report(2, 0, "owl", KITE_ID)
    model.documents.clear()
    assert await index(store, OWL, KITE) == report(0, 2, "owl", KITE_ID)
    assert model.documents == []
    changed = {**OWL, "page_content": "Owls sleep by day."}
    assert await index(store, KITE, changed) == report(1, 1, KITE_ID, "owl")
    assert model.documents == [["Owls sleep by day."]]
    assert await texts(store, "owl", KITE_ID) == ["Owls sleep by day.", "Kites glide."]


async def test_changed_metadata_alone_is_written(store: MilvusStore) -> None:
    """An id's content is its text and its metadata."""
    await index(store, OWL)
    assert await index(store, {**OWL, "metadata": {"year": 2004}}) == report(1, 0, "owl")
    assert [one.metadata for one in await store.aget_by_ids(["owl"])] == [{"year": 2004}]


@ON_LITE
async def test_documents_of_langchain_are_taken_as_they_are(store: MilvusStore) -> None:
    """Where a program calls the graph; and as LangChain dumps them."""
    document = Document("Kites glide.")
    assert await index(store, document) == report(1, 0, KITE_ID)
    assert await index(store, document.model_dump()) == report(0, 1, KITE_ID)


@ON_LITE
@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"text": "Owls"}, "page_content: Field required. text: Extra inputs are not permitted."),
        ({"page_content": 1}, "page_content: Input should be a valid string."),
        ({"page_content": "Owls", "metdata": {}}, "metdata: Extra inputs are not permitted."),
        ({"page_content": "Owls", "id": ""}, "id: String should have at least 1 character."),
        ({"page_content": "Owls", "id": 7}, "id: Input should be a valid string."),
        ("Owls", "A document is an object: {page_content, metadata, id}."),
    ],
)
async def test_what_is_no_document_fails_alone(
    store: MilvusStore, broken: Any, sentence: str
) -> None:
    """The others are written, and the report says which it was and why."""
    told = await index(store, KITE, broken, OWL)
    failure = {"number": 1, "id": None, "error": sentence}
    assert told == report(2, 0, KITE_ID, None, "owl", failed=[failure])


async def test_what_milvus_would_refuse_fails_alone(store: MilvusStore, backend: str) -> None:
    """Of 40 Documents those that can't be written, wherever they stand."""
    on_server = backend == "server"
    documents: list[Any] = [
        {"id": f"{number}", "page_content": f"Text {number}."} for number in range(40)
    ]
    documents[0]["page_content"] = "x" * 70_000
    documents[17]["metadata"] = {"large": "x" * (70_000 if on_server else 7)}  # Lite takes it
    documents[39]["id"] = "i" * 70_000
    told = await index(store.scoped(tenant="acme"), *documents)
    bad = {0, 17, 39} if on_server else {0, 39}
    assert (told["written"], told["unchanged"]) == (40 - len(bad), 0)
    assert failures(told).keys() == bad
    assert "70000 bytes" in failures(told)[0]
    assert await store.acount() == 40 - len(bad)


async def test_another_tenant_s_id_and_scope_fail_alone(store: MilvusStore) -> None:
    """Nothing of another tenant is replaced, and no Document goes over to one."""
    acme, globex = store.scoped(tenant="acme"), store.scoped(tenant="globex")
    await index(acme, OWL)
    told = await index(globex, OWL, KITE, {"page_content": "Spam", "metadata": {"tenant": "acme"}})
    assert (told["written"], told["unchanged"]) == (1, 0)
    assert "taken by an entity outside" in failures(told)[0]
    assert "another 'tenant' than the store's scope" in failures(told)[2]
    assert (await acme.acount(), await globex.acount()) == (1, 1)


@ON_LITE
async def test_the_same_content_in_two_scopes_has_two_ids(store: MilvusStore) -> None:
    """So that tenants who index one text don't meet."""
    told = [await index(store.scoped(tenant=tenant), KITE) for tenant in ("acme", "globex")]
    assert [one["written"] for one in told] == [1, 1]
    assert told[0]["ids"] != told[1]["ids"]


@ON_LITE
async def test_one_id_twice_in_a_run_is_written_once(store: MilvusStore) -> None:
    """The same content again is unchanged; other content fails."""
    other = {**OWL, "page_content": "Owls sleep by day."}
    told = await index(store, OWL, KITE, OWL, KITE, other)
    assert (told["written"], told["unchanged"]) == (2, 2)
    assert failures(told) == {
        4: "Another document of this run has the same id, and other content."
    }
    assert await texts(store, "owl") == ["Owls hunt at night."]


class PickyEmbeddings(Embeddings):
    """Refuses the texts that say so, and with each all that is asked for with it."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if any("refused" in text for text in texts):
            raise ValueError("http://127.0.0.1:1/v1")
        if any("down" in text for text in texts):
            raise RuntimeError("http://127.0.0.1:1/v1")
        return embeddings().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return embeddings().embed_query(text)


def numbered(count: int, text: str) -> list[Any]:
    """Return Documents."""
    return [
        {"id": f"{text} {number}", "page_content": f"{text} {number}"} for number in range(count)
    ]


NOT_EMBEDDED = "The embedding model failed; no vector was made."


@ON_LITE
async def test_a_text_that_the_model_refuses_fails_alone(
    make_store: Callable[..., MilvusStore],
) -> None:
    """One that is too long for it, say; the others are written."""
    documents = [*numbered(20, "taken"), *numbered(2, "refused"), *numbered(3, "good")]
    told = await index(make_store(PickyEmbeddings()), *documents)
    assert told["written"] == 23
    assert failures(told) == dict.fromkeys((20, 21), NOT_EMBEDDED)


@ON_LITE
async def test_refusals_of_all_end_the_trials(make_store: Callable[..., MilvusStore]) -> None:
    """What is not tried says so, and why; the message tells no address."""
    told = await index(make_store(PickyEmbeddings()), *numbered(200, "refused"))
    assert told["written"] == told["unchanged"] == 0
    reasons = [failures(told)[number] for number in range(200)]
    tried = reasons.count(NOT_EMBEDDED)
    assert MAX_REFUSED <= tried < 2 * MAX_REFUSED
    assert set(reasons[tried:]) == {
        f"Not tried alone, because others were refused: {NOT_EMBEDDED}"
    }


@ON_LITE
async def test_an_outage_fails_all_with_its_reason(
    make_store: Callable[..., MilvusStore],
) -> None:
    """It is no Document's fault, so none is tried alone."""
    told = await index(make_store(PickyEmbeddings()), *numbered(2, "down"), *numbered(2, "good"))
    assert told["written"] == 0
    assert failures(told) == dict.fromkeys(range(4), NOT_EMBEDDED)


async def test_a_collection_that_makes_its_ids_is_refused(
    make_store: Callable[..., MilvusStore],
) -> None:
    """Before it is there, and after."""
    store = make_store(auto_id=True)
    with pytest.raises(IndexingError, match=r"makes its ids itself \(auto_id\)"):
        await index(store, KITE)
    await store.aadd_texts(["Kites glide."])
    with pytest.raises(IndexingError, match=r"makes its ids itself \(auto_id\)"):
        await index(make_store(), KITE)


async def test_a_collection_with_numbers_for_ids_wants_them_given(
    client: MilvusClient, collection_name: str, store: MilvusStore
) -> None:
    """None can be made of the content; a Document without one fails alone."""
    make_collection(client, collection_name, key=DataType.INT64)
    told = await index(store, KITE, {**OWL, "id": "7"}, OWL)
    assert told["written"] == 1
    assert failures(told)[0] == "The collection's ids are numbers: give the document one."
    assert failures(told).keys() == {0, 2}
    assert await texts(store, "7") == ["Owls hunt at night."]


async def test_a_dropped_collection_is_made_anew(store: MilvusStore, client: MilvusClient) -> None:
    """Somebody else dropped it; all Documents are new again."""
    await index(store, OWL)
    client.drop_collection(store.collection_name)
    assert await index(store, OWL, KITE) == report(2, 0, "owl", KITE_ID)


@ON_LITE
async def test_a_closed_store_is_told_in_an_error_that_servers_show(store: MilvusStore) -> None:
    """A `RuntimeError`, with our sentence."""
    await store.aclose()
    with pytest.raises(IndexingError, match="The store is closed"):
        await index(store, OWL)


@pytest.mark.parametrize("documents", [None, "Owls", OWL])
async def test_what_is_no_list_is_refused(documents: Any) -> None:
    """With what is right."""
    graph = build_index(MilvusStore(embeddings(), connection_args={"uri": "./unopened.db"}))
    with pytest.raises(ValueError, match=r"^Give documents: a list of {page_content"):
        await graph.ainvoke({"documents": documents})


async def test_a_run_s_documents_are_bounded() -> None:
    """Before anything is opened."""
    graph = build_index(MilvusStore(embeddings(), connection_args={"uri": "./unopened.db"}))
    with pytest.raises(ValueError, match=f"^A run takes {MAX_DOCUMENTS} documents"):
        await graph.ainvoke({"documents": [OWL] * (MAX_DOCUMENTS + 1)})


@ON_LITE
async def test_no_documents_are_nothing_to_do(store: MilvusStore) -> None:
    """An empty list is a list."""
    assert await index(store) == report(0, 0)


@ON_LITE
async def test_an_event_tells_the_counts_and_the_thread_keeps_no_documents(
    store: MilvusStore,
) -> None:
    """Whoever streams `custom` hears of it; later runs of a thread don't carry the input on."""
    from langgraph.checkpoint.memory import InMemorySaver

    graph = build_index(store)
    graph.checkpointer = InMemorySaver()
    thread: Any = {"configurable": {"thread_id": "1"}}
    given: Any = {"documents": [OWL, "Owls"]}
    told = [one async for one in graph.astream(given, thread, stream_mode="custom")]
    assert told == [{"event": "indexed", "written": 1, "unchanged": 0, "failed": 1}]
    assert (await graph.aget_state(thread)).values["documents"] == []
