"""The conversation around a question."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from graphs.rag.conversation import (
    MAX_EARLIER,
    MAX_EARLIER_CHARS,
    MAX_QUESTION,
    answer_message,
    asked,
    plain,
    text_of,
    turns,
    unread,
)
from graphs.rag.state import Passage

FIRST, SECOND = HumanMessage("Who directed it?", id="1"), HumanMessage("And when?", id="2")
ANSWER = AIMessage("King did [1].", id="a")
PASSAGES = [
    Passage(id="a", source="Leland", title="Leland", url="", text="Leland is a town."),
    Passage(id="b", source="films.md", title="", url="https://a.example/b", text="A film."),
]


@pytest.mark.parametrize(
    ("given", "question", "before"),
    [
        ({"question": "Who?"}, "Who?", []),
        ({"messages": [FIRST]}, FIRST.text, []),
        ({"messages": [FIRST, ANSWER, SECOND]}, SECOND.text, [FIRST, ANSWER]),
        ({"messages": [FIRST, ANSWER], "question": "Who?"}, "Who?", [FIRST, ANSWER]),
        ({"messages": [FIRST, SECOND], "question": "Who?"}, "Who?", [FIRST, SECOND]),
        ({"messages": [FIRST], "question": FIRST.text}, FIRST.text, []),
        ({"messages": [FIRST], "question": ""}, FIRST.text, []),
    ],
)
def test_r46_the_question_is_given_or_the_last_message(
    given: Any, question: str, before: list[Any]
) -> None:
    """`question` counts first; the same text as a message is asked once."""
    message, messages = asked(given)
    assert text_of(message) == question
    assert messages == before
    assert message.id


@pytest.mark.parametrize(
    "given",
    [{}, {"messages": []}, {"messages": [ANSWER]}, {"messages": [FIRST, ANSWER], "question": " "}],
)
def test_a_conversation_without_a_question_is_refused(given: Any) -> None:
    """An earlier question is not asked again."""
    with pytest.raises(ValueError, match="The question is empty"):
        text_of(asked(given)[0])


def test_a_message_may_be_too_long() -> None:
    """As a question may."""
    with pytest.raises(ValueError, match=f"longer than {MAX_QUESTION}"):
        text_of(HumanMessage("x" * (MAX_QUESTION + 1)))


def test_r46_content_blocks_are_read() -> None:
    """Text in several blocks is one; what is no text is named."""
    image: Any = {"type": "image", "url": "https://a.example/owl.png"}
    blocks: Any = [{"type": "text", "text": "Who is "}, image, {"type": "text", "text": "this?"}]
    message = HumanMessage(content_blocks=blocks)
    assert text_of(message) == "Who is this?"
    assert unread(message) == ["Only the text of the question was read, not: image."]
    assert unread(FIRST) == []
    with pytest.raises(ValueError, match="empty"):
        text_of(HumanMessage(content_blocks=[image]))


def test_earlier_messages_are_plain_text() -> None:
    """Annotations, thoughts and calls of tools are left out, and so are other roles."""
    call: Any = {"name": "search", "args": {}, "id": "c"}
    messages: Any = [
        SystemMessage("Be kind."),
        FIRST,
        AIMessage("", tool_calls=[call]),
        ToolMessage("found", tool_call_id="c"),
        answer_message("King did [1].", PASSAGES),
        AIMessage("<think>[2]</think>Yes."),
    ]
    assert plain(messages) == [
        HumanMessage(FIRST.text),
        AIMessage("King did [1]."),
        AIMessage("Yes."),
    ]


def test_earlier_messages_are_bounded() -> None:
    """In number, the last ones, and in length."""
    long = [HumanMessage(f"{number} " + "x" * 9_999) for number in range(99)]
    kept = plain(long)
    assert len(kept) == MAX_EARLIER
    assert kept[-1].text.startswith("98 ")
    assert {len(one.text) for one in kept} == {MAX_EARLIER_CHARS}


def test_a_turn_begins_with_the_user() -> None:
    """The last one comes first."""
    assert turns([ANSWER, FIRST, ANSWER, SECOND]) == [
        "And when?",
        "Who directed it?\nKing did [1].",
        "King did [1].",
    ]


def test_citations_are_standard_annotations() -> None:
    """One in the place of each `[n]`, with the document's id, and its address if it has one."""
    message = answer_message("It is [2], and [1][2].", PASSAGES, id="m")
    (block,) = message.content_blocks
    assert block["type"] == "text"
    assert message.text == "It is [2], and [1][2]."
    marks = [block["text"][one["start_index"] : one["end_index"]] for one in block["annotations"]]
    assert marks == ["[2]", "[1]", "[2]"]
    second, first, _ = block["annotations"]
    assert first["type"] == "citation"
    assert first["title"] == "Leland"
    assert "url" not in first
    assert first["extras"] == {"n": 1, "document_id": "a"}
    assert (second["title"], second["url"]) == ("films.md", "https://a.example/b")
