"""All searches of one retrieval at once: bounded, within a deadline, each a run in the trace."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
)

from milvus_tools.errors import DeadlineError
from milvus_tools.fusion import Hits

Search = Callable[[str], Awaitable[Hits]]
Run = AsyncCallbackManagerForRetrieverRun
Outcome = Hits | Exception

NAME: Final = "milvus_search"


async def search_all(
    texts: Sequence[str],
    search: Search,
    callbacks: BaseCallbackManager,
    *,
    max_concurrency: int,
    seconds: float | None,
    stop_at_failure: bool,
) -> list[Outcome]:
    """Search for several texts at the same time.

    No search is left under way when it returns, or is cancelled.

    Args:
        texts: The texts.
        search: Searches for one.
        callbacks: Told of each search as a run of its own: `run_manager.get_child()`.
        max_concurrency: The most searches at once.
        seconds: How long all of them may take.
        stop_at_failure: Whether the first that fails ends all others.

    Returns:
        Per text what was found, or the error; `DeadlineError` for what was not done in time.

    Raises:
        Exception: The first failure, if that is to end all.
    """
    runs = await _started(texts, callbacks)
    slots = asyncio.Semaphore(max_concurrency)
    tasks = [
        asyncio.create_task(_one(text, search, run, slots))
        for text, run in zip(texts, runs, strict=True)
    ]
    until = asyncio.FIRST_EXCEPTION if stop_at_failure else asyncio.ALL_COMPLETED
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=until)
        failed = _failures(tasks) if stop_at_failure else []
    finally:
        await _ended(tasks, runs)
    if failed:
        raise failed[0]
    return [_outcome(task) for task in tasks]


async def _started(texts: Sequence[str], callbacks: BaseCallbackManager) -> list[Run]:
    """Start all runs before the first search.

    A handler may run in a thread: searches that begin after their own handlers would come to the
    store one by one, and share no request.
    """
    manager = AsyncCallbackManager.configure(callbacks)
    return [await manager.on_retriever_start(None, text, name=NAME) for text in texts]


async def _one(text: str, search: Search, run: Run, slots: asyncio.Semaphore) -> Hits:
    async with slots:
        try:
            hits = await search(text)
        except Exception as error:
            await run.on_retriever_error(error)
            raise
    await run.on_retriever_end([document for document, _ in hits])
    return hits


async def _ended(tasks: Sequence[asyncio.Task[Hits]], runs: Sequence[Run]) -> None:
    """Cancel what is still under way, and wait until it is over; its runs end, too."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task, run in zip(tasks, runs, strict=True):
        if task.cancelled():
            await run.on_retriever_error(DeadlineError("The search was given up."))


def _failures(tasks: Sequence[asyncio.Task[Hits]]) -> list[BaseException]:
    done = [task for task in tasks if task.done() and not task.cancelled()]
    return [error for task in done if (error := task.exception()) is not None]


def _outcome(task: asyncio.Task[Hits]) -> Outcome:
    if task.cancelled():
        return DeadlineError("The search was not done within the retriever's time.")
    error = task.exception()
    return error if isinstance(error, Exception) else task.result()
