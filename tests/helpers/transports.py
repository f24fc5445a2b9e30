"""Transports that record, hang or linger, for tests of what a store sends."""

import asyncio
import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Hit,
    QueryRequest,
    Row,
    SearchRequest,
    WriteRequest,
)
from tests.helpers.threads import BOUND


class Recording(DirectTransport):
    """Keeps what passes."""

    def __init__(self, connection: Connection) -> None:
        """Have sent nothing."""
        super().__init__(connection)
        self.sent: list[Any] = []
        self.deadlines: list[Deadline] = []

    def _keep(self, request: Any, deadline: Deadline) -> None:
        self.sent.append(request)
        self.deadlines.append(deadline)

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Search."""
        for request in requests:
            self._keep(request, deadline)
        return await super().search(requests, deadline)

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Query."""
        self._keep(request, deadline)
        return await super().query(request, deadline)

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Upsert."""
        self._keep(request, deadline)
        return await super().upsert(request, deadline)

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete."""
        self._keep(request, deadline)
        return await super().delete(request, deadline)


class Stuck(DirectTransport):
    """Begins every search, and never ends one."""

    def __init__(self, connection: Connection) -> None:
        """Have begun none."""
        super().__init__(connection)
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Event()

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Wait until it is cancelled."""
        self.began.release()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError(f"{requests} can't have been answered by {deadline}.")


class Made:
    """A `transport=` that remembers the one transport it made."""

    def __init__(self, kind: Callable[[Connection], Any]) -> None:
        """Make transports of a kind."""
        self._kind = kind
        self._made: list[Any] = []

    def __call__(self, connection: Connection) -> Any:
        """Make one."""
        self._made.append(self._kind(connection))
        return self._made[-1]

    @property
    def one(self) -> Any:
        """The transport."""
        (made,) = self._made
        return made


class Lingering(DirectTransport):
    """Ends only when it is let go, or fails then."""

    def __init__(self, connection: Connection, error: Exception | None = None) -> None:
        """Have not begun to end."""
        super().__init__(connection)
        self.error = error
        self.ending = threading.Event()
        self.let_go = threading.Event()

    async def aclose(self) -> None:
        """Wait to be let go."""
        self.ending.set()
        assert await asyncio.to_thread(self.let_go.wait, BOUND)
        if self.error is not None:
            raise self.error


class Landing(DirectTransport):
    """Lets each upsert land, and fails then as if no answer had come; its first writes pass."""

    def __init__(
        self, connection: Connection, error: Exception | None = None, passes: int = 0
    ) -> None:
        """Fail with an error, or wait until the caller's deadline passes if there is none."""
        super().__init__(connection)
        self.error = error
        self.passes = passes

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Upsert, and never say so."""
        keys = await super().upsert(request, deadline)
        if self.passes:
            self.passes -= 1
            return keys
        if self.error is not None:
            raise copy.copy(self.error)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("The deadline ends the call.")
