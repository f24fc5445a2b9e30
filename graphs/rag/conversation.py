"""The conversation around a question, and the message that answers it. Pure functions."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    filter_messages,
)
from langchain_core.messages.content import create_text_block

from graphs.rag.citations import annotations
from graphs.rag.state import InputState, Passage
from graphs.rag.thoughts import said
from milvus_tools.tools.formatting import as_data

MAX_QUESTION: Final = 4_000
"""The most characters of a question."""

MAX_EARLIER: Final = 10
"""The most messages before the question that are read, the last ones."""

MAX_EARLIER_CHARS: Final = 2_000
"""The most characters of each that are read."""


def asked(state: InputState) -> tuple[HumanMessage, list[AnyMessage]]:
    """Return the question, and the messages before it.

    The question is `question`, or else the last of `messages`, if that is the user's.
    """
    given = state.get("question")
    messages = list(state.get("messages") or [])
    last = messages[-1] if messages else None
    # A client may send the question both ways; it is asked once.
    if isinstance(last, HumanMessage) and (not given or given == last.text):
        return last, messages[:-1]
    text = given if isinstance(given, str) else ""
    return HumanMessage(text, id=str(uuid.uuid4())), messages


def text_of(question: HumanMessage) -> str:
    """Return a question on one line.

    Raises:
        ValueError: If it is empty or too long.
    """
    text = " ".join(question.text.split())
    if not text:
        raise ValueError(
            "The question is empty. Give it as question, or as the user's message at the end of "
            "messages."
        )
    if len(text) > MAX_QUESTION:
        raise ValueError(f"The question is longer than {MAX_QUESTION} characters.")
    return text


def unread(question: HumanMessage) -> list[str]:
    """Return a note if a question has content blocks that are no text: they are not read."""
    kinds = sorted({block["type"] for block in question.content_blocks} - {"text"})
    return [f"Only the text of the question was read, not: {', '.join(kinds)}."] if kinds else []


def plain(messages: Sequence[AnyMessage]) -> list[BaseMessage]:
    """Return what user and assistant said last, as text.

    An answer's annotations are left out: OpenAI's Responses API refuses a citation without a URL.
    """
    spoken = filter_messages(messages, include_types=["human", "ai"])[-MAX_EARLIER:]
    # Cut before they are cleaned, so that long ones cost no more (R03).
    texts = [as_data(said(one)[:MAX_EARLIER_CHARS]).strip() for one in spoken]
    return [
        HumanMessage(text) if one.type == "human" else AIMessage(text)
        for one, text in zip(spoken, texts, strict=True)
        if text  # a call of a tool has none
    ]


def turns(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the text of each turn, the last one first; the user's message begins a turn."""
    texts: list[str] = []
    for one in messages:
        if isinstance(one, HumanMessage) or not texts:
            texts.append(one.text)
        else:
            texts[-1] += f"\n{one.text}"
    return texts[::-1]


def answer_message(answer: str, passages: Sequence[Passage], **fields: Any) -> AIMessage:
    """Return the answer as a message, whose citations are LangChain's standard annotations."""
    block = create_text_block(answer, annotations=annotations(answer, passages))
    return AIMessage(content_blocks=[block], **fields)
