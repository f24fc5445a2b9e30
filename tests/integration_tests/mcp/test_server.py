"""The tools, the resource and the prompt over MCP, by the SDK's own client."""

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest
from langchain_core.documents import Document
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp import McpError, types
from mcp.shared.memory import create_connected_server_and_client_session as connected
from pydantic import AnyUrl

from milvus_tools import BatchingEmbeddings, MilvusStore, MilvusToolkit
from milvus_tools.mcp import build_server, server
from milvus_tools.mcp.server import COLLECTION_URI, PROMPT
from tests.helpers.fake_embeddings import FakeModel, Held, HeldQueries
from tests.helpers.mcp_clients import sentence, texts

pytestmark = pytest.mark.parametrize("backend", ["lite"], indirect=True)
# As long as the queries of a model whose vectors are as long as its texts.
OWL = Document("An owl", id="owl")


async def test_the_tools_are_langchains(store: MilvusStore) -> None:
    """Names, descriptions and schemas are those that LangChain sends; without writes, two."""
    await store.aadd_documents([Document("Owls hunt.", id="owl", metadata={"year": 2003})])
    for settings in ({}, {"allow_writes": True, "nested_filters": True}):
        toolkit = MilvusToolkit(store, **settings)
        async with connected(build_server(toolkit)) as client:
            listed = (await client.list_tools()).tools
        sent = [convert_to_openai_tool(one)["function"] for one in await toolkit.aget_tools()]
        assert [one.name for one in listed] == [one["name"] for one in sent]
        assert [one.description for one in listed] == [one["description"] for one in sent]
        assert [one.inputSchema for one in listed] == [one["parameters"] for one in sent]


@pytest.mark.parametrize("auto_id", [False, True])
async def test_hints_tell_what_a_tool_may_do(
    make_store: Callable[..., MilvusStore], auto_id: bool
) -> None:
    """An upsert that is repeated replaces what it wrote, unless Milvus makes the ids."""
    toolkit = MilvusToolkit(make_store(auto_id=auto_id), allow_writes=True)
    async with connected(build_server(toolkit)) as client:
        tools = {one.name: one.annotations for one in (await client.list_tools()).tools}
    hints = {name: one.model_dump(exclude_none=True) for name, one in tools.items() if one}
    reads = {"readOnlyHint": True, "openWorldHint": False}
    writes = {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": False}
    assert hints == {
        "milvus_search": reads,
        "milvus_search_by_metadata": reads,
        "milvus_upsert": {**writes, "idempotentHint": not auto_id},
        "milvus_delete": {**writes, "idempotentHint": True},
    }


async def test_all_four_tools_have_structured_content(store: MilvusStore) -> None:
    """The SDK's client checks each answer against the tool's output schema."""
    toolkit = MilvusToolkit(store, allow_writes=True)
    async with connected(build_server(toolkit)) as client:
        document = {"id": "owl", "text": "Owls hunt.", "metadata": '{"year": 2003}'}
        wrote = await client.call_tool("milvus_upsert", {"documents": [document]})
        again = await client.call_tool("milvus_upsert", {"documents": [document]})
        found = await client.call_tool("milvus_search", {"query": "owls"})
        listed = await client.call_tool("milvus_search_by_metadata", {})
        tried = await client.call_tool("milvus_delete", {"ids": ["owl"], "dry_run": True})
        deleted = await client.call_tool("milvus_delete", {"ids": ["owl"]})
        empty = await client.call_tool("milvus_search", {"query": "owls"})
    assert wrote.structuredContent == {"new": ["owl"], "replaced": [], "left_out": 0}
    assert again.structuredContent == {"new": [], "replaced": ["owl"], "left_out": 0}
    assert texts(found) == texts(listed) == ["Owls hunt."]
    kept = {"ids": ["owl"], "left_out": 0}
    assert tried.structuredContent == {**kept, "deleted": 0, "dry_run": True}
    assert deleted.structuredContent == {**kept, "deleted": 1, "dry_run": False}
    assert empty.structuredContent == {"documents": [], "left_out": 0}


async def test_wrong_arguments_have_the_tools_sentence(store: MilvusStore) -> None:
    """Null counts as left out; an unknown name, or tool, is refused (R43)."""
    await store.aadd_documents([Document("Owls hunt.", id="owl")])
    async with connected(build_server(MilvusToolkit(store))) as client:
        found = await client.call_tool("milvus_search", {"query": "owls", "k": None})
        wrong = await client.call_tool("milvus_search", {"query": "owls", "top_k": 1})
        types_ = await client.call_tool("milvus_search", {"query": {"a": 1}, "filters": 7})
        config = await client.call_tool("milvus_search", {"query": "owls", "config": {}})
        missing = await client.call_tool("milvus_upsert", {"documents": [{"text": "x"}]})
    assert texts(found) == ["Owls hunt."]
    assert "unknown name 'top_k'" in sentence(wrong)
    assert "query: Input should be a valid string; filters: " in sentence(types_)
    assert "unknown name 'config'" in sentence(config)
    assert sentence(missing) == (
        'There is no tool "milvus_upsert"; there are milvus_search, milvus_search_by_metadata.'
    )


async def test_a_failure_hides_what_is_behind_it(
    make_store: Callable[..., MilvusStore], caplog: pytest.LogCaptureFixture
) -> None:
    """The operator reads the reason in the log."""
    await make_store(FakeModel()).aadd_documents([OWL])
    store = make_store(FakeModel(RuntimeError("http://10.0.0.1/?key=secret")))
    async with connected(build_server(MilvusToolkit(store, filter_fields={}))) as client:
        failed = await client.call_tool("milvus_search", {"query": "owls"})
    assert "secret" not in sentence(failed)
    assert "10.0.0.1" not in sentence(failed)
    assert "A tool failed" in caplog.text


@pytest.mark.parametrize("sessions", [1, 5])
async def test_concurrent_calls_share_requests(
    make_store: Callable[..., MilvusStore], sessions: int
) -> None:
    """Fifty searches that wait for their vectors at the same time take at most five requests."""
    await make_store(FakeModel()).aadd_documents([OWL])
    model = HeldQueries()
    embedding = BatchingEmbeddings(model)
    store = make_store(embedding)
    toolkit = MilvusToolkit(store, filter_fields={})
    async with contextlib.AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(connected(build_server(toolkit)))
            for _ in range(sessions)
        ]
        for client in clients:
            await client.list_tools()  # the client reads it before it calls
        calling = asyncio.gather(
            *(
                clients[n % sessions].call_tool("milvus_search", {"query": f"owl {n:02}"})
                for n in range(50)
            )
        )
        # None of them is answered before all have come.
        while embedding.stats.calls < 50:  # noqa: ASYNC110 - its thread has no event
            await asyncio.sleep(0)
        model.let_go()
        answers = await calling
    assert [texts(one) for one in answers] == [["An owl"]] * 50
    assert store.stats.search.batches <= 5


async def test_a_cancelled_call_ends(make_store: Callable[..., MilvusStore]) -> None:
    """The embedding that it waits for is cancelled."""
    await make_store(FakeModel()).aadd_documents([OWL])
    model = Held()
    store = make_store(model)
    async with connected(build_server(MilvusToolkit(store, filter_fields={}))) as client:
        await client.list_tools()
        calling = asyncio.create_task(client.call_tool("milvus_search", {"query": "owls"}))
        assert await asyncio.to_thread(model.begun.acquire, timeout=60)
        params = types.CancelledNotificationParams(requestId=client._request_id - 1)
        notice = types.CancelledNotification(params=params)
        await client.send_notification(types.ClientNotification(notice))
        assert await asyncio.to_thread(model.cancelled.wait, 60)
        with pytest.raises(McpError, match="cancelled"):
            await calling


async def test_a_long_call_tells_its_progress(
    make_store: Callable[..., MilvusStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asked for it hears that the call goes on, by rising numbers."""
    monkeypatch.setattr(server, "PROGRESS_SECONDS", 0.01)
    await make_store(FakeModel()).aadd_documents([OWL])
    model = Held()
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        if len(heard) >= 3 and model.loops:
            model.let_go()

    toolkit = MilvusToolkit(make_store(model), filter_fields={})
    async with connected(build_server(toolkit)) as client:
        found = await client.call_tool(
            "milvus_search", {"query": "owl 01"}, progress_callback=hear
        )
    assert texts(found) == ["An owl"]
    assert sorted(set(heard)) == heard


async def test_the_collection_is_described(store: MilvusStore) -> None:
    """By the resource, and in the prompt that uses it."""
    await store.aadd_documents([Document("Owls hunt.", id="owl", metadata={"year": 2003})])
    toolkit = MilvusToolkit(store, filter_fields={"year": "integer"})
    context = await toolkit.aget_context()
    async with connected(build_server(toolkit)) as client:
        resource = (await client.list_resources()).resources[0]
        read = (await client.read_resource(resource.uri)).contents[0]
        asked = await client.get_prompt(PROMPT, {"question": "Who hunts?\ud800"})
        with pytest.raises(McpError, match="There is one resource: milvus://collection"):
            await client.read_resource(AnyUrl("file:///etc/passwd"))
        with pytest.raises(McpError, match="There is one prompt"):
            await client.get_prompt(PROMPT, {})
    assert "- year (integer), such as 2003" in context
    assert str(read.uri).rstrip("/") == COLLECTION_URI
    assert isinstance(read, types.TextResourceContents)
    assert read.text == context
    written = json.loads(asked.model_dump_json())["messages"][0]["content"]["text"]
    assert written.startswith(context)
    assert written.endswith("Question: Who hunts?\\ud800")


async def test_nothing_of_a_collection_that_fails_is_described(
    make_store: Callable[..., MilvusStore],
) -> None:
    """The resource's error is a sentence without an address."""
    store = make_store(connection_args={"uri": "http://127.0.0.1:9"}, timeout=1)
    async with connected(build_server(MilvusToolkit(store))) as client:
        with pytest.raises(McpError) as raised:
            await client.read_resource(AnyUrl(COLLECTION_URI))
    assert "127.0.0.1" not in raised.value.error.message
    assert "Traceback" not in raised.value.error.message
