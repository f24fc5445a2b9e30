"""One sub-question's search: its store, its deadline, its further attempts."""

import asyncio
import contextlib
import inspect
import re
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.retry import ExponentialJitterParams

from graphs.rag.context import AnyStore, Context, StoreSource
from graphs.rag.deadlines import within
from graphs.rag.model_calls import structured
from graphs.rag.prompts import Paraphrases, paraphrase_messages
from graphs.rag.state import Passage
from milvus_tools import (
    MilvusMultiQueryRetriever,
    MilvusStore,
    MilvusToolsError,
    ScopedMilvusStore,
)
from milvus_tools.errors import AccessError, DeadlineError, EmbeddingError, MilvusError

SOURCE_FIELDS: Final = ("source", "title", "url")
"""The metadata that says where a document is from; the first that it has counts."""

_MOST_SOURCE: Final = 300  # characters
_MOST_URL: Final = 2_000
_MOST_WORDING: Final = 1_000
_WEB: Final = re.compile(r"https?://[^\s]", re.IGNORECASE)
# Seconds: one, and some, before the second attempt; two before others.
_WAITS: Final = ExponentialJitterParams(max=2.0, jitter=0.5)

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
    # A lock per function: a store that takes long to make holds up no other.
    with _locks_lock:
        lock = _locks.setdefault(make, threading.Lock())
    with lock:
        if make not in _made:
            made = make()
            if inspect.isawaitable(made):
                # `asyncio.run` takes coroutines alone, and any awaitable may have been returned.
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
    retriever = _retriever(store, await _wordings(text, context), context).with_retry(
        retry_if_exception_type=_may_pass,
        exponential_jitter_params=_WAITS,
        stop_after_attempt=context.retries + 1,
    )
    async with _searching(context):
        found = await retriever.ainvoke(text)
    return [passage(document, context.max_chars) for document in found]


async def reload(ids: Sequence[str], context: Context) -> dict[str, Passage]:
    """Read passages again that were found before a thread was resumed.

    Raises:
        SearchError: If it could not be done in time, or not at all.
    """
    store = await open_store(context)
    async with _searching(context):
        found = await store.aget_by_ids(ids)
    return {one["id"]: one for one in (passage(each, context.max_chars) for each in found)}


@contextlib.asynccontextmanager
async def _searching(context: Context) -> AsyncIterator[None]:
    late = SearchError(f"no answer within {context.search_timeout:g} s")
    try:
        async with within(context.search_timeout, late):
            yield
    except MilvusToolsError as error:
        raise SearchError(str(error)) from error


async def _wordings(text: str, context: Context) -> list[str]:
    if not context.paraphrases or context.planning_model is None:
        return []
    messages = paraphrase_messages(text, context.paraphrases)
    reply = await structured(context.planning_model, Paraphrases, messages, context)
    wordings = [] if reply is None else [one for one in reply.wordings if one.strip()]
    return [one[:_MOST_WORDING] for one in wordings[: context.paraphrases]]


def _retriever(store: AnyStore, wordings: list[str], context: Context) -> BaseRetriever:
    if not wordings:
        settings = {"k": context.k, "timeout": context.search_timeout, "filter": context.filter}
        chosen = {"search_mode": context.search_mode} if context.search_mode else {}
        return store.as_retriever(search_kwargs={**settings, **chosen})
    is_hybrid = context.search_mode in (None, "hybrid") and len(store.vector_fields) > 1
    is_open = context.search_mode is None  # then all that the store has
    mode = "sparse" if context.search_mode == "sparse" else "similarity"
    return MilvusMultiQueryRetriever(
        store,
        queries=wordings,
        k=context.k,
        filter=context.filter,
        mode="hybrid" if is_hybrid else mode,
        fallback=is_hybrid and is_open,
        query_timeout=context.search_timeout,
    )


def _may_pass(error: BaseException) -> bool:
    # Neither rights nor time come back: all attempts share one deadline.
    if isinstance(error, AccessError | DeadlineError):
        return False
    return isinstance(error, MilvusError | EmbeddingError)


def passage(document: Document, max_chars: int) -> Passage:
    """Take from a Document what the graph keeps, which a checkpointer may write often."""
    id_, metadata = document.id or "", document.metadata
    source = next((str(metadata[name]) for name in SOURCE_FIELDS if metadata.get(name)), id_)
    return Passage(
        id=id_,
        source=_cut(source, _MOST_SOURCE),
        title=_cut(str(metadata.get("title") or ""), _MOST_SOURCE),
        url=_url(metadata),
        text=_cut(document.page_content, max_chars),
    )


def _url(metadata: Mapping[str, Any]) -> str:
    """Return the address of a document's page, if it is one that a browser may open."""
    given = (str(metadata.get(name) or "") for name in ("url", "source"))
    return next(
        (one for one in given if _WEB.match(one) and len(one) <= _MOST_URL),
        "",
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
