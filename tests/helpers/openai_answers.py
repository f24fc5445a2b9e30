"""Bodies of OpenAI's answers: completions, their stream, and embeddings."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CREATED = 1_700_000_000
PIECE = 8  # characters of a streamed delta, so that words and JSON are cut anywhere


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """A tool that the model calls."""

    name: str
    arguments: Mapping[str, Any] | str
    """The arguments; a text is sent as it stands, right JSON or not."""

    @property
    def text(self) -> str:
        """The arguments as they are sent."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclasses.dataclass(frozen=True)
class Reply:
    """A reply of the model: text, tool calls, or a refusal."""

    content: str = ""
    tool_calls: Sequence[ToolCall] = ()
    refusal: str | None = None
    finish_reason: str = ""
    """Why it stopped, if not for having said or called all: `length`, `content_filter`."""

    @property
    def ending(self) -> str:
        """The reason as it is sent."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


Scripted = Reply | str | Mapping[str, Any]


def as_reply(scripted: Scripted) -> Reply:
    """Take a text for what is said, and a mapping for a structured output."""
    if isinstance(scripted, Reply):
        return scripted
    return Reply(scripted if isinstance(scripted, str) else json.dumps(scripted))


def completion(reply: Reply, request: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the body that answers a chat request as a whole."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.content or None,
        "refusal": reply.refusal,
    }
    if reply.tool_calls:
        message["tool_calls"] = list(_tool_calls(reply, number))
    choice = {"message": message, "finish_reason": reply.ending}
    return {
        **_frame("chat.completion", request, number, choice),
        "usage": _usage(reply, request),
    }


def chunks(reply: Reply, request: Mapping[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """Yield the bodies that answer a streaming chat request."""
    kind = "chat.completion.chunk"
    with_usage = (request.get("stream_options") or {}).get("include_usage")
    for delta in _deltas(reply, number):
        yield _frame(kind, request, number, {"delta": delta, "finish_reason": None})
    yield _frame(kind, request, number, {"delta": {}, "finish_reason": reply.ending})
    if with_usage:
        last = _frame(kind, request, number, {})
        yield {**last, "choices": [], "usage": _usage(reply, request)}


def _deltas(reply: Reply, number: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if reply.tool_calls else ""}
    yield from ({"content": piece} for piece in _pieces(reply.content))
    yield from ({"refusal": piece} for piece in _pieces(reply.refusal or ""))
    for index, call in enumerate(_tool_calls(reply, number)):
        function = call["function"]
        opening = {**call, "function": {**function, "arguments": ""}}
        yield {"tool_calls": [{"index": index, **opening}]}
        for piece in _pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _tool_calls(reply: Reply, number: int) -> Iterator[dict[str, Any]]:
    for index, call in enumerate(reply.tool_calls):
        function = {"name": call.name, "arguments": call.text}
        yield {"id": f"call_{number}_{index}", "type": "function", "function": function}


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def _frame(
    kind: str, request: Mapping[str, Any], number: int, choice: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": CREATED,
        "model": request.get("model"),
        "choices": [{"index": 0, "logprobs": None, **choice}],
    }


def _usage(reply: Reply, request: Mapping[str, Any]) -> dict[str, int]:
    asked = _tokens(json.dumps(request.get("messages", [])))
    said = _tokens(reply.content) + sum(_tokens(call.text) for call in reply.tool_calls)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _tokens(text: str) -> int:
    return len(text.split())


def unit_vector(text: str, dim: int) -> NDArray[np.float32]:
    """Return a vector of length 1 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def embedding_list(texts: Sequence[str], request: Mapping[str, Any], dim: int) -> dict[str, Any]:
    """Return the body that answers a request for embeddings."""
    encode = _base64 if request.get("encoding_format") == "base64" else _numbers
    vectors = [encode(unit_vector(text, request.get("dimensions") or dim)) for text in texts]
    tokens = sum(map(_tokens, texts))
    return {
        "object": "list",
        "model": request.get("model"),
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    return [float(number) for number in vector]
