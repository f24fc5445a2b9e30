"""The concurrent searches of one retrieval: bounded, within a deadline, fused into one list."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
)
from langchain_core.documents import Document

from milvus_tools._io.tasks import cancel_and_wait, gather_or_cancel, within
from milvus_tools.errors import DeadlineError, MilvusToolsError, UnsupportedError
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.ranking import Hits, fuse
from milvus_tools.retrievers.query_generation import Query
from milvus_tools.retrievers.settings import RetrieverSettings
from milvus_tools.store.options import DEFAULT_FETCH_K, without_ranking
from milvus_tools.transport.requests import Deadline

Search = Callable[[str], Awaitable[Hits]]
Run = AsyncCallbackManagerForRetrieverRun
Outcome = Hits | Exception

NAME: Final = "milvus_search"
MAKING: Final = "(making the queries)"

_log = logging.getLogger(__name__)


async def search_all(
    texts: Sequence[str],
    search: Search,
    callbacks: BaseCallbackManager,
    *,
    max_concurrency: int,
    deadline: Deadline | None,
    stop_at_failure: bool,
) -> list[Outcome]:
    """Search for several texts concurrently.

    When this returns, fails or is cancelled, all searches have ended, and so have their runs.

    Args:
        texts: The texts.
        search: A function that searches for one text.
        callbacks: The callbacks, which get a run for each search: `run_manager.get_child()`.
        max_concurrency: The most searches at the same time.
        deadline: The deadline of all searches and of their callbacks; `None` for no deadline.
        stop_at_failure: Whether the first failure cancels all other searches.

    Returns:
        For each text its hits or the error. The error is `DeadlineError` for a search that did
        not end in time.

    Raises:
        Exception: The first failure if `stop_at_failure`, or an error of a callback handler that
            has `raise_error` set.
    """
    until = asyncio.FIRST_EXCEPTION if stop_at_failure else asyncio.ALL_COMPLETED
    open_runs: list[Run] = []
    tasks: list[asyncio.Task[Hits]] = []
    failed: list[BaseException] = []
    try:
        # No error of its own: what was found in time stays, and the rest is late.
        async with within(None if deadline is None else deadline.remaining, late=None):
            runs = await _start_runs(texts, callbacks, open_runs)
            slots = asyncio.Semaphore(max_concurrency)
            for text, run in zip(texts, runs, strict=True):
                tasks.append(asyncio.create_task(_run_search(text, search, run, slots, open_runs)))
            # Not `gather`, because failures are outcomes here, and the other hits are kept.
            await asyncio.wait(tasks, return_when=until)
        # Before the others are cancelled, which can fail at that.
        failed = _failures(tasks) if stop_at_failure else []
    finally:
        await _end_all(tasks, open_runs)
    if failed:
        raise failed[0]
    # Without tasks, the deadline came before the runs were started.
    return [_outcome(task) for task in tasks] or [_late() for _ in texts]


async def _start_runs(
    texts: Sequence[str], callbacks: BaseCallbackManager, open_runs: list[Run]
) -> list[Run]:
    """Start all runs before the first search.

    Handlers can run in threads. If each search waited only for its own handlers, the searches
    would reach the store one by one, and could not share a request.
    """
    manager = AsyncCallbackManager.configure(callbacks)

    async def start(text: str) -> Run:
        run = await manager.on_retriever_start(None, text, name=NAME)
        open_runs.append(run)
        return run

    return await gather_or_cancel(map(start, texts))


async def _run_search(
    text: str, search: Search, run: Run, slots: asyncio.Semaphore, open_runs: list[Run]
) -> Hits:
    async with slots:
        try:
            hits = await search(text)
        except Exception as error:
            # First, so that `_end_all` does not end the run a second time.
            open_runs.remove(run)
            await run.on_retriever_error(error)
            raise
    # Outside the slot, so that a slow handler holds up no other search.
    await run.on_retriever_end([document for document, _ in hits])
    open_runs.remove(run)
    return hits


async def _end_all(tasks: Sequence[asyncio.Task[Hits]], open_runs: Sequence[Run]) -> None:
    """Cancel the searches that are still running, wait for their end, and end their runs."""
    await cancel_and_wait(tasks)
    cancelled = DeadlineError("The search was cancelled before its end.")
    ends = [run.on_retriever_error(cancelled) for run in open_runs]
    # What a handler raises here must not hide the failure that is on its way.
    await asyncio.gather(*ends, return_exceptions=True)


def _failures(tasks: Sequence[asyncio.Task[Hits]]) -> list[BaseException]:
    done = [task for task in tasks if task.done() and not task.cancelled()]
    return [error for task in done if (error := task.exception()) is not None]


def _outcome(task: asyncio.Task[Hits]) -> Outcome:
    if task.cancelled():
        return _late()
    error = task.exception()
    return error if isinstance(error, Exception) else task.result()


def _late() -> DeadlineError:
    return DeadlineError("The search did not end within the retriever's timeout.")


async def search_one(
    settings: RetrieverSettings, text: str, *, k: int, filter_: QueryFilter
) -> Hits:
    """Search for one query.

    Args:
        settings: The retriever's settings.
        text: The query.
        k: The most Documents that the call returns.
        filter_: The filter of the call.

    Raises:
        UnsupportedError: If the collection, or this Milvus, does not support the mode.
    """
    if settings.mode == "mmr":
        return await _mmr(settings, text, k, filter_)
    # With one vector field, dense or BM25, there is no mode to choose.
    if len(settings.store.vector_fields) == 1:
        return await _scored(settings, text, k, filter_)
    if settings.mode == "similarity":
        return await _scored(settings, text, k, filter_, search_mode="dense")
    try:
        return await _scored(settings, text, k, filter_, search_mode="hybrid")
    except UnsupportedError:
        if not settings.fallback:
            raise
    return await _scored(settings, text, k, filter_, search_mode="dense")


async def _scored(
    settings: RetrieverSettings, text: str, k: int, filter_: QueryFilter, **mode: Any
) -> Hits:
    options = {**settings.search_kwargs, **mode}
    if options.get("search_mode") == "dense":
        options = {**without_ranking(options), **mode}  # rankers are for hybrid searches only
    return await settings.store.asimilarity_search_with_score(
        text, _fetch_k(settings, k), filter=filter_, timeout=settings.query_timeout, **options
    )


async def _mmr(settings: RetrieverSettings, text: str, k: int, filter_: QueryFilter) -> Hits:
    found = await settings.store.amax_marginal_relevance_search(
        text,
        k,
        _fetch_k(settings, k),
        settings.lambda_mult,
        filter=filter_,
        timeout=settings.query_timeout,
        **settings.search_kwargs,
    )
    return [(document, None) for document in found]


def _fetch_k(settings: RetrieverSettings, k: int) -> int:
    default = DEFAULT_FETCH_K if settings.mode == "mmr" else k
    return max(k, default if settings.fetch_k is None else settings.fetch_k)


def merged(
    settings: RetrieverSettings,
    outcomes: Mapping[Query, Outcome],
    k: int,
    not_made: Exception | None,
) -> list[Document]:
    """Fuse the hits of the queries.

    Args:
        settings: The retriever's settings.
        outcomes: The hits or the error of each query.
        k: The most Documents to return.
        not_made: The error that prevented queries beside the question, or `None`.

    Raises:
        Exception: The first failure, unless failures may be skipped and a query succeeded. If
            `not_made` is given, a note has it.
    """
    found: dict[Query, Hits] = {}
    failed: dict[str, Exception] = {}
    for query, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed[query.text] = outcome
        else:
            found[query] = outcome
    if failed and (settings.on_error == "raise" or not found):
        raise _with_note(next(iter(failed.values())), not_made)
    if not_made is not None:
        failed[MAKING] = not_made
    if failed:
        kinds = ", ".join(type(error).__name__ for error in failed.values())
        _log.warning("A retrieval continues despite failures (%d): %s", len(failed), kinds)
    return _fused(settings, found, failed, k)


def _with_note(error: Exception, not_made: Exception | None) -> Exception:
    if not_made is not None:
        error.add_note(f"The queries could not be made either: {_redacted(not_made)}")
        _log.warning(
            "A retrieval failed (%s), and its queries could not be made: %s",
            type(error).__name__,
            type(not_made).__name__,
        )
    return error


def _fused(
    settings: RetrieverSettings,
    found: Mapping[Query, Hits],
    failed: Mapping[str, Exception],
    k: int,
) -> list[Document]:
    return fuse(
        {query.text: hits for query, hits in found.items()},
        k,
        [query.weight for query in found],
        settings.rank_constant,
        key=settings.retrieval_key,
        failed=[{"query": query, "error": _redacted(error)} for query, error in failed.items()],
    )


def _redacted(error: Exception) -> str:
    """Return the name of an error, and its message if it can't contain addresses and keys."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, MilvusToolsError) else name
