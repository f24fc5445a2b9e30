"""`langgraph dev` serves the graph: streams, threads, and a loop that nothing blocks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.helpers.langgraph_dev import DevServer
from tests.helpers.openai_clients import KEY
from tests.helpers.openai_service import OpenAIService
from tests.helpers.rag_graph import PlayedModel, plan, reflection

QUESTION = "Who directed the film that was shot in or around Leland, North Carolina in 1986"
ANSWER = "It was Stephen King [1]."
BY_MODEL = {"model": "openai:scripted", "max_rounds": 2}
RAG = "rag"


@pytest.fixture(scope="module")
def service() -> Iterator[OpenAIService]:
    """A service that plays the model."""
    with OpenAIService() as service:
        yield service


@pytest.fixture(scope="module")
def server(
    service: OpenAIService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevServer]:
    """The server, started once."""
    folder = tmp_path_factory.mktemp("dev")
    with DevServer(folder).running(OPENAI_BASE_URL=service.base_url, OPENAI_API_KEY=KEY) as server:
        yield server


@pytest.fixture
async def client(server: DevServer, service: OpenAIService) -> AsyncIterator[LangGraphClient]:
    """A client of it, and a model that plans one sub-question and one follow-up."""
    service.reply = PlayedModel(
        [plan("Which film was shot around Leland?")],
        [reflection("Who directed Maximum Overdrive?")],
        [ANSWER],
    )
    async with get_client(url=server.url) as client:
        yield client


async def streamed(
    client: LangGraphClient, thread: Any, question: str = QUESTION, **options: Any
) -> list[tuple[str, Any]]:
    """Run the graph on a thread and return what it streams."""
    modes: Any = ["messages-tuple", "custom", "updates", "values"]
    stream = client.runs.stream(
        thread["thread_id"], RAG, input={"question": question}, stream_mode=modes, **options
    )
    return [(part.event, part.data) async for part in stream]


def of(parts: list[tuple[str, Any]], event: str) -> list[Any]:
    """Return the parts of a kind."""
    return [data for kind, data in parts if kind == event]


async def test_a_run_streams_tokens_and_events(client: LangGraphClient) -> None:
    """The answer's tokens, what each sub-question found, and each node's update."""
    parts = await streamed(client, await client.threads.create(), context=BY_MODEL)
    assert not of(parts, "error")
    tokens = [message["content"] for message, _ in of(parts, "messages")]
    assert "".join(tokens) == ANSWER
    assert len(tokens) > 2
    found = [one["text"] for one in of(parts, "custom") if one["event"] == "found"]
    assert sorted(found) == sorted(
        [QUESTION, "Which film was shot around Leland?", "Who directed Maximum Overdrive?"]
    )
    nodes = [next(iter(update)) for update in of(parts, "updates")]
    assert nodes.count("retrieve") == 3
    assert nodes[-1] == "answer"
    output = of(parts, "values")[-1]
    assert output["answer"] == ANSWER
    assert [one["n"] for one in output["citations"]] == [1]


async def test_r46_a_client_chats_in_turns(
    client: LangGraphClient, service: OpenAIService
) -> None:
    """Messages in and out, as Studio and chat pages send them; the second is a follow-up."""
    alone = "Who directed Maximum Overdrive?"
    service.reply = PlayedModel(
        [plan(), plan(question=alone)], [reflection(answerable=True)], ["A film [1].", ANSWER]
    )
    thread = await client.threads.create()
    for text in ("Which film was shot around Leland?", "and who directed it?"):
        content = [{"type": "text", "text": text}]
        asked: Any = {"messages": [{"type": "human", "content": content}]}
        output: Any = await client.runs.wait(
            thread["thread_id"], RAG, input=asked, context=BY_MODEL
        )
    assert [one["type"] for one in output["messages"]] == ["human", "ai"] * 2
    assert output["standalone_question"] == alone
    (block,) = output["messages"][-1]["content"]
    assert block["text"] == output["answer"] == ANSWER
    assert [one["type"] for one in block["annotations"]] == ["citation"]
    (document,) = output["documents"]
    assert document["id"] == block["annotations"][0]["extras"]["document_id"]


async def test_a_run_without_a_model_goes_by_rule(client: LangGraphClient) -> None:
    """The default context answers from the Wikipedia paragraphs, with both sources."""
    output: Any = await client.runs.wait(None, RAG, input={"question": QUESTION})
    assert output["answered_by"] == "rule"
    assert {"p0030", "p0035"} <= {one["id"] for one in output["citations"]}


async def test_two_threads_run_at_the_same_time(
    client: LangGraphClient, service: OpenAIService
) -> None:
    """The model answers neither before both ask."""
    service.meet(2)
    threads = [await client.threads.create() for _ in range(2)]
    both = await asyncio.gather(
        *(streamed(client, thread, context={**BY_MODEL, "max_rounds": 1}) for thread in threads)
    )
    service.meet(None)
    for parts in both:
        assert of(parts, "values")[-1]["answer"] == ANSWER


async def test_a_thread_is_resumed(client: LangGraphClient, service: OpenAIService) -> None:
    """A run that stopped before its answer goes on from its checkpoint."""
    thread = await client.threads.create()
    parts = await streamed(client, thread, context=BY_MODEL, interrupt_before=["answer"])
    assert not of(parts, "messages")
    state = await client.threads.get_state(thread["thread_id"])
    assert state["next"] == ["answer"]
    asked = len(service.chat_requests)
    output: Any = await client.runs.wait(thread["thread_id"], RAG, input=None, context=BY_MODEL)
    assert output["answer"] == ANSWER
    assert len(service.chat_requests) == asked + 1
    second = await streamed(client, thread, "Which dice game has demons?", context=BY_MODEL)
    assert of(second, "values")[-1]["subquestions"][0]["text"] == "Which dice game has demons?"


async def test_a_caller_can_give_no_store_and_no_bound_of_its_own(
    client: LangGraphClient,
) -> None:
    """Unknown settings are ignored, and a number past its bound fails the run."""
    output: Any = await client.runs.wait(
        None, RAG, input={"question": QUESTION}, context={"store": "http://127.0.0.1:1", "k": 5}
    )
    assert output["citations"]
    parts = await streamed(client, await client.threads.create(), context={"k": 1_000})
    assert "k: " in of(parts, "error")[0]["message"]


@pytest.mark.parametrize("context", [None, {}, {"max_rounds": 6, "k": 100}])
async def test_a_caller_is_held_to_what_the_graph_was_built_with(
    client: LangGraphClient, context: Any
) -> None:
    """One that says nothing, and one that asks for more."""
    asked: Any = {"question": QUESTION}
    output: Any = await client.runs.wait(None, "bounded", input=asked, context=context)
    assert {one["round"] for one in output["subquestions"]} == {1}
    assert {len(one["found"]) for one in output["subquestions"]} == {3}


async def test_the_server_tells_its_schemas(client: LangGraphClient) -> None:
    """The schemas name the keys of input, output and context."""
    assistant = (await client.assistants.search(graph_id=RAG))[0]
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    assert {"question", "messages"} <= schemas["input_schema"]["properties"].keys()
    assert "citations" in schemas["output_schema"]["properties"]
    assert "max_rounds" in schemas["context_schema"]["properties"]


async def test_no_call_blocks_the_server_s_loop(
    client: LangGraphClient, server: DevServer
) -> None:
    """The server tells of a graph that blocks, and of no other."""
    for context in ({}, BY_MODEL):
        parts = await streamed(client, await client.threads.create(), context=context)
        assert not of(parts, "error")
    assert "BlockingError" not in server.log
    control = client.runs.stream(None, "blocking", input={"done": False})
    assert [part.data["error"] async for part in control if part.event == "error"] == [
        "BlockingError"
    ]
    assert "Blocking call to time.sleep" in server.log
