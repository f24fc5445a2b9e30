"""One sub-question's search: its store, its deadline, its further attempts."""

import asyncio
import inspect
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_core.documents import Document
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from graphs.rag.context import AnyStore, Context, StoreSource
from graphs.rag.deadlines import within
from graphs.rag.state import Passage
from milvus_tools import MilvusStore, MilvusToolsError, ScopedMilvusStore
from milvus_tools.errors import AccessError, DeadlineError, EmbeddingError, MilvusError

SOURCE_FIELDS: Final = ("source", "title", "url")
"""The metadata that says where a document is from; the first that it has counts."""

_MOST_SOURCE: Final = 300  # characters
_FIRST_WAIT: Final = 0.1  # seconds before the second attempt, at most; doubled after each
_MOST_WAIT: Final = 2.0

_made: weakref.WeakKeyDictionary[Callable[[], Any], AnyStore] = weakref.WeakKeyDictionary()
_locks: weakref.WeakKeyDictionary[Callable[[], Any], threading.Lock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


class SearchError(RuntimeError):
    """A sub-question could not be searched; the message says why."""


async def open_store(context: Context) -> AnyStore:
    """Return the run's store, in the run's scope; made off the loop if it isn't there yet.

    Raises:
        ValueError: If there is none.
        SearchError: If it was not made in time.
    """
    if context.store is None:
        raise ValueError("The run has no store: give one in its context, or to build_graph().")
    source: StoreSource = context.store
    if isinstance(source, MilvusStore | ScopedMilvusStore):
        store: AnyStore = source
    else:
        made = _made.get(source)
        store = made if made is not None else await _made_in_time(source, context)
    return store.scoped(context.scope) if context.scope else store


async def _made_in_time(make: Callable[[], Any], context: Context) -> AnyStore:
    late = f"The store was not made within {context.store_timeout:g} s (store_timeout)."
    async with within(context.store_timeout, SearchError(late)):
        return await asyncio.to_thread(_make_once, make)


def _make_once(make: Callable[[], Any]) -> AnyStore:
    with _locks_lock:
        lock = _locks.setdefault(make, threading.Lock())
    with lock:
        if make not in _made:
            made = make()
            if inspect.isawaitable(made):
                made = asyncio.run(_awaited(made))
            if not isinstance(made, MilvusStore | ScopedMilvusStore):
                raise TypeError(f"The context's store made a {type(made).__name__}, no store.")
            _made[make] = made
        return _made[make]


async def _awaited(made: Any) -> Any:
    return await made


async def search(text: str, context: Context) -> list[Passage]:
    """Search for a text.

    Raises:
        SearchError: If it could not be done in time, or not at all.
    """
    store = await open_store(context)
    try:
        async with asyncio.timeout(context.search_timeout):
            found = await _attempted(store, text, context)
    except TimeoutError as error:
        raise SearchError(f"no answer within {context.search_timeout:g} s") from error
    except MilvusToolsError as error:
        raise SearchError(str(error)) from error
    return [passage(document, context.max_chars) for document in found]


async def _attempted(store: AnyStore, text: str, context: Context) -> list[Document]:
    attempts = AsyncRetrying(
        stop=stop_after_attempt(context.retries + 1),
        wait=wait_random_exponential(_FIRST_WAIT, max=_MOST_WAIT),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    mode = {"search_mode": context.search_mode} if context.search_mode else {}
    seconds = context.search_timeout
    return await attempts(store.asimilarity_search, text, k=context.k, timeout=seconds, **mode)


def _may_pass(error: BaseException) -> bool:
    """Tell whether a further attempt may have another end."""
    if isinstance(error, AccessError | DeadlineError):
        return False
    return isinstance(error, MilvusError | EmbeddingError)


def passage(document: Document, max_chars: int) -> Passage:
    """Take from a Document what the graph keeps, which a checkpointer may write often."""
    id_ = document.id or ""
    source = _source(document.metadata) or id_
    return Passage(
        id=id_, source=_cut(source, _MOST_SOURCE), text=_cut(document.page_content, max_chars)
    )


def _source(metadata: Mapping[str, Any]) -> str:
    return next((str(metadata[name]) for name in SOURCE_FIELDS if metadata.get(name)), "")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
