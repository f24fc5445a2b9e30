"""The I/O loop: one background event loop on which every Milvus and embedding call runs.

A gRPC channel and an HTTP client belong to the loop that made them. Callers come from many
loops and threads, so all of them hand their work to this one: a store can then be used from
anywhere, and requests from everywhere can share a batch.
"""

import asyncio
import concurrent.futures
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from milvus_tools._io.tasks import shielded
from milvus_tools._io.thread_pools import THREAD_NAME, Threads, threads_in_use
from milvus_tools.errors import UnsupportedError

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_JOIN_SECONDS = 5.0
_WAKE_SECONDS = 1.0
_PATCHED = ("threading", "select", "queue")
_MAX_WAITING = 256  # threads that Milvus may keep waiting, each until its call's deadline


class _Loop(asyncio.SelectorEventLoop):
    """A loop that lives as long as the process, whether or not its thread runs.

    Embedding clients keep connections that are bound to the loop, so closing the last store
    stops the thread and keeps the loop. Nor does the garbage collector close it: in a forked
    child that would unregister the parent's sockets from the epoll set that both share.
    """

    def __del__(self) -> None:
        """Leave the sockets to the operating system."""

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Arguments], Result],
        *args: *Arguments,
    ) -> asyncio.Future[Result]:
        """Take the threads that the caller's context names for the default executor.

        An embedding model without async methods of its own runs there, and so does what a model
        asks of the loop, such as looking up a host.
        """
        threads = threads_in_use()
        if executor is None and threads is not None:
            executor = threads.executor
        return super().run_in_executor(executor, func, *args)


class _Server(threading.Thread):
    """The thread that runs the loop. `ended` is set as its last act."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop_threads: Callable[[], None],
        previous: "_Server | None",
    ) -> None:
        super().__init__(name=THREAD_NAME, daemon=True)
        self.ended: Future[None] = Future()
        self._loop = loop
        self._stop_threads = stop_threads
        self._previous = previous

    def run(self) -> None:
        if self._previous is not None:
            self._previous.join()
            self._previous = None
        executor = ThreadPoolExecutor(thread_name_prefix=THREAD_NAME)
        self._loop.set_default_executor(executor)
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)  # a model may hang there
            self._stop_threads()
            self.ended.set_result(None)


class Portal:
    """Runs coroutines on the I/O loop for callers on other loops and threads.

    The thread runs while anything holds the portal: see `acquire` and `release`.

    Attributes:
        forked_from_open: Whether this process was forked while its parent held a portal.
        waiting: Threads in which blocking calls wait for Milvus or a file.
        computing: Threads for computation.
    """

    def __init__(self, *, forked_from_open: bool = False) -> None:
        """Make the loop; its thread starts with the first `acquire`.

        Args:
            forked_from_open: Whether this process was forked while its parent held a portal.
        """
        self.forked_from_open = forked_from_open
        self.waiting = Threads(_MAX_WAITING)
        self.computing = Threads()
        self._threads_of: weakref.WeakValueDictionary[int, Threads] = weakref.WeakValueDictionary()
        self._loop = _Loop()
        self._lock = threading.Lock()
        self._holders = 0
        self._thread: _Server | None = None
        self._previous: _Server | None = None

    def acquire(self) -> None:
        """Hold the portal, and start its thread if it does not run.

        Raises:
            UnsupportedError: If gevent has replaced what the thread needs.
        """
        with self._lock:
            if self._thread is None:
                _refuse_gevent()
            self._holders += 1
            if self._thread is None:
                self._thread = _Server(self._loop, self._stop_threads, self._previous)
                self._thread.start()

    def release(self) -> _Server | None:
        """Let go of the portal.

        Returns:
            The thread, if it stops now because this was the last holder; else `None`.
        """
        with self._lock:
            self._holders -= 1
            if self._holders:
                return None
            stopping, self._previous, self._thread = self._thread, self._thread, None
        self._loop.call_soon_threadsafe(self._loop.stop)
        return stopping

    def threads_of(self, model: object) -> Threads:
        """Return the threads for calls of an embedding model, which may block them for ever.

        All users of the model share them. They end when the last user lets go of them, at the
        latest when the portal's thread stops.
        """
        with self._lock:
            threads = self._threads_of.get(id(model))
            if threads is None:
                threads = self._threads_of[id(model)] = Threads(owner=model)
            return threads

    def _stop_threads(self) -> None:
        self.waiting.stop(wait=True)
        self.computing.stop(wait=True)
        with self._lock:
            of_models = [*self._threads_of.values()]
        for threads in of_models:
            threads.stop(wait=False)

    def child(self) -> "Portal":
        """Return the portal of a process that was forked from this one just now."""
        return Portal(forked_from_open=self.forked_from_open or self._holders > 0)

    def is_current(self) -> bool:
        """Tell whether the caller is already running on the I/O loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await `work` on the I/O loop, in the caller's context; cancelling reaches it."""
        if self.is_current():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def run_sync(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` on the I/O loop and wait for it, whatever loop the caller may be on.

        Raises:
            RuntimeError: If called from the I/O loop itself: it would wait for ever.
        """
        try:
            self.require_elsewhere()
        except RuntimeError:
            work.close()
            raise
        answer: Future[Result] = Future()
        running: list[asyncio.Task[Result]] = []

        def begin() -> None:
            running.append(self._loop.create_task(work))
            running[0].add_done_callback(lambda task: copy_outcome(answer, task, task.result))

        def end() -> None:
            running[0].cancel() if running else work.close()

        try:
            self._loop.call_soon_threadsafe(begin)
            return _result_of(answer)
        except BaseException:
            self._loop.call_soon_threadsafe(end)  # Ctrl-C reaches the request, whenever it comes
            raise

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call a function on the I/O loop; the caller holds the portal until it has run."""
        self._loop.call_soon_threadsafe(callback, *args)

    def require_elsewhere(self) -> None:
        """Refuse a caller that is on the I/O loop and wants to wait for it.

        Raises:
            RuntimeError: If it is.
        """
        if self.is_current():
            msg = (
                "A sync method was called on milvus_tools' own I/O loop, where it would wait "
                "for itself; call its async twin (with the a) there."
            )
            raise RuntimeError(msg)

    def run_and_release(self, work: Coroutine[Any, Any, object]) -> "Ending":
        """Run `work` to its end, also if the callers that wait for it are cancelled; then release.

        Args:
            work: Closes something; the caller holds the portal for it.
        """
        ending: Ending = Future()

        def release(done: Future[object]) -> None:
            thread = self.release()
            copy_outcome(ending, done, lambda: thread)

        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(release)
        return ending

    def run_detached(self, work: Coroutine[Any, Any, object]) -> None:
        """Run `work` to its end in the background, and then release."""
        if sys.is_finalizing():
            work.close()
        else:
            self.run_and_release(work)


# It holds the thread of the I/O loop, if that stops too.
Ending = Future[_Server | None]


def _refuse_gevent() -> None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and any(map(monkey.is_module_patched, _PATCHED)):
        raise UnsupportedError(
            "gevent has replaced threads, select or queues, which the I/O loop needs as they are: "
            "call gevent.monkey.patch_all(thread=False, select=False, queue=False), or run this "
            "in a process without gevent."
        )


def _result_of(answer: Future[Result]) -> Result:
    while not concurrent.futures.wait([answer], _WAKE_SECONDS).done:
        pass  # Python overlooks a signal that comes just before the thread sleeps
    return answer.result()


def copy_outcome(
    answer: asyncio.Future[Result] | Future[Result],
    done: asyncio.Task[Any] | Future[Any],
    result: Callable[[], Result],
) -> None:
    """Give the outcome of some work to the future that a loop or a thread waits for."""
    if done.cancelled():
        answer.cancel()
    elif (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result())


def run_sync(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` on the I/O loop and wait for it, as all blocking methods do.

    Raises:
        RuntimeError: If called from the I/O loop itself.
    """
    try:
        _portal.acquire()
    except BaseException:
        work.close()
        raise
    try:
        return _portal.run_sync(work)
    finally:
        _portal.release()


def join(thread: _Server | None) -> None:
    """Wait until a thread that `Portal.release` returned has ended."""
    if thread is not None:
        thread.join(_JOIN_SECONDS)


async def ajoin(thread: _Server | None) -> None:
    """Wait for the thread without blocking the caller's loop."""
    if thread is not None and not _portal.is_current():
        await asyncio.wait([asyncio.wrap_future(thread.ended)], timeout=_JOIN_SECONDS)
        thread.join(0)


def finished(ending: Ending | None) -> None:
    """Wait for a future of `run_and_release`; its work goes on if the wait is interrupted."""
    if ending is not None:
        join(_result_of(ending))


async def afinished(ending: Ending | None) -> None:
    """Await a future of `run_and_release`; its work goes on if the caller is cancelled."""
    if ending is not None:
        await ajoin(await shielded(asyncio.wrap_future(ending)))


class _Quiet(logging.Filter):
    """Drops pymilvus's traceback of an error that we raise, translated, to the caller."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what other threads log."""
        return not (record.threadName or "").startswith(THREAD_NAME)


for _name in ("pymilvus.decorators", "pymilvus.client.connection_manager"):
    logging.getLogger(_name).addFilter(_Quiet())

_portal = Portal()
_abandoned: list[Portal] = []


def portal() -> Portal:
    """Return this process's portal."""
    return _portal


def _after_fork() -> None:
    """Give the child a portal of its own: threads don't survive a fork."""
    global _portal  # noqa: PLW0603 - one per process is the point
    _abandoned.append(_portal)
    _portal = _portal.child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
