"""Where queries come from: a chat model, another Runnable, or a function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.utils import is_async_callable
from pydantic import BaseModel

from milvus_tools._io.loop import run_sync
from milvus_tools.errors import InvalidInputError
from milvus_tools.retrievers.parsing import read_answer
from milvus_tools.retrievers.prompts import QUERY_SCHEMA

QueryGenerator = Runnable[str, list[str]]

NAME: Final = "make_queries"


def maker_of_model(
    model: Runnable[Any, Any], prompt: BasePromptTemplate[Any], max_queries: int
) -> QueryGenerator:
    """Return what asks a model for queries: by structured output, if it knows that.

    Args:
        model: A chat model, or what has its methods.
        prompt: A prompt with the variable `question`, and `max_queries` if it likes.
        max_queries: How many queries to ask for.
    """
    structured = _structured(model)

    def prompted(question: str) -> dict[str, Any]:
        return {"question": question, "max_queries": max_queries}

    def ask(question: str, config: RunnableConfig) -> list[str]:
        messages = prompt.invoke(prompted(question), config)
        try:
            return _read(structured.invoke(messages, config))
        except Exception as error:
            if not (queries := _withheld(error)):
                raise
            return queries

    async def aask(question: str, config: RunnableConfig) -> list[str]:
        messages = await prompt.ainvoke(prompted(question), config)
        try:
            return _read(await structured.ainvoke(messages, config))
        except Exception as error:
            if not (queries := _withheld(error)):
                raise
            return queries

    return RunnableLambda(ask, aask, name=NAME)


def generator_of_runnable(runnable: Runnable[Any, Any]) -> QueryGenerator:
    """Return what asks a Runnable for queries; its input is the question."""

    def ask(question: str, config: RunnableConfig) -> list[str]:
        return _taken(runnable.invoke(question, config))

    async def aask(question: str, config: RunnableConfig) -> list[str]:
        return _taken(await runnable.ainvoke(question, config))

    return RunnableLambda(ask, aask, name=NAME)


def generator_of_function(function: Callable[[str], Any]) -> QueryGenerator:
    """Return what asks a function for queries, which may be async."""

    def ask(question: str) -> list[str]:
        made = function(question)
        return _taken(run_sync(_awaited(made)) if inspect.isawaitable(made) else made)

    async def aask(question: str) -> list[str]:
        return _taken(await function(question))

    if is_async_callable(function):
        return RunnableLambda(ask, aask, name=NAME)
    return RunnableLambda(ask, name=NAME)


async def _awaited(made: Any) -> Any:
    return await made


def _structured(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return the model with structured output, or as it is if it has none."""
    bind = getattr(model, "with_structured_output", None)
    if bind is None:
        return model
    try:
        return bind(QUERY_SCHEMA, include_raw=True)  # type: ignore[no-any-return]
    except NotImplementedError:
        return model


def _read(answer: Any) -> list[str]:
    match answer:
        case {"raw": raw, "parsed": parsed}:
            return read_answer(raw if parsed is None else parsed)
    return read_answer(answer)


def _withheld(error: Exception) -> list[str]:
    """Return the queries that a model made before it ran into the token limit.

    OpenAI's client raises an error with the answer in it then. A small model in a loop has often
    said enough by that time; a model that only thought has said nothing.
    """
    choices = getattr(getattr(error, "completion", None), "choices", None)
    if not isinstance(choices, list):
        return []  # another error, whatever it calls a completion
    said = [getattr(getattr(one, "message", None), "content", None) for one in choices]
    return read_answer([content for content in said if isinstance(content, str)])


def _taken(made: Any) -> list[str]:
    """Return the queries that code made as they stand; what a model said is read.

    Raises:
        InvalidInputError: If they are no queries.
    """
    match made:
        case list() | tuple() if all(isinstance(query, str) for query in made):
            return list(made)
        case str() | BaseMessage() | BaseModel() | Mapping():
            return read_answer(made)
    raise InvalidInputError(
        f"query_generator must return a list of strings, not {_described(made)}."
    )


def _described(made: Any) -> str:
    if not isinstance(made, list | tuple):
        return f"a {type(made).__name__}"
    other = next(query for query in made if not isinstance(query, str))
    return f"one with a {type(other).__name__} in it"
