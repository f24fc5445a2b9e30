"""When a store's collection is opened and closed, and how calls reach it."""

import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from milvus_tools._io.calls import run_on_io_loop
from milvus_tools._io.loop import Ending, afinished, finished, portal
from milvus_tools.errors import InvalidInputError, StoreClosedError
from milvus_tools.store.collection import Collection
from milvus_tools.transport.batching import BatchedTransport, StoreStats
from milvus_tools.transport.requests import (
    Deadline,
)

Result = TypeVar("Result")

_MAX_SECONDS = 1_000_000_000  # gRPC takes some more, and infinity, for a time long past


class Lifecycle:
    """Opens a collection at the first call and closes it once; shared by a store's views.

    After a fork the child opens a collection of its own: connections don't survive one.
    """

    def __init__(self, make: Callable[[bool], Collection], timeout: float) -> None:
        """Keep how to make the collection; nothing is opened yet.

        Args:
            make: Makes the collection, not yet open; told whether it is the first that this
                store has, or that of a child whose parent had one before the fork.
            timeout: Seconds for a call that gives none.
        """
        self._make = make
        self._timeout = timeout
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._made = False
        self._collection: Collection | None = None
        self._abandoned: list[Collection] = []
        self._closed = False
        self._ending: Ending | None = None

    async def run(
        self,
        work: Callable[[Collection, Deadline], Awaitable[Result]],
        timeout: float | None,
    ) -> Result:
        """Run an operation on the I/O loop, from whichever loop.

        Raises:
            StoreClosedError: If the store is closed.
            DeadlineError: If it took longer than `timeout`.
        """
        seconds = self._seconds(timeout)
        collection = self._enter()
        try:
            call = collection.run(work, seconds)
            # The calls of a tick cross together, or they would not share a request.
            return await (call if portal().is_current() else run_on_io_loop(call))
        finally:
            portal().release()

    async def aclose(self) -> None:
        """Close the collection, and the I/O loop's thread if no other store uses it.

        It goes on if the caller is cancelled; whoever calls this again waits for the same.
        """
        await afinished(self._end())

    def close(self) -> None:
        """The blocking version of `aclose`."""
        portal().require_elsewhere()
        finished(self._end())

    def __del__(self) -> None:
        """Close a store that was forgotten, without waiting for it."""
        if self._collection is not None and self._pid == os.getpid():
            portal().run_detached(self._collection.close())

    @property
    def stats(self) -> StoreStats:
        """What batching has done."""
        transport = None if self._collection is None else self._collection.transport
        return transport.stats if isinstance(transport, BatchedTransport) else StoreStats()

    def _seconds(self, timeout: float | None) -> float:
        seconds = self._timeout if timeout is None else timeout
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise InvalidInputError("timeout must be a number of seconds greater than 0.")
        if seconds > _MAX_SECONDS:
            raise InvalidInputError(f"timeout can't be more than {_MAX_SECONDS} seconds.")
        return seconds

    def _enter(self) -> Collection:
        """Return the collection, and hold the portal for one call.

        Another thread may close the store before the call reaches the I/O loop.
        """
        self._notice_fork()
        with self._lock:
            if self._closed:
                raise StoreClosedError("The store is closed; make a new one.")
            if self._collection is None:
                self._collection = self._make(not self._made)
                self._made = True
                portal().acquire()
            portal().acquire()
            return self._collection

    def _end(self) -> Ending | None:
        """Begin to close, once; return the end that is to come, if there was anything to close."""
        self._notice_fork()
        with self._lock:
            self._closed = True
            if self._collection is not None:
                self._ending = portal().run_and_release(self._collection.close())
                self._collection = None
            return self._ending

    def _notice_fork(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._ending = None
        if self._collection is not None:
            # Kept, so that the garbage collector does not close the parent's channel.
            self._abandoned.append(self._collection)
            self._collection = None
