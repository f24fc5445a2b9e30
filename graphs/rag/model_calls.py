"""Calls of the chat models: bounded in time, and never in their place anything else.

A model may be bound, configured, or have retries or fallbacks: what wraps it stays around it.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar, cast

from langchain.chat_models import init_chat_model
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableSequence
from langchain_core.utils.json import parse_json_markdown
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel, ValidationError

from graphs.rag.context import ChatModel, Context
from graphs.rag.deadlines import within
from graphs.rag.prompts import JSON
from graphs.rag.thoughts import said, without_thoughts
from milvus_tools.retrievers import inside_wrappers

ATTEMPTS: Final = 2
"""The most attempts at a structured output that can be read."""

MAX_THOUGHTS: Final = 200_000
"""The most characters that a model may write, thoughts included, before it is cut."""

Reply = TypeVar("Reply", bound=BaseModel)
Model = str | ChatModel


class ModelError(RuntimeError):
    """The model did not answer in time, said nothing, or can't do what is asked of it."""


async def structured(
    model: Model, schema: type[Reply], messages: Sequence[BaseMessage], context: Context
) -> Reply | None:
    """Ask a model for a structured output; its tokens are not streamed to the graph's caller.

    Returns:
        The output, or `None` if none could be read, twice.

    Raises:
        ModelError: If it took too long, or is no chat model. Other errors are the provider's own.
    """
    asker = inside_wrappers(
        await chat_model(model),
        functools.partial(_asker, schema=schema, method=context.structured_output),
    ).with_config(tags=[TAG_NOSTREAM])
    for _ in range(ATTEMPTS):
        reply = _read(schema, await _asked(asker, messages, context))
        if reply is not None:
            return reply
    return None


async def written(model: Model, messages: Sequence[BaseMessage], context: Context) -> AIMessage:
    """Let a model write, token by token.

    Returns:
        The text without its thoughts. It is longer than `max_answer_chars` if it did not end.

    Raises:
        ModelError: If it took too long, wrote nothing, or is no chat model.
    """
    writer = inside_wrappers(
        await chat_model(model), functools.partial(_writer, most=context.max_answer_chars)
    )
    async with _in_time(context):
        message: AIMessage = await writer.ainvoke(list(messages))
    if not message.text.strip():
        raise ModelError("The model wrote no answer.")
    return message


async def chat_model(model: Model) -> ChatModel:
    """Return the model, made once and off the caller's loop if it is named."""
    return await asyncio.to_thread(_named, model) if isinstance(model, str) else model


@functools.lru_cache(maxsize=16)
def _named(name: str) -> ChatModel:
    made: ChatModel = init_chat_model(name)
    return made


def _asker(model: ChatModel, *, schema: type[BaseModel], method: str) -> ChatModel:
    """Return a model that is told to reply in a schema; its reply is not read yet."""
    if isinstance(model, BaseChatModel):
        # Streamed, as it is if the graph's caller streams messages, it warns, and gains nothing.
        model = model.model_copy(update={"disable_streaming": True})
    try:
        chain = cast("Any", model).with_structured_output(schema, method=method)
    except AttributeError as error:
        raise ModelError(f"{type(model).__name__} is no chat model.") from error
    except NotImplementedError:
        return _told(model, schema)
    asker = _without_parser(chain)
    return _told(asker, schema) if method == "json_mode" else asker


def _without_parser(chain: ChatModel) -> ChatModel:
    """Leave out the last step, which would take a thought for the reply, or lose all of it."""
    if not isinstance(chain, RunnableSequence):
        return chain
    first, *others, _parser = chain.steps
    return RunnableSequence(first, *others) if others else first


def _told(model: ChatModel, schema: type[BaseModel]) -> ChatModel:
    """Tell the schema to a model whom nothing else tells it."""
    told = HumanMessage(JSON.format(schema=json.dumps(schema.model_json_schema())))

    async def ask(messages: list[BaseMessage], config: RunnableConfig, **kwargs: Any) -> Any:
        return await model.ainvoke([*messages, told], config, **kwargs)

    return RunnableLambda(ask)


async def _asked(asker: ChatModel, messages: Sequence[BaseMessage], context: Context) -> Any:
    """Return the reply, or what is known of one that the provider's client could not read."""
    try:
        async with _in_time(context):
            return await asker.ainvoke(list(messages))
    except ValidationError as error:  # of a client that reads the output itself
        return error.errors()[0]["input"]
    except OutputParserException as error:
        return error.llm_output
    except Exception as error:
        if _was_cut(error):
            return None
        raise


def _was_cut(error: Exception) -> bool:
    """Tell whether the model wrote on until its limit: openai's error, which may be missing."""
    return type(error).__name__ == "LengthFinishReasonError"


def _read(schema: type[Reply], reply: Any) -> Reply | None:
    try:
        return schema.model_validate(_content(reply))
    except (ValueError, RecursionError):
        return None


def _content(reply: Any) -> Any:
    """Return what a model replied, as JSON has it.

    Raises:
        ValueError: If it is a text without JSON.
    """
    match reply:
        case AIMessage(tool_calls=[call, *_]):
            return call["args"]
        case BaseMessage():
            return parse_json_markdown(said(reply), parser=json.loads)
        case str():
            return parse_json_markdown(without_thoughts(reply), parser=json.loads)
        case BaseModel():
            return reply.model_dump()
    return reply


def _writer(model: ChatModel, *, most: int) -> ChatModel:
    """Return what writes with a model, and stops it where it does not end."""
    model = _without_own_timeout(model)

    async def write(messages: Any, config: RunnableConfig, **kwargs: Any) -> AIMessage:
        text, id_ = "", None
        usage: UsageMetadata | None = None
        stream = cast("AsyncGenerator[AIMessageChunk]", model.astream(messages, config, **kwargs))
        next_look = most
        async with contextlib.aclosing(stream) as tokens:
            async for token in tokens:
                text += _text(token, model)
                id_ = token.id or id_
                usage = add_usage(usage, token.usage_metadata) if token.usage_metadata else usage
                if len(text) > next_look:
                    if len(without_thoughts(text)) > most or len(text) > MAX_THOUGHTS:
                        break
                    next_look *= 2
        return AIMessage(without_thoughts(text)[: most + 1], id=id_, usage_metadata=usage)

    return RunnableLambda(write)


def _without_own_timeout(model: ChatModel) -> ChatModel:
    """Turn off langchain-openai's limit between two tokens, unless the user has set it.

    It is shorter than most values of `model_timeout`, and its error would come first.
    """
    name = "stream_chunk_timeout"
    if not isinstance(model, BaseChatModel) or name not in type(model).model_fields:
        return model
    is_set = name in model.model_fields_set
    return model if is_set else model.model_copy(update={name: None})


def _text(token: object, model: ChatModel) -> str:
    if not isinstance(token, AIMessage):
        raise ModelError(f"{type(model).__name__} is no chat model.")
    return str(token.text)


def _in_time(context: Context) -> AbstractAsyncContextManager[None]:
    late = f"The model did not answer within {context.model_timeout:g} s (model_timeout)."
    return within(context.model_timeout, ModelError(late))
