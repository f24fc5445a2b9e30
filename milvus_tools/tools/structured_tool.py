"""From a coroutine to a `StructuredTool`: its two faces, its scope, and what it says of errors."""

import contextlib
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, cast

from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel

from milvus_tools._io.loop import run_sync
from milvus_tools._text import cut
from milvus_tools.errors import (
    AccessError,
    DeadlineError,
    EmbeddingError,
    InvalidInputError,
    MilvusToolsError,
    PartialWriteError,
    UnavailableError,
)
from milvus_tools.tools.arguments import explained
from milvus_tools.tools.formatting import listed
from milvus_tools.tools.settings import AnyStore, ToolSettings

Answer = tuple[str, Any]
Work = Callable[..., Awaitable[Answer]]

MAX_ERROR_CHARS: Final = 1_000
_NO_SCOPE: Final = (
    "Refused: the run does not say for whom it is, so nothing may be read or written. "
    "Do not try again; tell the user."
)
_INTERNAL: Final = "The call failed for a reason that you can't mend. Do not repeat it as it is."
_LATER: Final = "Nothing is wrong with the arguments; try again later, or go on without it."
_ADVICE: Final[Mapping[type[MilvusToolsError], str]] = {
    InvalidInputError: "Mend the arguments and call again.",
    AccessError: "Do not try again; tell the user.",
    DeadlineError: _LATER,
    EmbeddingError: _LATER,
    UnavailableError: _LATER,
}

_log = logging.getLogger(__name__)


def make_tool(
    settings: ToolSettings, verb: str, description: str, arguments: type[BaseModel], work: Work
) -> StructuredTool:
    """Make a tool of a coroutine.

    Args:
        settings: The operator's settings.
        verb: What it does, as its name says.
        description: What the model reads of it.
        arguments: The schema of its arguments.
        work: Does it: takes the store, held to the call's scope, and the arguments, and returns
            the content and the artifact of the tool's message.
    """
    coroutine, func = _faces(settings, work)
    return StructuredTool(
        name=settings.name(verb),
        description=description,
        args_schema=arguments,
        coroutine=coroutine,
        func=func,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=cast("Callable[[Any], str]", explained),
    )


def _faces(settings: ToolSettings, work: Work) -> tuple[Work, Callable[..., Answer]]:
    """Return the async face and the sync one, which waits for it."""

    async def answered(runtime: Any, arguments: Mapping[str, Any]) -> Answer:
        with _told():
            return await work(_scoped(settings, runtime), **arguments)

    if settings.scope_from is None:

        async def coroutine(**arguments: Any) -> Answer:
            return await answered(None, arguments)

        def func(**arguments: Any) -> Answer:
            return run_sync(answered(None, arguments))

        return coroutine, func

    runtime_type = _runtime_type()

    # Only a parameter of this type is filled in by LangGraph, and hidden from the model.
    async def coroutine_in_run(
        *,
        runtime: runtime_type = None,  # type: ignore[valid-type]
        **arguments: Any,
    ) -> Answer:
        return await answered(runtime, arguments)

    def func_in_run(
        *,
        runtime: runtime_type = None,  # type: ignore[valid-type]
        **arguments: Any,
    ) -> Answer:
        return run_sync(answered(runtime, arguments))

    return coroutine_in_run, func_in_run


def _runtime_type() -> type[Any]:
    try:
        module = importlib.import_module("langgraph.prebuilt")
    except ImportError as error:
        raise ImportError(
            'scope_from needs an extra: pip install "milvus_tools[agents]"'
        ) from error
    return module.ToolRuntime  # type: ignore[no-any-return]


def _scoped(settings: ToolSettings, runtime: Any) -> AnyStore:
    """Return the store, held to the scope that the run's context says."""
    if settings.scope_from is None:
        return settings.store
    # A dictionary that a model made up is no runtime.
    context = runtime.context if isinstance(runtime, _runtime_type()) else None
    view = view_for(settings, context)
    if view is None:
        raise ToolException(_NO_SCOPE)
    return view


def view_for(settings: ToolSettings, context: Any) -> AnyStore | None:
    """Return the store as a run's context may see it, or `None` if that does not say."""
    if settings.scope_from is None:
        return settings.store
    values = {} if context is None else _scope_values(settings, context)
    if not values or any(value is None or value == "" for value in values.values()):
        return None
    return settings.store.scoped(values)


def _scope_values(settings: ToolSettings, context: Any) -> Mapping[str, Any]:
    if callable(settings.scope_from):
        return settings.scope_from(context)
    return {
        field: context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
        for field, name in (settings.scope_from or {}).items()
    }


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn whatever fails into a sentence for the model; what is not its fault is logged, too."""
    try:
        yield
    except ToolException:
        raise
    except MilvusToolsError as error:
        if not isinstance(error, InvalidInputError):
            _log.warning("A tool failed: %s", error)
        raise ToolException(_sentence(error)) from error
    except Exception as error:
        _log.exception("A tool failed.")
        raise ToolException(_INTERNAL) from error


def _sentence(error: MilvusToolsError) -> str:
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    done = ""
    if isinstance(error, PartialWriteError):
        done = f"Done so far: {listed(error.written)}."
    return " ".join(filter(None, [cut(str(error), MAX_ERROR_CHARS), done, advice]))
