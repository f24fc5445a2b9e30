"""All searches of one retrieval at once: bounded, within a deadline, and fused into one list."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
)
from langchain_core.documents import Document

from milvus_tools._io.tasks import cancel_and_wait, gather_or_cancel
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
    """Search for several texts at the same time.

    No search is left under way, and no run open, when it returns, fails or is cancelled.

    Args:
        texts: The texts.
        search: Searches for one.
        callbacks: Told of each search as a run of its own: `run_manager.get_child()`.
        max_concurrency: The most searches at once.
        deadline: When all of them must be done, and told; `None` for no such limit.
        stop_at_failure: Whether the first that fails ends all others.

    Returns:
        Per text what was found, or the error; `DeadlineError` for what was not done in time.

    Raises:
        Exception: The first failure, if that is to end all, or what a handler raised that may.
    """
    until = asyncio.FIRST_EXCEPTION if stop_at_failure else asyncio.ALL_COMPLETED
    open_runs: list[Run] = []
    tasks: list[asyncio.Task[Hits]] = []
    failed: list[BaseException] = []
    try:
        async with _given_up_at(deadline):
            runs = await _started(texts, callbacks, open_runs)
            slots = asyncio.Semaphore(max_concurrency)
            for text, run in zip(texts, runs, strict=True):
                tasks.append(asyncio.create_task(_one(text, search, run, slots, open_runs)))
            await asyncio.wait(tasks, return_when=until)
        failed = _failures(tasks) if stop_at_failure else []
    finally:
        await _ended(tasks, open_runs)
    if failed:
        raise failed[0]
    return [_outcome(task) for task in tasks] or [_late() for _ in texts]


@contextlib.asynccontextmanager
async def _given_up_at(deadline: Deadline | None) -> AsyncIterator[None]:
    """Leave what is inside when the deadline comes, without an error."""
    limit = asyncio.timeout(None if deadline is None else deadline.remaining)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise


async def _started(
    texts: Sequence[str], callbacks: BaseCallbackManager, open_runs: list[Run]
) -> list[Run]:
    """Start all runs before the first search.

    A handler may run in a thread: searches that begin after their own handlers would come to the
    store one by one, and share no request.
    """
    manager = AsyncCallbackManager.configure(callbacks)

    async def start(text: str) -> Run:
        run = await manager.on_retriever_start(None, text, name=NAME)
        open_runs.append(run)
        return run

    return await gather_or_cancel(map(start, texts))


async def _one(
    text: str, search: Search, run: Run, slots: asyncio.Semaphore, open_runs: list[Run]
) -> Hits:
    async with slots:
        try:
            hits = await search(text)
        except Exception as error:
            open_runs.remove(run)
            await run.on_retriever_error(error)
            raise
    await run.on_retriever_end([document for document, _ in hits])
    open_runs.remove(run)
    return hits


async def _ended(tasks: Sequence[asyncio.Task[Hits]], open_runs: Sequence[Run]) -> None:
    """Cancel what is still under way, and wait until it is over; its runs end, too."""
    await cancel_and_wait(tasks)
    given_up = DeadlineError("The search was given up.")
    told = [run.on_retriever_error(given_up) for run in open_runs]
    await asyncio.gather(*told, return_exceptions=True)


def _failures(tasks: Sequence[asyncio.Task[Hits]]) -> list[BaseException]:
    done = [task for task in tasks if task.done() and not task.cancelled()]
    return [error for task in done if (error := task.exception()) is not None]


def _outcome(task: asyncio.Task[Hits]) -> Outcome:
    if task.cancelled():
        return _late()
    error = task.exception()
    return error if isinstance(error, Exception) else task.result()


def _late() -> DeadlineError:
    return DeadlineError("The search was not done within the retriever's time.")


async def search_one(
    settings: RetrieverSettings, text: str, *, k: int, filter_: QueryFilter
) -> Hits:
    """Search for one query.

    Args:
        settings: The retriever's settings.
        text: The query.
        k: How many Documents the call is to return.
        filter_: What must hold.

    Raises:
        UnsupportedError: If the collection, or this Milvus, has no such search.
    """
    if settings.mode == "mmr":
        return await _diverse(settings, text, k, filter_)
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
        options = {**without_ranking(options), **mode}  # there is nothing to rank anew
    return await settings.store.asimilarity_search_with_score(
        text, _considered(settings, k), filter=filter_, timeout=settings.query_timeout, **options
    )


async def _diverse(settings: RetrieverSettings, text: str, k: int, filter_: QueryFilter) -> Hits:
    found = await settings.store.amax_marginal_relevance_search(
        text,
        k,
        _considered(settings, k),
        settings.lambda_mult,
        filter=filter_,
        timeout=settings.query_timeout,
        **settings.search_kwargs,
    )
    return [(document, None) for document in found]


def _considered(settings: RetrieverSettings, k: int) -> int:
    default = DEFAULT_FETCH_K if settings.mode == "mmr" else k
    return max(k, default if settings.fetch_k is None else settings.fetch_k)


def merged(
    settings: RetrieverSettings,
    outcomes: Mapping[Query, Outcome],
    k: int,
    not_made: Exception | None,
) -> list[Document]:
    """Fuse what the queries found.

    Args:
        settings: The retriever's settings.
        outcomes: What came of each query.
        k: The most Documents to return.
        not_made: Why there are no queries but the question, if they could not be made.

    Raises:
        Exception: The first failure, if none may be skipped or no query succeeded; a note says
            why none were made.
    """
    found: dict[Query, Hits] = {}
    failed: dict[str, Exception] = {}
    for query, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed[query.text] = outcome
        else:
            found[query] = outcome
    if failed and (settings.on_error == "raise" or not found):
        raise _noted(next(iter(failed.values())), not_made)
    if not_made is not None:
        failed[MAKING] = not_made
    if failed:
        kinds = ", ".join(type(error).__name__ for error in failed.values())
        _log.warning("A retrieval goes on without what failed (%d): %s", len(failed), kinds)
    return _fused(settings, found, failed, k)


def _noted(error: Exception, not_made: Exception | None) -> Exception:
    """Return the error with a note, if the queries could not be made in the first place."""
    if not_made is not None:
        error.add_note(f"Nor could the queries be made: {_said(not_made)}")
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
        failed=[{"query": query, "error": _said(error)} for query, error in failed.items()],
    )


def _said(error: Exception) -> str:
    """Say an error, but not what foreign ones might tell of addresses and keys."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, MilvusToolsError) else name
