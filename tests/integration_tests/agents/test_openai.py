"""The tools behind an OpenAI-compatible API, whose service checks their schemas."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool

from milvus_tools import FilterField
from tests.helpers.agents import KITE, OWL, SWIFT, Birds, told
from tests.helpers.openai_answers import Reply, ToolCall
from tests.helpers.openai_clients import Clients
from tests.helpers.openai_service import OpenAIService
from tests.helpers.support import ON_LITE, texts
from tests.helpers.tools import toolkit

QUESTION = [HumanMessage("What do you know of owls?")]
SEARCH = Reply(
    tool_calls=[
        ToolCall(
            "milvus_search",
            {
                "query": OWL,
                "queries": [],
                "k": 1,
                "filters": [{"field": "year", "operator": "gte", "value": 2000}],
            },
        )
    ]
)
ANSWER = "Owls hunt at night, it says."
EVERY_TYPE = {
    "year": FilterField("integer", "year of publication"),  # type: ignore[arg-type]
    "title": "string",
    "price": "number",
    "sold": "boolean",
    "tags": "list of strings",
    "sizes": "list of integers",
    "weights": "list of numbers",
    "anything": "any",
    "key with spaces": "string",
}
OPEN: dict[str, dict[str, Any]] = {
    "any metadata": {"allow_dynamic": True},
    "undeclared fields": {"filter_fields": None},
}
PLAIN: dict[str, dict[str, Any]] = {
    "one field": {},
    "every type": {"filter_fields": EVERY_TYPE},
    "no field": {"filter_fields": {}},
    "raw filters": {"allow_raw_filter": True},
    "read-only": {"allow_writes": False},
}


@pytest.fixture
def service() -> Iterator[OpenAIService]:
    """A service that calls the search, and then answers."""
    with OpenAIService([SEARCH, ANSWER]) as service:
        yield service


@pytest.fixture
async def clients(service: OpenAIService) -> AsyncIterator[Clients]:
    """Clients of the service."""
    async with Clients(service) as clients:
        yield clients


def tools_by_name(birds: Birds, **settings: Any) -> dict[str, BaseTool]:
    """Return the tools."""
    return {tool.name: tool for tool in toolkit(birds.store, **settings).get_tools()}


@pytest.mark.parametrize("strict", [None, False, True])
@pytest.mark.parametrize("settings", PLAIN)
@ON_LITE
async def test_the_schemas_obey_openai_s_rules(
    birds: Birds, clients: Clients, service: OpenAIService, settings: str, strict: Any
) -> None:
    """Strict mode takes them too, as long as the fields are declared and filters are flat."""
    tools = tools_by_name(birds, **PLAIN[settings])
    reply = await clients.chat().bind_tools(list(tools.values()), strict=strict).ainvoke(QUESTION)
    (request,) = service.chat_requests
    assert [tool["function"]["name"] for tool in request["tools"]] == list(tools)
    assert [tool["function"].get("strict") for tool in request["tools"]] == [strict] * len(tools)
    assert [call["name"] for call in reply.tool_calls] == ["milvus_search"]


@pytest.mark.parametrize("strict", [None, True])
@ON_LITE
async def test_the_api_takes_nested_filters(birds: Birds, clients: Clients, strict: Any) -> None:
    """In the usual mode and in strict mode."""
    tools = list(tools_by_name(birds, nested_filters=True).values())
    reply = await clients.chat().bind_tools(tools, strict=strict).ainvoke(QUESTION)
    assert reply.tool_calls


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("settings", OPEN)
@ON_LITE
async def test_metadata_of_any_keys_can_be_written(
    birds: Birds, clients: Clients, service: OpenAIService, settings: str, strict: Any
) -> None:
    """It is JSON text, because strict mode closes every object."""
    tools = list(tools_by_name(birds, **OPEN[settings]).values())
    await clients.chat().bind_tools(tools, strict=strict).ainvoke(QUESTION)
    functions = [tool["function"] for tool in service.chat_requests[-1]["tools"]]
    (upsert,) = [one["parameters"] for one in functions if one["name"] == "milvus_upsert"]
    metadata = upsert["properties"]["documents"]["items"]["properties"]["metadata"]
    assert "string" in metadata["type"]


@pytest.mark.parametrize("strict", [None, True])
async def test_a_call_that_the_api_returned_runs(
    birds: Birds, clients: Clients, service: OpenAIService, strict: Any
) -> None:
    """By hand: the model's call, the tool's answer, and the model's answer to that."""
    tools = tools_by_name(birds)
    model = clients.chat().bind_tools(list(tools.values()), strict=strict)
    messages: list[BaseMessage] = list(QUESTION)
    reply = await model.ainvoke(messages)
    messages.append(reply)
    (call,) = reply.tool_calls
    messages.append(await tools[call["name"]].ainvoke(call))
    assert texts(told(messages)[0].artifact) == [OWL]
    assert (await model.ainvoke(messages)).content == ANSWER
    *_, sent = service.chat_requests[-1]["messages"]
    assert sent["role"] == "tool"
    assert OWL in sent["content"]
    assert sent["tool_call_id"] == call["id"]


async def test_null_stands_for_what_strict_mode_can_not_leave_out(
    birds: Birds, clients: Clients, service: OpenAIService
) -> None:
    """In strict mode a model names every argument: null, or the default, means nothing."""
    everything = {
        "ids": [],
        "filters": [{"field": "year", "operator": "lt", "value": 2000}],
        "dry_run": False,
    }
    document = {"id": None, "text": "Herons wait.", "metadata": {"year": 2020, "title": None}}
    listing = {"filters": [], "limit": 10, "offset": 0, "order_by": None, "descending": False}
    both = [ToolCall("milvus_delete", everything), ToolCall("milvus_search_by_metadata", listing)]
    replies = iter(
        [
            Reply(tool_calls=[ToolCall("milvus_upsert", {"documents": [document]})]),
            *(Reply(tool_calls=[one]) for one in both),
            ANSWER,
        ]
    )
    service.reply = lambda _: next(replies)
    agent: Any = create_agent(clients.chat(), list(tools_by_name(birds).values()))
    state = await agent.ainvoke({"messages": QUESTION})
    upserted, deleted, listed = told(state["messages"])
    assert len(upserted.artifact["new"]) == 1
    assert deleted.artifact["ids"] == [birds.kite]
    assert sorted(texts(listed.artifact)) == sorted(["Herons wait.", OWL, SWIFT])
    assert [one.metadata for one in listed.artifact if one.page_content == "Herons wait."] == [
        {"year": 2020, "case": birds.store.scope["case"]}
    ]


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
async def test_an_agent_runs_over_the_api(birds: Birds, clients: Clients, sync: bool) -> None:
    """The whole way: the tools' schemas, the call, the answer."""
    agent: Any = create_agent(clients.chat(), list(tools_by_name(birds).values()))
    given = {"messages": QUESTION}
    state = agent.invoke(given) if sync else await agent.ainvoke(given)
    (answer,) = told(state["messages"])
    assert texts(answer.artifact) == [OWL]
    assert state["messages"][-1].content == ANSWER


async def test_an_agent_streams_over_the_api(birds: Birds, clients: Clients) -> None:
    """The call's arguments come in pieces, and so does the answer."""
    agent: Any = create_agent(clients.chat(), list(tools_by_name(birds).values()))
    steps: list[str] = []
    spoken: list[Any] = []
    given = {"messages": QUESTION}
    async for mode, part in agent.astream(given, stream_mode=["updates", "messages"]):
        if mode == "updates":
            steps += part
        else:
            spoken.append(part[0])
    assert steps == ["model", "tools", "model"]
    chunks = [part for part in spoken if isinstance(part, AIMessageChunk)]
    assert "".join(str(chunk.content) for chunk in chunks) == ANSWER
    pieces = [piece["args"] for chunk in chunks for piece in chunk.tool_call_chunks]
    assert json.loads("".join(filter(None, pieces)))["query"] == OWL
    assert len(pieces) > 2


async def test_arguments_that_are_no_json_are_not_run(
    birds: Birds, clients: Clients, service: OpenAIService
) -> None:
    """A model that breaks off in mid-call deletes nothing."""
    service.reply = lambda _: Reply(tool_calls=[ToolCall("milvus_delete", '{"ids": ["')])
    agent: Any = create_agent(clients.chat(), list(tools_by_name(birds).values()))
    state = await agent.ainvoke({"messages": QUESTION})
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    assert len(last.invalid_tool_calls) == 1
    assert await birds.left() == [KITE, OWL, SWIFT]
