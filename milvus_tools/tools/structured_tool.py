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
from milvus_tools.tools.settings import AnyStore, ScopeFrom, ToolSettings

Answer = tuple[str, Any]
Work = Callable[..., Awaitable[Answer]]

MAX_ERROR_CHARS: Final = 1_000
_NO_SCOPE: Final = (
    "Refused: the run does not say for whom it is, so nothing may be read or written. "
    "Do not try again; tell the user."
)
_INTERNAL: Final = "The call failed for a reason that you can't fix. Do not repeat it as it is."
_LATER: Final = "Nothing is wrong with the arguments; try again later, or go on without it."
_ADVICE: Final[Mapping[type[MilvusToolsError], str]] = {
    InvalidInputError: "Fix the arguments and try again.",
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
        with errors_for_model():
            return await work(_scoped(settings, runtime), **arguments)

    if not settings.needs_run:

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
            'scope_from and scope_from_user need an extra: pip install "milvus_tools[agents]"'
        ) from error
    return module.ToolRuntime  # type: ignore[no-any-return]


def _scoped(settings: ToolSettings, runtime: Any) -> AnyStore:
    """Return the store, held to the scope that the run says."""
    if not settings.needs_run:
        return settings.store
    # A dictionary that a model made up is no runtime.
    is_run = isinstance(runtime, _runtime_type())
    view = scoped_store(settings, runtime.context, _user_of(runtime)) if is_run else None
    if view is None:
        raise ToolException(_NO_SCOPE)
    return view


def _user_of(runtime: Any) -> Any:
    # Not `config`: LangGraph takes the user from there only if it is an object. What a client
    # sends as JSON is none, even where no server overwrites it.
    return None if runtime.server_info is None else runtime.server_info.user


def scoped_store(settings: ToolSettings, context: Any, user: Any) -> AnyStore | None:
    """Return the store as a run may see it, or `None` if the run does not say its scope."""
    store = settings.store
    for source, said in ((settings.scope_from_user, user), (settings.scope_from, context)):
        if source is None:
            continue
        values = {} if said is None else _scope_values(source, said)
        if not values or any(value is None or value == "" for value in values.values()):
            return None
        store = store.scoped(values)
    return store


def _scope_values(source: ScopeFrom, said: Any) -> Mapping[str, Any]:
    if callable(source):
        return source(said)
    return {
        field: said.get(name) if isinstance(said, Mapping) else getattr(said, name, None)
        for field, name in source.items()
    }


@contextlib.contextmanager
def errors_for_model() -> Iterator[None]:
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
