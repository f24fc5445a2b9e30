"""The way from a caller's event loop to the I/O loop and back, for many calls at once.

A call that crosses alone wakes the other thread, which may begin to work before the caller's
tick has made its other calls: they would miss its batch. So the calls of a tick cross together,
and so do their outcomes.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

from milvus_tools._io.loop import copy_outcome, portal

Result = TypeVar("Result")

_Outcome: TypeAlias = tuple[asyncio.Future[Any], asyncio.Task[Any]]


async def run_on_io_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work` on the I/O loop, in the caller's context; cancelling reaches it."""
    loop = asyncio.get_running_loop()
    group: _Group | None = getattr(_thread, "group", None)
    if group is None or group.loop is not loop:
        group = _thread.group = _Group(loop)
        loop.call_soon(group.cross)
    call = _Call(work, loop.create_future())
    group.calls.append(call)
    try:
        return await call.answer  # type: ignore[no-any-return]
    except asyncio.CancelledError:
        call.cancel()
        raise
    finally:
        del call  # it holds the error, whose traceback holds this frame: that would be a cycle


@dataclasses.dataclass(eq=False, slots=True)
class _Call:
    """Work on the I/O loop, and the future of the caller, who waits on another loop."""

    work: Coroutine[Any, Any, Any]
    answer: asyncio.Future[Any]
    context: contextvars.Context = dataclasses.field(default_factory=contextvars.copy_context)
    task: asyncio.Task[Any] | None = None

    def start(self) -> asyncio.Task[Any]:
        """Begin, on the I/O loop."""
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self.work, context=self.context)
        if self.answer.cancelled():  # read after the task is set, as `cancel` does it in reverse
            self.task.cancel()
        return self.task

    def cancel(self) -> None:
        """Cancel the work, on the loop of the caller, whose future is cancelled already."""
        if self.task is not None:
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)


@dataclasses.dataclass(eq=False, slots=True)
class _Group:
    """The calls that one tick of a caller's loop makes."""

    loop: asyncio.AbstractEventLoop
    calls: list[_Call] = dataclasses.field(default_factory=list)
    ended: list[_Outcome] = dataclasses.field(default_factory=list)
    running: int = 0

    def cross(self) -> None:
        """Cross, at the end of the caller's tick."""
        _thread.group = None
        io = portal()
        io.acquire()  # until the last call has ended: callers may be gone before
        # An error's traceback holds the group: a group that held the error would be a cycle.
        calls, self.calls = self.calls, []
        io.call_soon(self._carry_out, calls)

    def _carry_out(self, calls: list[_Call]) -> None:
        self.running = len(calls)
        for call in calls:
            call.start().add_done_callback(functools.partial(self._note, call.answer))

    def _note(self, answer: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # seen, though the caller may be gone
        self.running -= 1
        self.ended.append((answer, task))
        if not self.running:
            self._hand_back()
            portal().release()
        elif len(self.ended) == 1:
            task.get_loop().call_soon(self._hand_back)

    def _hand_back(self) -> None:
        """Cross back with all that ended in the same tick of the I/O loop."""
        ended, self.ended = self.ended, []
        if ended:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed
                self.loop.call_soon_threadsafe(_settle, ended)


def _settle(ended: list[_Outcome]) -> None:
    for answer, task in ended:
        if not answer.done():
            copy_outcome(answer, task, task.result)


_thread = threading.local()
