"""The scripted OpenAI service, through LangChain's clients."""

import asyncio
import contextlib
import gc
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.helpers.openai_answers import Reply, ToolCall, unit_vector
from tests.helpers.openai_clients import KEY, Clients
from tests.helpers.openai_process import OpenAIProcess
from tests.helpers.openai_schema import DESCRIPTION_LENGTH
from tests.helpers.openai_service import CHAT, DROP, EMBEDDINGS, OpenAIService
from tests.helpers.threads import BOUND, happens, in_threads, no_new_threads

MANY = 300
LONG_TEXT = "A reply that is longer than one piece, with ümläuts and 漢字."


class Answer(BaseModel):
    """An answer."""

    text: str
    sources: list[int]


ANSWER = {"text": "Blue.", "sources": [1, 2]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


BOTH = [ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 30, "b": 40})]


def called(message: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and arguments of a message's tool calls."""
    return [(call["name"], call["args"]) for call in message.tool_calls]


CALLED = [("add", {"a": 1, "b": 2}), ("add", {"a": 30, "b": 40})]


def backwards(request: dict[str, Any]) -> str:
    """Reply with the last message, read backwards."""
    return str(request["messages"][-1]["content"][::-1])


class Gate:
    """A reply that waits until the test opens it."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.opened = threading.Event()

    async def __call__(self, _: dict[str, Any]) -> str:
        self.asked.release()
        assert await happens(self.opened)
        return "Done."


@pytest.fixture
def service() -> Iterator[OpenAIService]:
    """A service that replies backwards."""
    with OpenAIService(backwards) as service:
        yield service


@pytest.fixture
async def clients(service: OpenAIService) -> AsyncIterator[Clients]:
    """Clients of the service."""
    async with Clients(service) as clients:
        yield clients


def script(service: OpenAIService, *replies: Any) -> None:
    """Let the service say these, one after another."""
    left = iter(replies)
    service.reply = lambda _: next(left)


async def whole_stream(model: Any) -> tuple[AIMessageChunk, int]:
    """Return what a model streams as one message, and in how many chunks it came."""
    parts = [part async for part in model.astream("Stream.")]
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return whole, len(parts)


# Chat.


async def test_a_function_replies_to_each_request(clients: Clients):
    """Sync, async and many at once: each gets the reply to its own message."""
    model = clients.chat()
    assert model.invoke("abc").content == "cba"
    assert (await model.ainvoke("abc")).content == "cba"
    texts = [f"message {number}" for number in range(20)]
    assert [one.content for one in await model.abatch(texts)] == [text[::-1] for text in texts]


async def test_replies_come_one_after_another_and_end():
    """A list is said in turn; asking for more is an error that no client tries again."""
    with OpenAIService(["One.", "Two."]) as service:
        async with Clients(service) as clients:
            model = clients.chat()
            assert [model.invoke("?").content for _ in range(2)] == ["One.", "Two."]
            with pytest.raises(openai.BadRequestError, match="No scripted reply"):
                model.invoke("?")
            assert service.requests[CHAT] == 3


async def test_a_reply_may_wait(service: OpenAIService, clients: Clients):
    """An async function replies when what it waits for has happened."""
    service.reply = gate = Gate()
    pending = asyncio.create_task(clients.chat().ainvoke("?"))
    assert await asyncio.to_thread(gate.asked.acquire, timeout=BOUND)
    assert not pending.done()
    gate.opened.set()
    assert (await pending).content == "Done."


async def test_several_tool_calls_come_in_one_message(service: OpenAIService, clients: Clients):
    """Their ids differ, and broken arguments reach the client as they are."""
    script(service, Reply(tool_calls=[*BOTH, ToolCall("add", "{broken")]))
    message = await clients.chat().bind_tools([add], strict=True).ainvoke("Add.")
    assert called(message) == CALLED
    assert [call["args"] for call in message.invalid_tool_calls] == ["{broken"]
    assert len({call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}) == 3
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output_is_parsed(service: OpenAIService, clients: Clients, method: Any):
    """Both ways to ask for it give the object, sync and async."""
    as_call = Reply(tool_calls=[ToolCall("Answer", ANSWER)])
    script(service, *[ANSWER if method == "json_schema" else as_call] * 2)
    model = clients.chat().with_structured_output(Answer, method=method)
    assert model.invoke("?") == Answer(**ANSWER)
    assert await model.ainvoke("?") == Answer(**ANSWER)


async def test_a_model_may_refuse(service: OpenAIService, clients: Clients):
    """A refusal reaches the client as one."""
    script(service, Reply(refusal="I won't."))
    message = await clients.chat().ainvoke("?")
    assert message.additional_kwargs["refusal"] == "I won't."


async def test_a_model_may_be_cut_off(service: OpenAIService, clients: Clients):
    """The reason why a model stopped can be told."""
    script(service, Reply("And so", finish_reason="length"))
    message = await clients.chat().ainvoke("?")
    assert message.response_metadata["finish_reason"] == "length"


async def test_text_is_streamed_in_pieces(service: OpenAIService, clients: Clients):
    """The pieces make the text, sync and async, and usage comes when it is asked for."""
    script(service, *[LONG_TEXT] * 3)
    model = clients.chat()
    assert "".join(str(part.content) for part in model.stream("?")) == LONG_TEXT
    whole, count = await whole_stream(clients.chat(stream_usage=True))
    assert whole.content == LONG_TEXT
    assert count > len(LONG_TEXT) / 8
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == len(LONG_TEXT.split())
    bare, _ = await whole_stream(clients.chat(stream_usage=False))
    assert bare.usage_metadata is None


async def test_tool_calls_are_streamed_in_pieces(service: OpenAIService, clients: Clients):
    """The pieces make the calls."""
    script(service, Reply(tool_calls=BOTH))
    whole, count = await whole_stream(clients.chat().bind_tools([add]))
    assert called(whole) == CALLED
    assert count > 2 * len(BOTH)


# The client dumps its own event, in which it put the object, and pydantic says so.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
async def test_structured_output_is_streamed(service: OpenAIService, clients: Clients):
    """The last value of the stream is the object."""
    script(service, ANSWER)
    model = clients.chat().with_structured_output(Answer, method="json_schema")
    assert [part async for part in model.astream("?")][-1] == Answer(**ANSWER)


async def test_a_broken_tool_schema_is_refused(service: OpenAIService, clients: Clients):
    """The client gets OpenAI's error, once."""
    long = {"name": "long", "description": "d" * (DESCRIPTION_LENGTH + 1)}
    with pytest.raises(openai.BadRequestError, match="maximum length 1024") as caught:
        await clients.chat().bind_tools([long]).ainvoke("?")
    assert caught.value.code == "string_above_max_length"
    assert caught.value.param == "tools[0].function.description"
    assert service.requests[CHAT] == 1


async def test_a_broken_response_format_is_refused(clients: Clients):
    """A schema outside strict mode's rules is named with its place."""
    schema = {
        "title": "Open",
        "description": "An open object.",
        "type": "object",
        "properties": {"map": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    model = clients.chat().bind(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "open", "strict": True, "schema": schema},
        }
    )
    refused = pytest.raises(openai.BadRequestError, match="'additionalProperties' is required")
    # LangChain knows OpenAI's words for it, and adds its advice.
    with pytest.warns(UserWarning, match="Invalid schema"), refused:
        await model.ainvoke("?")


# Embeddings.


async def test_vectors_depend_on_the_text_alone(service: OpenAIService, clients: Clients):
    """One by one or together, sync or async, base64 or numbers: the same unit vectors."""
    model = clients.embeddings()
    alone = [model.embed_query("a"), await model.aembed_query("b")]
    np.testing.assert_allclose(model.embed_documents(["a", "b"]), alone)
    np.testing.assert_allclose(await model.aembed_documents(["b", "a"]), alone[::-1])
    numbers = clients.embeddings(model_kwargs={"encoding_format": "float"})
    np.testing.assert_allclose(numbers.embed_documents(["a", "b"]), alone, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(alone[0], unit_vector("a", service.dim), rtol=1e-6)
    assert service.embedding_inputs == [["a"], ["b"], ["a", "b"], ["b", "a"], ["a", "b"]]


async def test_the_dimension_is_the_services_or_the_requests(
    service: OpenAIService, clients: Clients
):
    """A request may ask for fewer."""
    service.dim = 40
    assert len(clients.embeddings().embed_query("a")) == 40
    assert len(clients.embeddings(dimensions=4).embed_query("a")) == 4


@pytest.mark.parametrize("texts", [[""], ["a", ""], ["a"] * 2049], ids=["empty", "one", "many"])
async def test_inputs_that_openai_refuses_are_refused(clients: Clients, texts: list[str]):
    """No empty text, and no more than 2048 in one request."""
    with pytest.raises(openai.BadRequestError, match="input"):
        clients.embeddings(chunk_size=5000).embed_documents(texts)


# On demand.


@pytest.mark.parametrize("failure", [429, 500, DROP])
async def test_a_client_tries_again(service: OpenAIService, clients: Clients, failure: int):
    """After 429, 500 and a dropped connection the client's own retry gets the answer."""
    service.fail_next(1, failure)
    assert (await clients.chat().ainvoke("ab")).content == "ba"
    assert service.requests[CHAT] == 2
    service.fail_next(1, failure)
    assert len(clients.embeddings().embed_query("a")) == service.dim
    assert service.requests[EMBEDDINGS] == 2
    assert service.in_flight == 0


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (DROP, openai.APIConnectionError),
    ],
)
async def test_a_client_without_retries_sees_the_failure(
    service: OpenAIService, clients: Clients, failure: int, error: type[Exception]
):
    """As many requests fail as were told to, and only of the path that was named."""
    service.fail_next(2, failure, path=CHAT)
    model = clients.chat(max_retries=0)
    for _ in range(2):
        with pytest.raises(error):
            await model.ainvoke("ab")
    assert (await model.ainvoke("ab")).content == "ba"


async def test_a_failure_of_one_path_spares_the_other(service: OpenAIService, clients: Clients):
    """Embeddings are answered while chat requests fail."""
    service.fail_next(1, 500, path=CHAT)
    await clients.embeddings(max_retries=0).aembed_query("a")
    with pytest.raises(openai.InternalServerError):
        await clients.chat(max_retries=0).ainvoke("ab")


async def test_a_refusal_says_when_to_come_back(service: OpenAIService, clients: Clients):
    """Retry-After is in whole seconds, and in milliseconds as OpenAI sends it too."""
    service.retry_after = 1.5
    service.fail_next(1)
    with pytest.raises(openai.RateLimitError) as caught:
        clients.chat(max_retries=0).invoke("?")
    headers = caught.value.response.headers
    assert headers["retry-after"] == "2"
    assert float(headers["retry-after-ms"]) == 1500


async def test_hundreds_of_requests_are_answered_together(
    service: OpenAIService, clients: Clients
):
    """None is answered before all have come."""
    service.meet(MANY)
    service.latency = 0.001
    model = clients.embeddings()
    texts = [f"text {number}" for number in range(MANY)]
    vectors = await asyncio.gather(*map(model.aembed_query, texts))
    np.testing.assert_allclose(vectors, [unit_vector(text, 8) for text in texts], rtol=1e-6)
    assert service.most_in_flight == service.most_at_work == MANY
    assert sorted(service.embedding_inputs) == sorted([text] for text in texts)


async def test_threads_are_served_together(service: OpenAIService, clients: Clients):
    """Sync clients in threads meet as well."""
    service.meet(4)
    model = clients.embeddings()
    vectors = in_threads(*[lambda: model.embed_query("a")] * 4)
    assert [len(vector) for vector in vectors] == [service.dim] * 4


def ask(service: OpenAIService, path: str = "/chat/completions") -> http.client.HTTPConnection:
    """Send a request past the clients, and don't wait for its answer."""
    address = urlsplit(service.base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=BOUND)
    connection.request("POST", address.path + path, "{}")
    return connection


def answer_of(connection: http.client.HTTPConnection) -> int:
    """Return the status that comes, and close the connection."""
    with contextlib.closing(connection):
        return connection.getresponse().status


def test_requests_above_the_limit_wait_in_line():
    """No more than allowed are worked on at once, and all are answered."""
    gate = Gate()
    with OpenAIService(gate, max_concurrent=2) as service:
        asked = [ask(service), ask(service)]
        assert all(gate.asked.acquire(timeout=BOUND) for _ in asked)
        asked.append(ask(service))
        assert answer_of(ask(service, "/later")) == 404  # so the third has been heard, too
        assert service.in_flight == service.most_in_flight - 1 == 3
        assert not gate.asked.acquire(blocking=False)
        gate.opened.set()
        assert [answer_of(one) for one in asked] == [200] * 3
        assert service.most_at_work == 2


async def test_requests_above_the_limit_are_refused_when_told(
    service: OpenAIService, clients: Clients
):
    """One that finds no room gets 429; the one that is worked on is answered."""
    service.reply, service.max_concurrent, service.refuse_when_full = (gate := Gate()), 1, True
    first = ask(service)
    assert gate.asked.acquire(timeout=BOUND)
    with pytest.raises(openai.RateLimitError):
        await clients.chat(max_retries=0).ainvoke("?")
    gate.opened.set()
    assert answer_of(first) == 200


# Records, beginning and end.


async def test_a_forbidden_text_is_refused(service: OpenAIService, clients: Clients):
    """A request that holds it gets 400, and others are answered."""
    service.forbidden = "secret"
    model = clients.embeddings()
    with pytest.raises(openai.BadRequestError, match="A text is forbidden"):
        await model.aembed_documents(["a", "secret"])
    assert len(await model.aembed_documents(["a", "b"])) == 2


async def test_any_prefix_of_an_address_is_served(service: OpenAIService, clients: Clients):
    """A client may have an address, and so an HTTP client of LangChain's, of its own."""
    address = service.base_url.replace("/v1", "/another/v1")
    vector = await clients.embeddings(base_url=address).aembed_query("a")
    assert vector == await clients.embeddings().aembed_query("a")


async def test_the_service_runs_in_a_process_of_its_own():
    """It is configured and counts there, and ends with its `with` block."""
    with OpenAIProcess(dim=4) as process:
        async with Clients(process) as clients:
            process.configure(forbidden="a")
            model = clients.embeddings()
            with pytest.raises(openai.BadRequestError):
                await model.aembed_query("a")
            process.configure()
            assert len(await model.aembed_query("a")) == 4
        assert process.embedding_requests == 2
        address = urlsplit(process.base_url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))


async def test_requests_are_recorded(service: OpenAIService, clients: Clients):
    """The service keeps bodies, numbers and keys of requests."""
    clients.chat(temperature=0.5).invoke("Hello.")
    clients.embeddings().embed_query("a")
    assert dict(service.requests) == {CHAT: 1, EMBEDDINGS: 1}
    (asked,) = service.chat_requests
    assert asked["temperature"] == 0.5
    assert asked["messages"] == [{"role": "user", "content": "Hello."}]
    assert service.authorizations == [f"Bearer {KEY}"] * 2


async def test_an_unknown_path_is_not_found(service: OpenAIService, clients: Clients):
    """A client of another part of the API gets 404."""
    with pytest.raises(openai.NotFoundError):
        clients.chat(use_responses_api=True).invoke("?")
    assert service.requests["/v1/responses"] == 1


def connect(service: OpenAIService) -> socket.socket:
    """Open a connection past the clients."""
    address = urlsplit(service.base_url)
    return socket.create_connection((address.hostname, address.port))


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has closed it, with or without having read all."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_nothing_is_left_behind():
    """Idle, half-sent and waiting requests don't keep it: thread, port and connections go."""
    asked = threading.Event()

    async def never(_: dict[str, Any]) -> str:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    service = OpenAIService(never)
    with contextlib.ExitStack() as open_ones, no_new_threads():
        with service.running() as running:
            assert running is service
            idle, half = (open_ones.enter_context(connect(service)) for _ in range(2))
            half.sendall(b"POST /v1/embeddings HTTP/1.1\r\n")
            waiting = open_ones.enter_context(contextlib.closing(ask(service)))
            assert asked.wait(BOUND)
        assert all(map(is_closed, (idle, half, waiting.sock)))
    with pytest.raises(ConnectionRefusedError):
        connect(service)


@pytest.mark.parametrize("count", [1, 20])
def test_a_connection_that_just_came_is_closed_too(count: int):
    """However far the service has come with it when it stops."""
    for _ in range(count):
        with OpenAIService() as service:
            connections = [connect(service) for _ in range(count)]
        for connection in connections:
            with connection:
                assert is_closed(connection)
    gc.collect()  # a socket that was left open would warn now


def test_each_service_has_an_address_of_its_own():
    """LangChain keeps a client per address, so none may come back when a port does."""
    with OpenAIService() as one, OpenAIService() as other:
        addresses = {one.base_url, other.base_url}
    with one:
        assert one.base_url not in addresses
