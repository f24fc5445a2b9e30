"""All searches of one retrieval at once: bounded, within a deadline, each a run in the trace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
)

from milvus_tools._io.tasks import cancel_and_wait, gather_or_cancel
from milvus_tools.errors import DeadlineError
from milvus_tools.ranking import Hits
from milvus_tools.transport.requests import Deadline

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
