"""The four tools over a real store: what they do, and what they say."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, Self

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.tools import BaseTool
from langchain_milvus import BM25BuiltInFunction
from pymilvus import DataType

from milvus_tools import MilvusStore, MilvusToolkit, ScopedMilvusStore
from tests.helpers.milvus_server import free_ports
from tests.helpers.support import DIM, ON_LITE, embeddings, make_collection
from tests.helpers.tools import call, toolkit, tools_of

MakeStore = Callable[..., MilvusStore]
BIRDS = [
    Document(id="1", page_content="The red kite", metadata={"year": 1999, "title": "Kite"}),
    Document(id="2", page_content="The barn owl", metadata={"year": 2005, "title": "Owl"}),
    Document(id="3", page_content="The swift", metadata={"year": 2010}),
]
RECENT = {"field": "year", "operator": "gte", "value": 2005}


@pytest.fixture
def view(shared: MilvusStore, request: pytest.FixtureRequest) -> ScopedMilvusStore:
    """A part of the shared collection, with three birds in it."""
    view = shared.scoped(case=request.node.nodeid, scoped_ids=True)
    view.add_documents(BIRDS)
    return view


@pytest.fixture
def tools(view: ScopedMilvusStore) -> dict[str, BaseTool]:
    """The four tools over the birds."""
    return tools_of(toolkit(view, max_delete=2))


async def test_search_tells_documents_and_hands_them_over(tools: dict[str, BaseTool]) -> None:
    """The content has numbered blocks without the scope, the artifact the Documents."""
    message = await call(tools["search"], query="The red kite", k=2)
    assert message.content.startswith("2 results. ")
    _, opening, metadata, text, *_ = message.content.splitlines()
    assert opening == '<document n="1" id="1" score="1.00">'
    assert json.loads(metadata) == {"year": 1999, "title": "Kite"}
    assert text == "The red kite"
    assert "case" not in message.content
    first, second = message.artifact
    assert (first.id, first.page_content) == ("1", "The red kite")
    assert second.metadata["retrieval"]["found_by"][0]["rank"] == 2


async def test_several_queries_come_back_fused(tools: dict[str, BaseTool]) -> None:
    """The hits of two queries are one list, and each names the query that found it."""
    queries = ["The red kite", "The barn owl"]
    message = await call(tools["search"], query=queries[0], queries=[*queries, queries[1]], k=3)
    assert {one.id for one in message.artifact} == {"1", "2", "3"}
    for one in message.artifact:
        assert [by["query"] for by in one.metadata["retrieval"]["found_by"]] == queries
    assert {one.id for one in message.artifact[:2]} == {"1", "2"}


async def test_search_holds_its_filters(tools: dict[str, BaseTool]) -> None:
    """All conditions hold, and nothing found says what to try."""
    message = await call(tools["search"], query="The red kite", filters=[RECENT])
    assert {one.id for one in message.artifact} == {"2", "3"}
    nobody = {"field": "title", "operator": "eq", "value": "Kiwi"}
    message = await call(tools["search"], query="The red kite", filters=[RECENT, nobody])
    assert (message.status, message.artifact) == ("success", [])
    assert message.content == "Nothing was found. Leave out filters, or check their values."


async def test_a_wrong_value_is_explained(tools: dict[str, BaseTool]) -> None:
    """The model reads the type of the field, and corrects the value."""
    wrong = {"field": "year", "operator": "gte", "value": "recent"}
    message = await call(tools["search"], query="kite", filters=[wrong])
    assert message.status == "error"
    assert "'year'" in message.content
    assert "integer" in message.content
    assert message.content.endswith("Fix the arguments and try again.")


async def test_search_by_metadata_goes_page_by_page(tools: dict[str, BaseTool]) -> None:
    """Each page says where it is, of how many, and where the next one begins."""
    search = tools["search_by_metadata"]
    first = await call(search, order_by="year", descending=True, limit=2)
    assert first.content.startswith("1 to 2 of 3 documents. For more, offset=2. ")
    assert [one.id for one in first.artifact] == ["3", "2"]
    second = await call(search, order_by="year", descending=True, limit=2, offset=2)
    assert second.content.startswith("3 to 3 of 3 documents. Text inside")
    assert '<document n="3" id="1">' in second.content
    past = await call(search, offset=3)
    assert (past.content, past.artifact) == ("3 match, and the offset is past the last one.", [])
    none = await call(search, filters=[{"field": "year", "operator": "lt", "value": 0}])
    assert (none.content, none.artifact) == ("No document matches.", [])


async def test_search_by_metadata_finds_ids(tools: dict[str, BaseTool]) -> None:
    """A model reads documents again whose ids it knows."""
    ids = {"field": "id", "operator": "in", "value": ["1", "3", "9"]}
    message = await call(tools["search_by_metadata"], filters=[ids], order_by="id")
    assert [one.id for one in message.artifact] == ["1", "3"]


async def test_an_order_by_an_unknown_field_is_refused(tools: dict[str, BaseTool]) -> None:
    """The nearest field is named."""
    message = await call(tools["search_by_metadata"], order_by="yaer")
    assert message.status == "error"
    assert "Did you mean 'year'?" in message.content


async def test_upsert_says_what_is_new_and_what_was_replaced(
    tools: dict[str, BaseTool], view: ScopedMilvusStore
) -> None:
    """Ids come back; an existing document is replaced as a whole."""
    documents = [
        {"id": "1", "text": "The black kite", "metadata": {"year": 2020, "title": None}},
        {"id": "4", "text": "The kestrel"},
        {"text": "The hobby"},
    ]
    message = await call(tools["upsert"], documents=documents)
    made = message.artifact["ids"][2]
    assert message.artifact == {"ids": ["1", "4", made], "new": ["4", made], "replaced": ["1"]}
    assert message.content == f'Wrote 3 documents. New: "4", "{made}". Replaced: "1".'
    (kite,) = await view.aget_by_ids(["1"])
    assert (kite.page_content, kite.metadata["year"]) == ("The black kite", 2020)
    assert "title" not in kite.metadata


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], 'The id "a" is there twice'),
        ([{"text": ""}], "documents.0.text: it is empty"),
        ([{"text": "x", "metadata": {"author": "me"}}], "unknown name 'author'; the names are"),
        ([{"text": "x", "metadata": {"year": "late"}}], "documents.0.metadata.year: Input should"),
        ([{"text": "x", "metadata": {"title": "t" * 10_001}}], "The metadata of a document has"),
        ([], "documents: List should have at least 1 item"),
        ([{"text": "x"}] * 21, "documents: List should have at most 20 items"),
    ],
)
async def test_documents_that_do_not_fit_are_refused(
    tools: dict[str, BaseTool], view: ScopedMilvusStore, documents: list[Any], said: str
) -> None:
    """Nothing is written, and the model reads why."""
    message = await call(tools["upsert"], documents=documents)
    assert message.status == "error"
    assert said in message.content
    assert await view.acount() == 3


async def test_free_metadata_is_written_if_allowed(view: ScopedMilvusStore) -> None:
    """With all keys allowed a model may write any, and filter on them."""
    tools = tools_of(toolkit(view, allow_dynamic=True))
    written = {"id": "9", "text": "The hobby", "metadata": {"size cm": 30, "diet": ["bats"]}}
    assert (await call(tools["upsert"], documents=[written])).status == "success"
    asked = [{"field": "size cm", "operator": "between", "value": [29, 31]}]
    message = await call(tools["search_by_metadata"], filters=asked)
    assert [one.id for one in message.artifact] == ["9"]


async def test_delete_by_filter_tries_first_and_then_deletes(
    tools: dict[str, BaseTool], view: ScopedMilvusStore
) -> None:
    """A dry run tells what a delete would do, and does nothing."""
    tried = await call(tools["delete"], filters=[RECENT], dry_run=True)
    assert tried.content.startswith("Would delete 2 documents: ")
    assert sorted(tried.artifact.pop("ids")) == ["2", "3"]
    assert tried.artifact == {"deleted": 0, "dry_run": True}
    assert await view.acount() == 3
    done = await call(tools["delete"], filters=[RECENT])
    assert done.content.startswith("Deleted 2 documents: ")
    assert done.artifact["deleted"] == 2
    assert [one.id for one in await view.asearch_by_metadata()] == ["1"]


async def test_ids_and_filters_of_a_delete_both_hold(
    tools: dict[str, BaseTool], view: ScopedMilvusStore
) -> None:
    """Only what has one of the ids and matches goes."""
    message = await call(tools["delete"], ids=["1", "2"], filters=[RECENT])
    assert message.artifact == {"ids": ["2"], "deleted": 1, "dry_run": False}
    again = await call(tools["delete"], ids=["2"])
    assert again.content == 'No document matches id is one of "2"; nothing was deleted.'
    assert await view.acount() == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Give ids or filters: nothing is deleted without a condition."),
        ({"ids": [], "filters": []}, "Give ids or filters"),
        (
            {"filters": [{"field": "year", "operator": "exists"}]},
            "Refused: 3 documents match year is there, but at most 2 can be deleted at once.",
        ),
        ({"ids": ["1", "2", "3"]}, "ids: List should have at most 2 items"),
    ],
)
async def test_deletes_of_all_or_of_too_many_are_refused(
    tools: dict[str, BaseTool], view: ScopedMilvusStore, arguments: dict[str, Any], said: str
) -> None:
    """Nothing is deleted, and the count is told."""
    message = await call(tools["delete"], **arguments)
    assert message.status == "error"
    assert said in message.content
    assert await view.acount() == 3


async def test_tools_on_a_collection_that_is_not_there_yet(make_store: MakeStore) -> None:
    """There is nothing to find or to delete, and the first upsert makes the collection."""
    tools = tools_of(toolkit(make_store()))
    search = await call(tools["search"], query="kite", filters=[RECENT])
    assert search.content == "Nothing was found. The collection has no documents that you may see."
    assert (await call(tools["search_by_metadata"])).content == "No document matches."
    assert (await call(tools["delete"], ids=["1"])).artifact["ids"] == []
    written = await call(tools["upsert"], documents=[{"id": "1", "text": "The red kite"}])
    assert written.artifact["new"] == ["1"]


async def test_fields_come_from_the_schema_if_none_are_declared(make_store: MakeStore) -> None:
    """The scalar fields of a collection may be named, but for its text, and integers are ids."""
    schema = {"year": {"dtype": DataType.INT64}, "size": {"dtype": DataType.DOUBLE}}
    store = make_store(metadata_schema=schema, enable_dynamic_field=False)
    await store.aadd_texts(["kite"], [{"year": 1999, "size": 0.5}], ids=["1"])
    kit = MilvusToolkit(store)
    search, by_metadata = await kit.aget_tools()
    fields = search.args["filters"]["items"]["properties"]["field"]
    assert fields["enum"] == ["id", "year", "size"]
    small = {"field": "size", "operator": "lt", "value": 1}
    assert len((await call(by_metadata, filters=[small])).artifact) == 1
    assert "- year (integer), such as 1999" in await kit.aget_context()


def test_tools_work_in_threads_too(tools: dict[str, BaseTool]) -> None:
    """The sync face says what the async one says."""
    arguments = {"query": "The red kite", "k": 1}
    message = tools["search"].invoke(
        {"name": "milvus_search", "args": arguments, "id": "1", "type": "tool_call"}
    )
    assert [one.id for one in message.artifact] == ["1"]
    refused = tools["delete"].invoke({})
    assert refused.startswith("Give ids or filters")


async def test_the_context_for_a_prompt_tells_fields_and_size(view: ScopedMilvusStore) -> None:
    """Fields have types, meanings and short examples; the count is the view's."""
    kit = toolkit(view, description="birds")
    text = await kit.aget_context()
    assert text == kit.get_context()
    assert "holds birds." in text
    assert "It has 3 documents." in text
    assert "- year (integer): year of publication, such as " in text
    assert '"Kite"' in text


async def test_the_context_of_nobody_tells_no_data(view: ScopedMilvusStore) -> None:
    """If the run says the scope, a prompt without a run has neither examples nor a count."""
    kit = toolkit(view, scope_from={"year": "year"}, filter_fields={"title": "string"})
    for text in (await kit.aget_context(), await kit.aget_context({"other": 1})):
        assert "Kite" not in text
        assert "documents." in text.splitlines()[0]
        assert "It has" not in text
    assert "It has 1 document." in await kit.aget_context({"year": 1999})


async def test_nested_filters_and_raw_ones_are_held_by_the_scope(
    shared: MilvusStore, view: ScopedMilvusStore
) -> None:
    """Filters that an operator allows beyond the default stay inside the scope."""
    await shared.aadd_texts(["of nobody"], [{"year": 2005}], ids=["tools-nobody"])
    tools = tools_of(toolkit(view, nested_filters=True, allow_raw_filter=True))
    either = {"any": [RECENT, {"not": {"field": "title", "operator": "exists"}}]}
    message = await call(tools["search_by_metadata"], filters=[either], expr="year < 2010")
    assert [one.id for one in message.artifact] == ["2"]
    refused = await call(tools["search"], query="x", expr="year > 0) or (year > 0")
    assert refused.status == "error"


class Failing(Embeddings):
    """A model whose service tells too much."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Fail."""
        raise RuntimeError("POST http://10.0.0.5/v1 with key sk-123")

    def embed_query(self, text: str) -> list[float]:
        """Fail."""
        return self.embed_documents([text])[0]


async def test_an_embedding_model_that_fails_is_told_in_general(
    make_store: MakeStore, shared: MilvusStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The model reads that it failed, the developer's log why."""
    await shared.aadd_texts(["one"], ids=["tools-failing"])
    tools = tools_of(toolkit(make_store(Failing(), collection_name=shared.collection_name)))
    message = await call(tools["search"], query="x")
    assert message.status == "error"
    assert "sk-123" not in message.content
    assert "10.0.0.5" not in message.content
    assert caplog.records


async def test_a_server_that_is_away_is_told_without_its_address() -> None:
    """The model reads that the store is unavailable, and that it is not to blame."""
    (port,) = free_ports(1)
    uri = f"http://127.0.0.1:{port}"
    with MilvusStoreUnopened(uri) as store:
        message = await call(tools_of(toolkit(store))["search"], query="x")
    assert message.status == "error"
    assert "unavailable" in message.content
    assert "Try again later" in message.content
    assert str(port) not in message.content


class MilvusStoreUnopened(MilvusStore):
    """A store that `with` does not open."""

    def __init__(self, uri: str) -> None:
        """Wait two seconds at most."""
        super().__init__(embeddings(), connection_args={"uri": uri}, timeout=2)

    def __enter__(self) -> Self:
        """Open nothing."""
        return self


@ON_LITE
async def test_fused_searches_show_no_scores(make_store: MakeStore) -> None:
    """BM25 beside an embedding ranks, but has no score from 0 to 1."""
    words = BM25BuiltInFunction(output_field_names="words")
    store = make_store(builtin_function=words)
    await store.aadd_documents(BIRDS)
    message = await call(tools_of(toolkit(store))["search"], query="kite", k=1)
    assert [one.id for one in message.artifact] == ["1"]
    assert 'id="1">' in message.content


@ON_LITE
async def test_integer_keys_are_ids_like_others(make_store: MakeStore, client: Any) -> None:
    """A model gives ids as text, whatever the collection's keys are."""
    store = make_store(embeddings(DIM))
    make_collection(client, store.collection_name, key=DataType.INT64)
    tools = tools_of(toolkit(store))
    assert (await call(tools["upsert"], documents=[{"id": "7", "text": "x"}])).artifact["new"]
    asked = [{"field": "id", "operator": "eq", "value": "7"}]
    assert len((await call(tools["search_by_metadata"], filters=asked)).artifact) == 1
    assert (await call(tools["delete"], ids=["7"])).artifact["deleted"] == 1
    wrong = await call(tools["delete"], ids=["seven"])
    assert wrong.status == "error"


def test_an_example_path_is_not_written() -> None:
    """The store of the unit tests was never opened."""
    assert not pathlib.Path("never_opened.db").exists()
