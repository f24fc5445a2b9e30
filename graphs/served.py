"""The graphs as `langgraph.json` serves them: on the deployment's collection, for the run's user.

The server calls these functions for every run, and to read a graph's schemas or a thread's state,
where nothing is opened.
"""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any, Final

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langgraph_sdk.runtime import ServerRuntime

from graphs.agent import Agent, build_agent
from graphs.auth import scope_of
from graphs.index import IndexGraph, build_index
from graphs.rag import Context, build_graph
from graphs.rag.wikipedia import wikipedia_store
from milvus_tools import MilvusStore, MilvusToolsError, ScopedMilvusStore, local_embeddings
from milvus_tools.environment import Environment

AnyStore = MilvusStore | ScopedMilvusStore
Scope = tuple[tuple[str, str], ...]

ENVIRONMENT: Final = Environment.read()
_making: Final = threading.Lock()


class ServingError(RuntimeError):
    """A run can't begin; the message says why, and the server shows it to the client."""


def rag(runtime: ServerRuntime[Any]) -> Any:
    """Return the graph that answers questions, held to the user's tenant.

    Raises:
        TenantError: If the user has none.
    """
    return _rag(_scope(runtime))


async def agent(runtime: ServerRuntime[Any]) -> Agent:
    """Return the agent, held to the user's tenant.

    Raises:
        TenantError: If the user has none.
        ServingError: If the deployment has no chat model, or the collection can't be read.
    """
    return await asyncio.to_thread(_agent, _scope(runtime), runs=_runs(runtime))


async def index(runtime: ServerRuntime[Any]) -> IndexGraph:
    """Return the graph that writes Documents, held to the user's tenant.

    Raises:
        TenantError: If the user has none.
        ServingError: If the deployment does not allow writes.
    """
    return await asyncio.to_thread(_index, _scope(runtime), runs=_runs(runtime))


def _runs(runtime: ServerRuntime[Any]) -> bool:
    return runtime.execution_runtime is not None


def _scope(runtime: ServerRuntime[Any]) -> Scope:
    """Return the scope of a run; what only reads a graph's shape has none, and touches nothing."""
    return tuple(scope_of(runtime.user).items()) if _runs(runtime) else ()


@functools.lru_cache(maxsize=256)  # tenants
def _rag(scope: Scope) -> Any:
    # The function, not the store: the graph calls it at its first run, off the server's loop.
    return build_graph(Context(store=deployed_store, scope=dict(scope), model=ENVIRONMENT.model))


def _agent(scope: Scope, *, runs: bool) -> Agent:
    writes = ENVIRONMENT.allow_writes
    if not runs:
        return build_agent(_unopened(), _speechless(), allow_writes=writes, filter_fields={})
    with _said_to_client():
        model = _model(ENVIRONMENT.required_model())
        return build_agent(_scoped(scope), model, allow_writes=writes, allow_dynamic=True)


def _index(scope: Scope, *, runs: bool) -> IndexGraph:
    if not runs:
        return build_index(_unopened())
    if not ENVIRONMENT.allow_writes:
        raise ServingError("Nothing is written: MILVUS_TOOLS_ALLOW_WRITES is not true.")
    return build_index(_scoped(scope))


def _scoped(scope: Scope) -> AnyStore:
    store = deployed_store()
    return store.scoped(dict(scope)) if scope else store


def deployed_store() -> MilvusStore:
    """Return the deployment's store, which all runs share and the process closes. Blocks."""
    with _making:
        return _made_store()


@functools.cache
def _made_store() -> MilvusStore:
    with _said_to_client():
        return ENVIRONMENT.store() if ENVIRONMENT.names_store else wikipedia_store()


@contextlib.contextmanager
def _said_to_client() -> Iterator[None]:
    """Raise what a client may read as an error that the server does not hide."""
    try:
        yield
    except (MilvusToolsError, ImportError) as error:
        raise ServingError(str(error)) from error


@functools.cache
def _model(name: str) -> BaseChatModel:
    return init_chat_model(name)


@functools.cache
def _unopened() -> MilvusStore:
    """Return a store for a graph that does not run: it connects to nothing before a call."""
    return MilvusStore(local_embeddings, connection_args={"uri": "./unopened.db"})


@functools.cache
def _speechless() -> BaseChatModel:
    return FakeListChatModel(responses=[])
