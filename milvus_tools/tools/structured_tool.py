"""A `StructuredTool` from a coroutine: async and sync, scoped, with errors for the model."""

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
    "Refused: the run does not say whose data it may use, so nothing can be read or written. "
    "Do not try again; tell the user."
)
_INTERNAL: Final = "The call failed for a reason that you can't fix. Do not repeat it as it is."
_LATER: Final = "Nothing is wrong with the arguments. Try again later, or go on without this call."
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
    """Make a tool from a coroutine.

    Args:
        settings: The operator's settings.
        verb: The verb in the tool's name.
        description: The description for the model.
        arguments: The schema of the arguments.
        work: The coroutine function. It takes the store, limited to the scope of the call, and
            the arguments, and returns the content and the artifact of the tool's message.
    """
    # With both, the tool works in sync agents and in async ones (T43).
    coroutine, func = _async_and_sync(settings, work)
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


def _async_and_sync(settings: ToolSettings, work: Work) -> tuple[Work, Callable[..., Answer]]:
    """Return the tool's async function, and the blocking version of it."""

    async def answer(runtime: Any, arguments: Mapping[str, Any]) -> Answer:
        with errors_for_model():
            return await work(_scoped(settings, runtime), **arguments)

    if not settings.needs_run:

        async def coroutine(**arguments: Any) -> Answer:
            return await answer(None, arguments)

        def func(**arguments: Any) -> Answer:
            return run_sync(answer(None, arguments))

        return coroutine, func

    runtime_type = _runtime_type()

    # LangGraph fills in only a parameter of this type, and hides it from the model (T46).
    async def coroutine_in_run(
        *,
        runtime: runtime_type = None,  # type: ignore[valid-type]
        **arguments: Any,
    ) -> Answer:
        return await answer(runtime, arguments)

    def func_in_run(
        *,
        runtime: runtime_type = None,  # type: ignore[valid-type]
        **arguments: Any,
    ) -> Answer:
        return run_sync(answer(runtime, arguments))

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
    """Return the store, limited to the scope that the run gives."""
    if not settings.needs_run:
        return settings.store
    # A model can pass a dictionary as `runtime`, but not an instance of the class.
    is_run = isinstance(runtime, _runtime_type())
    view = scoped_store(settings, runtime.context, _user_of(runtime)) if is_run else None
    if view is None:
        raise ToolException(_NO_SCOPE)
    return view


def _user_of(runtime: Any) -> Any:
    # The user is not read from `config`, which a client can send. LangGraph takes the user from
    # there only if it is an object, and JSON from a client never is.
    return None if runtime.server_info is None else runtime.server_info.user


def scoped_store(settings: ToolSettings, context: Any, user: Any) -> AnyStore | None:
    """Return the store, limited to a run's scope, or `None` if the run does not give all of it."""
    store = settings.store
    for source, origin in ((settings.scope_from_user, user), (settings.scope_from, context)):
        if source is None:
            continue
        values = {} if origin is None else _scope_values(source, origin)
        if not values or any(value is None or value == "" for value in values.values()):
            return None
        store = store.scoped(values)
    return store


def _scope_values(source: ScopeFrom, origin: Any) -> Mapping[str, Any]:
    if callable(source):
        return source(origin)
    return {
        field: origin.get(name) if isinstance(origin, Mapping) else getattr(origin, name, None)
        for field, name in source.items()
    }


@contextlib.contextmanager
def errors_for_model() -> Iterator[None]:
    """Turn every error into a `ToolException` with a message for the model.

    Errors that are not the model's fault are logged, too.
    """
    # `create_agent` ends the run at any other exception (T42).
    try:
        yield
    except ToolException:
        raise
    except MilvusToolsError as error:
        if not isinstance(error, InvalidInputError):
            _log.warning("A tool failed: %s", error)
        raise ToolException(_sentence(error)) from error
    except Exception as error:
        # The message of a foreign error could hold addresses and keys: the model does not see it.
        _log.exception("A tool failed.")
        raise ToolException(_INTERNAL) from error


def _sentence(error: MilvusToolsError) -> str:
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    done = ""
    if isinstance(error, PartialWriteError):
        done = f"Done so far: {listed(error.written, max_chars=MAX_ERROR_CHARS)}."
    return " ".join(filter(None, [cut(str(error), MAX_ERROR_CHARS), done, advice]))
