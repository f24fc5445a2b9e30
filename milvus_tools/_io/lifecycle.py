"""The life of what runs on the I/O loop: made at the first call, closed once, not forked."""

import os
import threading
from collections.abc import Callable, Coroutine
from typing import (
    Any,
    Concatenate,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    SupportsIndex,
    TypeVar,
)

from milvus_tools._io.calls import run_on_io_loop
from milvus_tools._io.loop import Ending, afinished, finished, portal, run_sync
from milvus_tools.errors import UncopyableError


class Closable(Protocol):
    """A resource that a `Lifecycle` makes and closes."""

    async def close(self) -> None:
        """End what is under way, on the I/O loop."""
        ...


Resource = TypeVar("Resource", bound=Closable)
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class Uncopyable:
    """Base of what holds a connection, or threads: no copy could share or remake them."""

    def __reduce_ex__(self, _: SupportsIndex, /) -> NoReturn:
        """Refuse `copy` and `pickle`.

        Raises:
            UncopyableError: Always.
        """
        raise UncopyableError(
            f"{type(self).__name__} can't be copied or pickled, because it holds connections: "
            "share it, or make another."
        )


class Lifecycle(Uncopyable, Generic[Resource]):
    """Makes a resource at the first call and closes it once, when told to or when forgotten.

    It holds the portal until then, so that the I/O loop's thread goes on between calls. After a
    fork the child makes a resource of its own: connections don't survive one.

    Attributes:
        resource: The resource, open or closed; `None` before the first call.
    """

    def __init__(
        self,
        make: Callable[[bool], Resource],
        closed: Callable[[], Exception],
        *,
        held_from_io_loop: bool,
        forget: Callable[[Resource], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        """Keep how to make the resource; nothing is made yet.

        Args:
            make: Makes the resource; told whether it is the first, or that of a child whose
                parent had one before the fork.
            closed: Makes the error of a call after the end.
            held_from_io_loop: Whether calls that come from the I/O loop itself hold the portal
                too; if not, whatever called there does.
            forget: Makes what closes a resource that was not closed, without blocking; by default
                its `close`.
        """
        self.resource: Resource | None = None
        self._make = make
        self._closed_error = closed
        self._held_from_io_loop = held_from_io_loop
        self._forget = forget or _close
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._made = self._holds = self._closed = False
        self._abandoned: list[Resource] = []
        self._ending: Ending | None = None

    async def run(
        self,
        work: Callable[Concatenate[Resource, Parameters], Coroutine[Any, Any, Result]],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run a method of the resource on the I/O loop, from whichever loop.

        Raises:
            Exception: The error of a call after the end.
        """
        here = portal().is_current()
        call = work(self._enter(hold=self._held_from_io_loop or not here), *args, **kwargs)
        # The calls of a tick cross together, or they would not share a request.
        return await (call if here else run_on_io_loop(call))

    def run_sync(
        self,
        work: Callable[Concatenate[Resource, Parameters], Coroutine[Any, Any, Result]],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run a method of the resource on the I/O loop and wait for it."""
        portal().require_elsewhere()
        return run_sync(work(self._enter(hold=True), *args, **kwargs))

    async def aclose(self) -> None:
        """Close the resource, and the I/O loop's thread if nothing else holds it.

        It goes on if the caller is cancelled; a second call waits for the same end.
        """
        await afinished(self._end())

    def close(self) -> None:
        """The blocking version of `aclose`."""
        portal().require_elsewhere()
        finished(self._end())

    def __del__(self) -> None:
        """Close what was forgotten, without waiting for it."""
        if self._holds and self.resource is not None and self._pid == os.getpid():
            portal().run_detached(self._forget(self.resource))

    def _enter(self, *, hold: bool) -> Resource:
        """Return the resource for one call.

        Another thread may close it before the call reaches the I/O loop: the resource then
        refuses the call.
        """
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            if self._closed:
                raise self._closed_error()
            resource = self._make(not self._made) if self.resource is None else self.resource
            if hold and not self._holds:
                portal().acquire()
                self._holds = True
            self.resource, self._made = resource, True
            return resource

    def _end(self) -> Ending | None:
        """Begin to close, once; return the end that is to come, if there was anything to close."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            if self.resource is not None and not self._closed:
                if not self._holds:
                    portal().acquire()
                self._ending = portal().run_and_release(self.resource.close())
            self._closed, self._holds = True, False
            return self._ending

    def _leave_to_parent(self) -> None:
        """Let go, in a child, of what its parent made before the fork."""
        self._pid = os.getpid()
        self._lock = threading.Lock()  # another thread may have held it
        self._holds = False
        self._ending = None
        if self.resource is not None:
            # Kept, so that the garbage collector closes no channel of the parent's, and its
            # tasks, as its loop, are not destroyed.
            self._abandoned.append(self.resource)
            self.resource = None


def _close(resource: Closable) -> Coroutine[Any, Any, None]:
    return resource.close()
