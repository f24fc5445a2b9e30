"""Reading queries from what models say, and choosing among them."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from milvus_tools.errors import InvalidInputError
from milvus_tools.retrievers.parsing import read_answer
from milvus_tools.retrievers.query_generation import (
    Query,
    chosen,
    distinct,
    planned,
    require_question,
    tidy,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
PLAIN = st.from_regex(r"[a-h]{1,8}( [a-h]{1,8}){0,3}\??", fullmatch=True)


class Answer(BaseModel):
    """Results that a structured output may have."""

    queries: list[str]


@pytest.mark.parametrize(
    "text",
    [
        "who?\nwhen?",
        "1. who?\n2. when?",
        "1) who?\n2) when?",
        "(1) who?\n(2) when?",
        "- who?\n- when?",
        "* **who?**\n* **when?**",
        "**1. who?**\n**2. when?**",
        "a) who?\nb) when?",
        "# who?\n# when?",
        "Q1: who?\nQ2: when?",
        "Query 1: who?\nQuery 2: when?",
        "Sub-question: who?\nSub-question: when?",
        '1. "who?"\n2. “when?”',
        "1. who? 2. when?",
        "who? when?",
        "Here are 2 versions:\n1. who?\n2. when?",
        "Sure!\n\n- who?\n\n- when?\n\nLet me know if you need more.",
        "Here are the queries you asked for\nwho?\nwhen?",
        "Certainly, here you go:\nwho?\nwhen?",
        "<think>1. no\n2. never</think>\n1. who?\n2. when?",
        '{"queries": ["who?", "when?"]}',
        '```json\n{"queries": ["who?", "when?"]}\n```',
        'The queries are ["who?", "when?"]. Good luck!',
        '{"queries": "who?\\nwhen?"}',
        '{"queries": ["1. who?", "2. when?"]}',
        '{"queries": [{"query": "who?"}, {"query": "when?"}]}',
        '{"query1": "who?", "query2": "when?"}',
        '{"title": "x", "queries": ["who?", "when?"]}',
        '{"queries": ["who?", "when?", "wh',
        '["who?", "when?"',
        "See [1].\n1. who?\n2. when?",
    ],
)
def test_two_queries_are_read_whatever_is_around_them(text: str) -> None:
    """Preambles, numbers, bullets, quotes, code fences and half a JSON are no part of them."""
    assert read_answer(text) == ["who?", "when?"]
    assert read_answer(AIMessage(text)) == ["who?", "when?"]


@pytest.mark.parametrize(
    "text",
    [
        "2. Weltkrieg",
        "A. Lincoln birthplace",
        "Here comes the sun release year",
        "sure deodorant history",
        "state-of-the-art robots",
        'who said "to be"',
        "*args in __init__ of Python",
        "C# 12 features",
        "price: 5 - 10 dollars",
    ],
)
def test_what_only_looks_like_a_list_stays_as_it_is(text: str) -> None:
    """A number, an initial, a quote or a dash that belongs to a query is kept."""
    assert read_answer(text) == [text.strip("*")]


@pytest.mark.parametrize(
    "answer", ["", "\n \n", "[]", '{"queries": []}', "Here are the queries:", {"queries": None}, 7]
)
def test_nothing_said_is_no_query(answer: Any) -> None:
    """An empty list, a preamble alone or another thing gives none, and no error."""
    assert read_answer(answer) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"queries": ["who?", None, 3, ["when?"]]},
        Answer(queries=["who?", "when?"]),
        AIMessage(
            "", tool_calls=[{"name": "q", "args": {"queries": ["who?", "when?"]}, "id": "1"}]
        ),
        AIMessage(
            "",
            invalid_tool_calls=[
                {
                    "name": "q",
                    "args": '{"queries": ["who?", "when?", "',
                    "id": "1",
                    "error": None,
                    "type": "invalid_tool_call",
                }
            ],
        ),
    ],
)
def test_objects_and_tool_calls_are_read(answer: Any) -> None:
    """So is what a structured output makes, and a call of a tool that was cut short."""
    assert read_answer(answer) == ["who?", "when?"]


@given(st.text() | JSON.map(json.dumps) | JSON)
def test_no_answer_is_an_error(answer: Any) -> None:
    """Whatever a model says is read as strings."""
    assert all(isinstance(query, str) for query in read_answer(answer))


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_a_list_in_json_is_read_as_it_is(queries: list[str]) -> None:
    """Plain strings in the form that was asked for come back, in their order."""
    assert read_answer(json.dumps({"queries": queries})) == queries


@pytest.mark.parametrize("start", ["", "1. ", '["', "here is "])
@pytest.mark.parametrize(
    "unit",
    [
        *("[", '{"a":', '["', "{", '"', "\\", '\\"', "1. ", "(1) ", "? ", " ", "\t", "\n", "*"),
        *("<think>", "```", "query ", "sure, "),
    ],
)
def test_an_answer_without_end_is_read_in_part(start: str, unit: str) -> None:
    """Deep and long nonsense does not fail, is cut, and is read in bounded time."""
    made = read_answer(start + unit * (60_000 // len(unit)) + "x")
    assert sum(map(len, made)) <= 50_000
    assert len(made) <= 30_000


@pytest.mark.parametrize("unit", ["a", "'", '"', "_", "\u201c"])
def test_a_list_of_long_items_is_read_as_far_as_one_text(unit: str) -> None:
    """The bound is for all items together: many long ones are no way around it."""
    made = read_answer({"queries": ["x" + unit * 30_000] * 100})
    assert len(made) == 2
    assert sum(map(len, made)) == 50_000


def test_a_query_is_one_line_of_sound_text() -> None:
    """Control characters and lone surrogates become spaces, of which one is enough."""
    assert tidy(" a\x00b\n\tc\ud800d\x7f e ") == "a b c d e"
    assert tidy("नमस्ते 👩‍🚀 ÅΩ") == "नमस्ते 👩‍🚀 ÅΩ"


def test_too_many_and_too_long_queries_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The first few of those that differ stay, and what is too long is logged without its text."""
    with caplog.at_level(logging.WARNING, "milvus_tools"):
        texts = ["Who?", " who? ", "", "secret" * 9, "when?", "where?"]
        assert chosen(texts, most=2, max_chars=10) == ["Who?", "when?"]
    (record,) = caplog.records
    assert (
        record.getMessage() == "1 of 5 queries were left out: they have more than 10 characters."
    )


@given(st.lists(st.text(max_size=12)), st.integers(1, 5), st.integers(1, 8))
def test_chosen_queries_keep_every_bound(texts: list[str], most: int, max_chars: int) -> None:
    """They are few, short, tidy, not empty, and all different."""
    taken = chosen(texts, most=most, max_chars=max_chars)
    assert len(taken) <= most
    assert all(0 < len(text) <= max_chars and text == tidy(text) for text in taken)
    assert len({text.casefold() for text in taken}) == len(taken)


def test_the_first_of_the_same_queries_counts() -> None:
    """Case and white space make no difference, and the first one's weight holds."""
    same = [Query("Red  Kite", 2), Query("red kite", 3), Query("owl")]
    assert distinct(same) == [Query("Red  Kite", 2), Query("owl")]


def test_the_question_comes_first_and_once() -> None:
    """It is asked beside the others, alone if there are none, and not twice."""
    made = [Query("WHO?"), Query("when?")]
    plan = [
        planned("who?", made, include_original=keep, original_weight=2) for keep in (True, False)
    ]
    assert plan == [[Query("who?", 2), Query("when?")], made]
    alone = planned("who?", [], include_original=False, original_weight=0)
    assert alone == [Query("who?", 1)]


@pytest.mark.parametrize(
    "question", ["", " \n", "\x00", "\x1b \x7f", None, 5, {"question": "who?"}]
)
def test_what_is_no_question_is_refused(question: Any) -> None:
    """An empty string is none, nor control characters, nor a dictionary of a chain."""
    with pytest.raises(InvalidInputError, match=r"The question is empty|takes a string"):
        require_question(question)


def test_a_question_that_is_no_unicode_is_refused() -> None:
    """A question is not changed, so one with a lone surrogate is refused."""
    with pytest.raises(InvalidInputError, match="The question contains a lone surrogate"):
        require_question("who \ud800?")
    require_question("who\x00 \U0001f600?\n")
