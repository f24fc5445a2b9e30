"""The way from a caller's event loop to the I/O loop and back, for many calls at once.

A call that crosses alone wakes the other thread, which may begin to work before the caller's
tick has made its other calls: what was one batch would become several. So the calls of a tick
cross together, and so do their outcomes.
"""

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from milvus_tools._io.loop import copy_outcome, portal

Result = TypeVar("Result")


async def run_on_io_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work` on the I/O loop, in the caller's context; cancelling reaches it."""
    loop = asyncio.get_running_loop()
    group: _Group | None = getattr(_thread, "group", None)
    if group is None or group.loop is not loop:
        group = _thread.group = _Group(loop)
        loop.call_soon(group.cross)
    return await group.add(work)  # type: ignore[no-any-return]


class _Call:
    """Work on the I/O loop, and the future of the caller who waits on another."""

    def __init__(self, work: Coroutine[Any, Any, Any], answer: asyncio.Future[Any]) -> None:
        self.answer = answer
        self.task: asyncio.Task[Any] | None = None
        self._work = work
        self._context = contextvars.copy_context()
        self._gone = False
        answer.add_done_callback(self._notice)

    def wanted(self) -> bool:
        """Tell whether the caller is still there, before the call crosses."""
        if self.answer.done():
            self._work.close()
            return False
        return True

    def start(self) -> asyncio.Task[Any]:
        """Begin, on the I/O loop."""
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._work, context=self._context)
        if self._gone:  # it is asked after the task is there, as `_notice` does it in reverse
            self.task.cancel()
        return self.task

    def settle(self) -> None:
        """Give the caller the outcome, on the caller's loop."""
        if self.task is not None and not self.answer.done():
            copy_outcome(self.answer, self.task, self.task.result)

    def _notice(self, answer: asyncio.Future[Any]) -> None:
        """Cancel the work of a caller who was cancelled."""
        self._gone = answer.cancelled()
        if self._gone and self.task is not None:
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class _Group:
    """The calls that one tick of a caller's loop makes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: list[_Call] = []
        self._running = 0
        self._ended: list[_Call] = []

    def add(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Take a call along; return the future of its outcome."""
        answer = self.loop.create_future()
        self._calls.append(_Call(work, answer))
        return answer

    def cross(self) -> None:
        """Cross, at the end of the caller's tick."""
        _thread.group = None
        # An error's traceback holds the group: a group that held the error were a cycle.
        calls, self._calls = self._calls, []
        calls = [call for call in calls if call.wanted()]
        if calls:
            portal().acquire()
            portal().call_soon(self._carry_out, calls)

    def _carry_out(self, calls: list[_Call]) -> None:
        self._running = len(calls)
        for call in calls:
            call.start().add_done_callback(functools.partial(self._note, call))

    def _note(self, call: _Call, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # seen, though the caller may have gone
        self._running -= 1
        self._ended.append(call)
        if not self._running:
            self._hand_back()
            portal().release()
        elif len(self._ended) == 1:
            task.get_loop().call_soon(self._hand_back)

    def _hand_back(self) -> None:
        """Cross back with all that ended in the same tick of the I/O loop."""
        ended, self._ended = self._ended, []
        if ended:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
                self.loop.call_soon_threadsafe(_settle, ended)


def _settle(calls: list[_Call]) -> None:
    for call in calls:
        call.settle()


_thread = threading.local()
