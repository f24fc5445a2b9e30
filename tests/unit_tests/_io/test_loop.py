"""The I/O loop: its thread's life, and how callers on other loops and threads reach it."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from milvus_tools._io.loop import THREAD_NAME, Portal, ajoin, join, portal

SECONDS = 30.0  # within which whatever ends at all has ended
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture
def one() -> Iterator[Portal]:
    """A portal of the test's own, without a holder; its loop is closed in the end."""
    one = Portal()
    yield one
    one._loop.close()


@pytest.fixture
def held(one: Portal) -> Iterator[Portal]:
    """The same portal, held by the test."""
    one.acquire()
    yield one
    join(one.release())


async def here() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    """Return the loop and the thread that run this."""
    return asyncio.get_running_loop(), threading.current_thread()


async def fail() -> None:
    """Raise."""
    raise LookupError("lost")


def in_thread(call: Callable[[], object]) -> list[object]:
    """Call in another thread; return what came of it."""
    result: list[object] = []

    def run() -> None:
        try:
            result.append(call())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()
    return result


def test_the_thread_runs_while_somebody_holds_the_portal(one: Portal) -> None:
    """The first holder starts it, the last one stops it, and it is a daemon with our name."""
    one.acquire()
    one.acquire()
    _, thread = one.run_sync(here())
    assert thread.daemon
    assert thread.name.startswith(THREAD_NAME)
    assert one.release() is None
    assert one.run_sync(here())[1] is thread
    stopping = one.release()
    assert stopping is thread
    join(stopping)
    assert not thread.is_alive()


def test_the_same_loop_goes_on_in_the_next_thread(one: Portal) -> None:
    """Objects bound to the loop stay usable after its thread stops."""
    one.acquire()
    loop, first = one.run_sync(here())
    future = loop.create_future()
    join(one.release())
    one.acquire()
    again, second = one.run_sync(here())
    assert again is loop
    assert second is not first

    async def resolve() -> str:
        future.set_result("kept")
        return str(await future)

    assert one.run_sync(resolve()) == "kept"
    join(one.release())


def test_holders_may_come_while_the_thread_stops(one: Portal) -> None:
    """A new thread waits for the one before it, so the loop never runs twice."""
    for _ in range(50):
        one.acquire()
        one.run_sync(here())
        one.release()
    one.acquire()
    assert one.run_sync(here())[1].is_alive()
    join(one.release())


def test_joining_nothing_is_nothing() -> None:
    """A portal that has another holder gives no thread to wait for."""
    join(None)
    asyncio.run(ajoin(None))


async def test_the_thread_is_joined_without_blocking_the_loop(one: Portal) -> None:
    """`ajoin` returns when the thread has left the loop."""
    one.acquire()
    loop, thread = await one.run(here())
    await ajoin(one.release())
    assert not loop.is_running()
    thread.join(SECONDS)
    assert not thread.is_alive()


async def test_work_runs_on_the_loop_of_the_portal(held: Portal) -> None:
    """Callers on another loop await it; on the portal's own loop it is awaited in place."""
    loop, thread = await held.run(here())
    assert loop is not asyncio.get_running_loop()
    assert thread is not threading.current_thread()
    assert not held.is_current()

    async def nested() -> bool:
        task = asyncio.current_task()

        async def same_task() -> bool:
            return asyncio.current_task() is task

        return held.is_current() and await held.run(same_task())

    assert await held.run(nested())


def test_all_loops_and_threads_share_the_loop(held: Portal) -> None:
    """Loop after loop, thread after thread, sync or async: the work runs in one place."""
    places = {held.run_sync(here())[0] for _ in range(2)}
    places |= {asyncio.run(held.run(here()))[0] for _ in range(2)}
    (inside,) = in_thread(lambda: held.run_sync(here())[0])
    (awaited,) = in_thread(lambda: asyncio.run(held.run(here()))[0])
    assert places == {inside} == {awaited}


async def test_errors_reach_the_caller(held: Portal) -> None:
    """Both ways of calling raise what the work raised."""
    with pytest.raises(LookupError, match="lost"):
        await held.run(fail())
    with pytest.raises(LookupError, match="lost"):
        await asyncio.to_thread(held.run_sync, fail())


def test_waiting_is_possible_on_a_loop_of_the_callers(held: Portal) -> None:
    """A sync call inside a coroutine blocks that coroutine's loop, and ends."""

    async def sync_inside() -> asyncio.AbstractEventLoop:
        return held.run_sync(here())[0]

    assert asyncio.run(sync_inside()) is held.run_sync(here())[0]


def test_waiting_on_the_portals_loop_is_refused(held: Portal) -> None:
    """There it would wait for itself: it raises, and the work is closed and never begun."""

    async def wait_for_itself() -> None:
        held.run_sync(fail())

    with pytest.raises(RuntimeError, match="async twin"):
        held.run_sync(wait_for_itself())
    held.require_elsewhere()


async def test_cancelling_reaches_the_work(held: Portal) -> None:
    """A caller that is cancelled cancels what runs for it, and nothing else."""
    began, ended = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.set()
            raise

    task = asyncio.create_task(held.run(work()))
    assert await asyncio.to_thread(began.wait, SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, SECONDS)
    assert await held.run(here())


async def test_a_deadline_of_the_callers_reaches_the_work(held: Portal) -> None:
    """`asyncio.timeout` on the caller's loop cancels the work on the portal's."""
    ended = threading.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await held.run(work())
    assert await asyncio.to_thread(ended.wait, SECONDS)


async def test_work_sees_the_callers_context(held: Portal) -> None:
    """Context variables are those of the call, and what the work sets is its own."""

    async def look() -> str:
        seen = where.get()
        where.set("changed inside")
        return seen

    where.set("async")
    assert await held.run(look()) == "async"
    assert where.get() == "async"
    context = contextvars.copy_context()
    context.run(where.set, "sync")
    assert context.run(held.run_sync, look()) == "sync"
    assert context[where] == "sync"


def test_forgotten_work_holds_the_portal_until_it_ends(one: Portal) -> None:
    """`run_detached` runs work without a caller, and then releases the loop in its place."""
    one.acquire()
    _, thread = one.run_sync(here())
    done = threading.Event()

    async def work() -> None:
        done.set()

    one.run_detached(work())
    assert done.wait(SECONDS)
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_process_has_one_portal(one: Portal) -> None:
    """All callers get the same one; a forked child gets another, which knows of the fork."""
    assert portal() is portal()
    alone = one.child()
    one.acquire()
    child = one.child()
    join(one.release())
    grandchild = child.child()
    flags = [each.forked_from_open for each in (one, alone, child, grandchild)]
    assert flags == [False, False, True, True]
    for each in (alone, child, grandchild):
        each._loop.close()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """An event for hanging calls to wait for; it happens when the test is over."""
    event = threading.Event()
    yield event
    event.set()


async def in_the_loops_threads(call: Callable[[], object]) -> object:
    """Call a function in the default executor of the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, call)


async def in_the_threads_of(held: Portal, model: object, call: Callable[[], object]) -> object:
    """Call it in what a model finds for the default executor."""
    with held.threads_of(model).used():
        return await in_the_loops_threads(call)


async def test_r09_hanging_calls_hold_up_no_other_kind_of_work(
    held: Portal, let_go: threading.Event
) -> None:
    """A model's calls, those of unknown code, Milvus's and computation each have their threads."""
    one, two = object(), object()
    kinds: list[Callable[[Callable[[], object]], Coroutine[Any, Any, object]]] = [
        in_the_loops_threads,
        functools.partial(in_the_threads_of, held, one),
        functools.partial(in_the_threads_of, held, two),
        held.waiting.run,
        held.computing.run,
    ]
    kept = [held.threads_of(one), held.threads_of(two)]
    hanging = []
    for number, kind in enumerate(kinds):
        for other in kinds[number:]:
            assert await held.run(other(threading.get_ident)) != threading.get_ident()
        hanging += [asyncio.create_task(held.run(kind(let_go.wait))) for _ in range(300)]
    assert held.threads_of(one) is kept[0] is not kept[1]
    let_go.set()
    assert await asyncio.gather(*hanging) == [True] * len(hanging)


def test_r09_the_thread_ends_though_a_model_hangs(one: Portal, let_go: threading.Event) -> None:
    """Who lets go of the portal waits for no model, nor does who holds it next."""
    began = threading.Semaphore(0)

    def hang() -> None:
        began.release()
        let_go.wait(SECONDS)

    model = object()
    one.acquire()
    calls = (in_the_loops_threads(hang), in_the_threads_of(one, model, hang))
    hanging = [asyncio.run_coroutine_threadsafe(call, one._loop) for call in calls]
    for _ in hanging:
        assert began.acquire(timeout=SECONDS)
    stopping = one.release()
    assert stopping is not None
    stopping.join(SECONDS)
    assert not stopping.is_alive()
    one.acquire()
    assert one.run_sync(here())[1].is_alive()
    assert one.run_sync(in_the_threads_of(one, model, lambda: "again")) == "again"
    let_go.set()
    assert [call.result(SECONDS) for call in hanging] == [None, None]
    join(one.release())
