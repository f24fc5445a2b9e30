"""Several searches at once: bounds, failures, deadlines, and runs in the trace."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
)
from langchain_core.documents import Document

from milvus_tools.errors import DeadlineError
from milvus_tools.ranking import Hits
from milvus_tools.retrievers.search import Outcome, search_all
from milvus_tools.transport.requests import Deadline
from tests.helpers.retrievers import Traced

TEXTS = [str(number) for number in range(10)]


async def searched(
    search: Callable[[str], Awaitable[Hits]],
    *,
    trace: BaseCallbackHandler | None = None,
    **options: Any,
) -> list[Outcome]:
    """Search for ten texts."""
    callbacks = AsyncCallbackManager([] if trace is None else [trace], parent_run_id=None)
    bounds = {"max_concurrency": 4, "deadline": None, "stop_at_failure": False, **options}
    return await search_all(TEXTS, search, callbacks, **bounds)


async def hit(text: str) -> Hits:
    """Find a Document that is the query."""
    await asyncio.sleep(0)
    return [(Document(id=text, page_content=text), 1.0)]


async def for_ever(_: str) -> Hits:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


def by_query(trace: Traced) -> list[dict[str, Any]]:
    """Return the runs in the order of the texts; threads may have noted them in another."""
    return sorted(trace.runs.values(), key=lambda run: TEXTS.index(run["query"]))


def others() -> set[asyncio.Task[Any]]:
    """Return the tasks that are left beside the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


async def test_no_more_run_at_once_than_may() -> None:
    """All are searched for, some at a time, and their order stays."""
    running = most = 0

    async def search(text: str) -> Hits:
        nonlocal running, most
        running += 1
        most = max(most, running)
        found = await hit(text)
        running -= 1
        return found

    outcomes = await searched(search)
    assert [hits[0][0].id for hits in outcomes if not isinstance(hits, Exception)] == TEXTS
    assert most == 4


async def test_the_first_failure_ends_the_others() -> None:
    """They are cancelled, and over when it is raised."""
    begun: list[str] = []
    ended: list[str] = []

    async def search(text: str) -> Hits:
        begun.append(text)
        if text == "3":
            raise ConnectionError(text)
        try:
            return await for_ever(text)
        finally:
            ended.append(text)

    trace = Traced()
    with pytest.raises(ConnectionError, match="3"):
        await searched(search, stop_at_failure=True, trace=trace)
    assert sorted(["3", *ended]) == begun
    assert len(begun) < len(TEXTS)
    assert not others()
    errors = [type(run["error"]) for run in by_query(trace)]
    assert errors == [DeadlineError] * 3 + [ConnectionError] + [DeadlineError] * 6


async def test_failures_are_told_where_they_happened() -> None:
    """The others' hits are there."""

    async def search(text: str) -> Hits:
        if text in "37":
            raise ConnectionError(text)
        return await hit(text)

    outcomes = await searched(search)
    failed = {
        text for text, one in zip(TEXTS, outcomes, strict=True) if isinstance(one, Exception)
    }
    assert failed == {"3", "7"}


async def test_what_is_not_done_in_time_is_an_error_of_its_own() -> None:
    """Earlier findings stay, and nothing goes on."""

    async def search(text: str) -> Hits:
        return await (for_ever(text) if text == "9" else hit(text))

    outcomes = await searched(search, deadline=Deadline.after(0.1))
    assert isinstance(outcomes[-1], DeadlineError)
    assert not any(isinstance(one, Exception) for one in outcomes[:-1])
    assert not others()


@pytest.mark.parametrize("stop_at_failure", [True, False])
async def test_a_caller_who_leaves_ends_all(stop_at_failure: bool) -> None:
    """Cancelling reaches every search, those that wait for their turn too."""
    begun = asyncio.Semaphore(0)

    async def search(text: str) -> Hits:
        begun.release()
        return await for_ever(text)

    trace = Traced()
    call = asyncio.create_task(searched(search, stop_at_failure=stop_at_failure, trace=trace))
    for _ in range(4):
        await begun.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert begun.locked()
    assert not others()
    assert all("error" in run for run in trace.runs.values())


@pytest.mark.parametrize("kind", [AsyncCallbackManager, CallbackManager])
async def test_each_search_is_a_run(kind: Any) -> None:
    """With its query and its Documents, for sync and async callers alike."""
    trace = Traced()
    await search_all(
        TEXTS, hit, kind([trace]), max_concurrency=4, deadline=None, stop_at_failure=False
    )
    runs = by_query(trace)
    assert [run["query"] for run in runs] == TEXTS
    assert [[found.id for found in run["documents"]] for run in runs] == [[one] for one in TEXTS]
    assert {run["name"] for run in runs} == {"milvus_search"}


async def test_all_runs_are_started_at_once_before_the_first_search() -> None:
    """A handler that waits for the others' runs is not waited for one by one."""
    all_started = asyncio.Barrier(len(TEXTS))
    told: list[str] = []

    class Waiting(AsyncCallbackHandler):
        async def on_retriever_start(self, _: Any, query: str, **__: Any) -> None:
            await all_started.wait()
            told.append(query)

    async def search(text: str) -> Hits:
        assert sorted(told) == TEXTS
        return await hit(text)

    assert not any(isinstance(one, Exception) for one in await searched(search, trace=Waiting()))


@pytest.mark.parametrize("stop_at_failure", [True, False])
async def test_the_deadline_holds_for_the_handlers_too(stop_at_failure: bool) -> None:
    """One that never comes back costs the searches, not the call; what was started ends."""
    errors: list[BaseException] = []

    class Stuck(AsyncCallbackHandler):
        async def on_retriever_start(self, _: Any, query: str, **__: Any) -> None:
            if query == "9":
                await asyncio.Event().wait()

        async def on_retriever_error(self, error: BaseException, **_: Any) -> None:
            errors.append(error)

    async def search(_: str) -> Hits:
        raise AssertionError

    deadline = Deadline.after(0.1)
    outcomes = await searched(
        search, trace=Stuck(), deadline=deadline, stop_at_failure=stop_at_failure
    )
    assert [type(one) for one in outcomes] == [DeadlineError] * len(TEXTS)
    assert [type(error) for error in errors] == [DeadlineError] * (len(TEXTS) - 1)
    assert not others()


async def test_a_handler_that_refuses_a_run_leaves_none_open() -> None:
    """Its error comes out, nothing is searched for, and the runs before it end."""
    started: set[Any] = set()
    ended: list[Any] = []

    class Refusing(AsyncCallbackHandler):
        raise_error = True

        async def on_retriever_start(self, _: Any, query: str, **more: Any) -> None:
            if query == "3":
                raise PermissionError(query)
            started.add(more["run_id"])

        async def on_retriever_error(self, _: BaseException, **more: Any) -> None:
            ended.append(more["run_id"])

    async def search(_: str) -> Hits:
        raise AssertionError

    with pytest.raises(PermissionError, match="3"):
        await searched(search, trace=Refusing())
    assert {*ended} == started
    assert len(ended) == len(started) >= 3
    assert not others()
