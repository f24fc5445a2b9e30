"""Threads for blocking calls, apart from each other by what may hold them up."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

THREAD_NAME = "milvus-tools"


class Threads:
    """Threads for one kind of blocking work, which start when they are needed.

    Each kind has its own, so that work of one kind never waits for the threads of another.
    """

    def __init__(self, most: int | None = None, *, owner: object = None) -> None:
        """Start no thread yet.

        Args:
            most: The most threads, or `None` for as many as an event loop has by default.
            owner: What they are for; it lives as long as they do.
        """
        self._most = most
        self._owner = owner
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Their executor; a new one after they were stopped."""
        with self._lock:  # threads of several kinds may ask for the first time at once
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._most, THREAD_NAME)
            return self._executor

    def submit(self, call: Callable[..., Result], *args: Any, **kwargs: Any) -> Future[Result]:
        """Call a function in a thread, in the caller's context."""
        return self.executor.submit(contextvars.copy_context().run, call, *args, **kwargs)

    async def run(self, call: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call a function in a thread and await it; cancelling ends it only before it begins."""
        return await asyncio.wrap_future(self.submit(call, *args, **kwargs))

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Run in them what is meant for the default executor of the I/O loop."""
        token = _in_use.set(self)
        try:
            yield
        finally:
            _in_use.reset(token)

    def stop(self, *, wait: bool) -> None:
        """End the threads, and drop what has not begun.

        Args:
            wait: Whether to wait for what has begun.
        """
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=wait, cancel_futures=True)


_in_use: contextvars.ContextVar[Threads | None] = contextvars.ContextVar("threads", default=None)


def threads_in_use() -> Threads | None:
    """Return the threads that the caller's context uses, if it is inside `Threads.used`."""
    return _in_use.get()
