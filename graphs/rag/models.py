"""Calls of the chat model: bounded in time, and never in its place anything else."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel, ValidationError

from graphs.rag.context import ChatModel, Context
from graphs.rag.deadlines import within
from graphs.rag.prompts import JSON

Reply = TypeVar("Reply", bound=BaseModel)


class ModelError(RuntimeError):
    """The model did not answer in time, said nothing, or can't do what is asked of it."""


async def chat_model(model: str | ChatModel) -> ChatModel:
    """Return the model, made once and off the caller's loop if it is named."""
    return await asyncio.to_thread(_named, model) if isinstance(model, str) else model


@functools.lru_cache(maxsize=16)
def _named(name: str) -> ChatModel:
    made: ChatModel = init_chat_model(name)
    return made


async def structured(
    schema: type[Reply], messages: Sequence[BaseMessage], context: Context
) -> Reply | None:
    """Ask the model for a structured output; its tokens are not streamed to the graph's caller.

    Returns:
        The output, or `None` if what the model wrote is none.

    Raises:
        ModelError: If it took too long, or can't reply in a schema. Other errors are the
            provider's own.
    """
    asker = _asker(await _required(context), schema, context)
    try:
        async with _in_time(context):
            given = [*messages, *_schema_told(schema, context)]
            reply: Any = await asker.with_config(tags=[TAG_NOSTREAM]).ainvoke(given)
    except ValidationError:  # of a provider's client that reads the output itself
        return None
    except Exception as error:
        if _was_cut(error):
            return None
        raise
    return reply["parsed"] if isinstance(reply["parsed"], schema) else None


def _asker(model: ChatModel, schema: type[BaseModel], context: Context) -> Runnable[Any, Any]:
    """Return the model that replies in a schema; what it can't read is in its reply, no error."""
    if isinstance(model, BaseChatModel):
        # Streamed, as it is if the graph's caller streams messages, it warns, and gains nothing.
        model = model.model_copy(update={"disable_streaming": True})
    try:
        asker: Runnable[Any, Any] = cast("Any", model).with_structured_output(
            schema, method=context.structured_output, include_raw=True
        )
    except (AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"{type(model).__name__} gives no structured output, which a plan needs."
        ) from error
    return asker


def _schema_told(schema: type[BaseModel], context: Context) -> list[BaseMessage]:
    """Tell the schema to a model whom nothing else tells it."""
    if context.structured_output != "json_mode":
        return []
    return [HumanMessage(JSON.format(schema=json.dumps(schema.model_json_schema())))]


def _was_cut(error: Exception) -> bool:
    """Tell whether the model wrote on until its limit: openai's error, which may be missing."""
    return type(error).__name__ == "LengthFinishReasonError"


async def written(messages: Sequence[BaseMessage], context: Context) -> tuple[str, bool]:
    """Let the model write, token by token.

    Returns:
        The text, and whether it was cut.

    Raises:
        ModelError: If it took too long, or wrote nothing.
    """
    model = await _required(context)
    text = ""
    stream = cast("AsyncGenerator[AIMessageChunk]", model.astream(list(messages)))
    async with _in_time(context), contextlib.aclosing(stream) as tokens:
        async for token in tokens:
            text += token.text
            if len(text) > context.max_answer_chars:
                break
    if not text.strip():
        raise ModelError("The model wrote no answer.")
    return text[: context.max_answer_chars], len(text) > context.max_answer_chars


async def _required(context: Context) -> ChatModel:
    if context.model is None:
        raise ModelError("The run has no model.")
    return await chat_model(context.model)


def _in_time(context: Context) -> AbstractAsyncContextManager[None]:
    late = f"The model did not answer within {context.model_timeout:g} s (model_timeout)."
    return within(context.model_timeout, ModelError(late))
