"""Queries made by models, Runnables and functions."""

import asyncio
import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from milvus_tools import QUERY_PROMPT
from milvus_tools.errors import InvalidInputError
from milvus_tools.retrievers.query_generation import (
    QueryGenerator,
    generator_of_function,
    generator_of_model,
    generator_of_runnable,
)

LINES = "1. who?\n2. when?"
MADE = ["who?", "when?"]


async def both(make: Callable[[], QueryGenerator]) -> list[str]:
    """Return what both faces make, which must be the same."""
    made = await make().ainvoke("what?")
    assert await asyncio.to_thread(make().invoke, "what?") == made
    return made


class Structured(GenericFakeChatModel):
    """A model whose structured output is what the test says, or an error."""

    outcome: Any

    def with_structured_output(self, schema: Any, **options: Any) -> Runnable[Any, Any]:
        assert options == {"include_raw": True}
        assert list(schema["properties"]) == ["queries"]

        def answer(_: Any) -> Any:
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome

        return RunnableLambda(answer)


async def test_a_model_without_structured_output_answers_in_text() -> None:
    """A plain chat model, and one that completes text, are read."""
    chat = functools.partial(GenericFakeChatModel, messages=iter([AIMessage(LINES)] * 2))
    for model in (chat(), FakeListLLM(responses=[LINES])):
        assert await both(lambda model=model: generator_of_model(model, QUERY_PROMPT, 3)) == MADE


@pytest.mark.parametrize(
    "outcome",
    [
        {"raw": AIMessage(""), "parsed": {"queries": MADE}, "parsing_error": None},
        {"raw": AIMessage(LINES), "parsed": None, "parsing_error": ValueError("no JSON")},
        {"raw": AIMessage(LINES), "parsed": None, "parsing_error": None},
        {"raw": AIMessage(""), "parsed": {"queries": LINES}, "parsing_error": None},
        AIMessage(LINES),
    ],
)
async def test_structured_output_is_taken_and_its_failure_read(outcome: Any) -> None:
    """Where nothing was parsed, what the model said counts."""
    model = Structured(messages=iter([]), outcome=outcome)
    assert await both(lambda: generator_of_model(model, QUERY_PROMPT, 3)) == MADE


async def test_an_answer_that_met_the_token_limit_is_read() -> None:
    """OpenAI's client raises then, and the error holds what was said."""
    error = RuntimeError("length")
    said = types.SimpleNamespace(message=types.SimpleNamespace(content='["who?", "when?", "wh'))
    error.completion = types.SimpleNamespace(choices=[said])  # type: ignore[attr-defined]
    model = Structured(messages=iter([]), outcome=error)
    assert await both(lambda: generator_of_model(model, QUERY_PROMPT, 3)) == MADE


def _choice(content: Any) -> Any:
    return types.SimpleNamespace(message=types.SimpleNamespace(content=content))


@pytest.mark.parametrize(
    "completion",
    [
        *("text", 7, types.SimpleNamespace(), types.SimpleNamespace(choices=None)),
        *(types.SimpleNamespace(choices=[one]) for one in (_choice(None), _choice(""), None)),
    ],
)
async def test_an_error_that_holds_no_answer_stays_what_it_was(completion: Any) -> None:
    """A completion without content makes no query, and another's shape hides no error."""
    error = ConnectionError("gone")
    error.completion = completion  # type: ignore[attr-defined]
    model = Structured(messages=iter([]), outcome=error)
    maker = generator_of_model(model, QUERY_PROMPT, 3)
    with pytest.raises(ConnectionError, match="gone"):
        await maker.ainvoke("what?")
    with pytest.raises(ConnectionError, match="gone"):
        maker.invoke("what?")


async def test_a_model_that_fails_is_an_error() -> None:
    """Its own error comes out of both faces."""
    maker = generator_of_model(
        Structured(messages=iter([]), outcome=ConnectionError("gone")), QUERY_PROMPT, 3
    )
    with pytest.raises(ConnectionError, match="gone"):
        await maker.ainvoke("what?")
    with pytest.raises(ConnectionError, match="gone"):
        maker.invoke("what?")


async def test_the_prompt_has_the_question_as_data_and_the_number() -> None:
    """Braces in a question are text, and the model is told how many queries there may be."""
    asked: list[Any] = []

    def note(prompt: Any) -> str:
        asked.append(prompt.to_messages())
        return LINES

    await generator_of_model(RunnableLambda(note), QUERY_PROMPT, 3).ainvoke("{max_queries} {x}?")
    own = ChatPromptTemplate.from_messages([("human", "Split: {question}")])
    await generator_of_model(RunnableLambda(note), own, 3).ainvoke("what?")
    ((system, human), (split,)) = asked
    assert "at most 3 search queries" in system.content
    assert human == HumanMessage("{max_queries} {x}?")
    assert split == HumanMessage("Split: what?")


def _plain(question: str) -> list[str]:
    assert question == "what?"
    return MADE


async def _async(question: str) -> list[str]:
    return _plain(question)


def _promising(question: str) -> Any:
    return _async(question)


class _Callable:
    async def __call__(self, question: str) -> tuple[str, ...]:
        return tuple(_plain(question))


@pytest.mark.parametrize(
    "function", [_plain, _async, _Callable(), functools.partial(_async), _promising]
)
async def test_functions_are_called_from_both_faces(function: Any) -> None:
    """Plain ones, async ones, objects, and what returns an awaitable."""
    assert await both(lambda: generator_of_function(function)) == MADE


async def test_a_function_that_blocks_does_not_hold_the_loop() -> None:
    """A plain one runs in a thread."""
    threads = []

    def note(_: str) -> list[str]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        threads.append(1)
        return MADE

    assert await generator_of_function(note).ainvoke("what?") == MADE
    assert threads == [1]


async def test_what_code_makes_stands_and_what_a_model_says_is_read() -> None:
    """A list is taken with its numbers; a text, a message or an object is an answer."""
    listed = ["1. FC Köln", "2. Weltkrieg\nEnde"]
    for made, queries in (
        (listed, listed),
        (LINES, MADE),
        (AIMessage(LINES), MADE),
        ({"queries": MADE}, MADE),
    ):
        runnable: Runnable[Any, Any] = RunnableLambda(lambda _, made=made: made)
        assert await both(lambda runnable=runnable: generator_of_runnable(runnable)) == queries
        assert await both(lambda made=made: generator_of_function(lambda _: made)) == queries


@pytest.mark.parametrize(
    ("made", "said"), [(None, "a NoneType"), (3, "a int"), (["a", 3], "one with a int in it")]
)
def test_what_is_no_list_of_strings_is_refused(made: Any, said: str) -> None:
    """The error says what came instead."""
    with pytest.raises(InvalidInputError, match=f"must return a list of strings, not {said}"):
        generator_of_function(lambda _: made).invoke("what?")
