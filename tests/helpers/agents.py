"""A scripted chat model, and Documents for its agents to work on."""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from milvus_tools import MilvusStore
from milvus_tools.tools.settings import AnyStore

KITE = "Kites glide over the fields."
OWL = "Owls hunt at night."
SWIFT = "Swifts sleep in the air."
YEARS = {KITE: 1995, OWL: 2003, SWIFT: 2010}

_numbers = itertools.count(1)

Reply = str | Sequence[ToolCall]
Scripted = Reply | Callable[[list[BaseMessage]], Reply]


def calls(name: str, **arguments: Any) -> ToolCall:
    """Return a call of a tool."""
    return tool_call(name=name, args=arguments, id=f"call_{next(_numbers)}")


def told(messages: Sequence[Any]) -> list[ToolMessage]:
    """Return what tools have answered."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def last_told(messages: Sequence[Any]) -> str:
    """Return the text of the last tool's answer."""
    return str(told(messages)[-1].content)


class ScriptedModel(BaseChatModel):
    """Replies as scripted: with a text, tool calls, or what a function makes of the messages."""

    script: list[Any]
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    """The messages of each request."""
    bound: list[dict[str, Any]] = Field(default_factory=list)
    """The tools, in the form in which OpenAI's API takes them."""

    @classmethod
    def saying(cls, *script: Scripted) -> Self:
        """Make a model that gives these replies, one after another."""
        return cls(script=list(script))

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        """Keep what the model would see of the tools."""
        strict = options.get("strict")
        self.bound = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        return self

    def _next(self, messages: list[BaseMessage]) -> Reply:
        self.asked.append(list(messages))
        reply: Scripted = self.script.pop(0)
        return reply(messages) if callable(reply) else reply

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        reply = self._next(messages)
        said = reply if isinstance(reply, str) else ""
        called = [] if isinstance(reply, str) else list(reply)
        message = AIMessage(said, tool_calls=called)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next(messages)):
            yield ChatGenerationChunk(message=chunk)


def _chunks(reply: Reply) -> Iterator[AIMessageChunk]:
    """Cut a reply into words, and its calls' arguments in the middle."""
    if isinstance(reply, str):
        yield from (AIMessageChunk(word) for word in re.findall(r"\S+\s*", reply))
        return
    for index, call in enumerate(reply):
        for piece in _pieces(index, call):
            yield AIMessageChunk("", tool_call_chunks=[piece])


def _pieces(index: int, call: ToolCall) -> Iterator[ToolCallChunk]:
    text = json.dumps(call["args"])
    half = len(text) // 2
    yield tool_call_chunk(name=call["name"], args=text[:half], id=call["id"], index=index)
    yield tool_call_chunk(args=text[half:], index=index)


@dataclasses.dataclass(frozen=True)
class Birds:
    """Three Documents of a test's own.

    Attributes:
        store: A view that holds nothing else.
        kite: The id of a Document.
        owl: The id of another.
        swift: The id of the third.
    """

    store: AnyStore
    kite: str
    owl: str
    swift: str

    @classmethod
    def written(cls, store: AnyStore) -> Self:
        """Write them."""
        documents = [
            Document(text, metadata={"year": year, "title": text.split()[0]})
            for text, year in YEARS.items()
        ]
        return cls(store, *store.add_documents(documents))

    async def left(self) -> list[str]:
        """Return the texts that are there, sorted."""
        found = await self.store.asearch_by_metadata(limit=100, consistency_level="Strong")
        return sorted(document.page_content for document in found)


def birds_of(store: MilvusStore, case: str) -> Birds:
    """Write the birds in a scope of their own."""
    return Birds.written(store.scoped(case=case))
