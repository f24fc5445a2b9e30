"""How public methods reach the operations.

The async ones go through the I/O loop, the sync ones through their async twins.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from langchain_core.vectorstores import VectorStore

from milvus_tools._io.loop import run_sync
from milvus_tools.errors import StoreClosedError
from milvus_tools.store.collection import Collection
from milvus_tools.store.lifecycle import Lifecycle
from milvus_tools.store.operations.search import Searches
from milvus_tools.store.operations.write import Upserts
from milvus_tools.store.scope import Scope
from milvus_tools.transport.requests import (
    Deadline,
)

Result = TypeVar("Result")


class StoreOperations(Searches, Upserts):
    """All operations."""


class StoreBase(VectorStore):
    """What every store has: a lifecycle, which views share, and a scope of its own."""

    def __init__(self, lifecycle: Lifecycle, scope: Scope) -> None:
        """Keep the parts."""
        self._lifecycle = lifecycle
        self._scope = scope
        self._closed_here = False

    async def _run(
        self,
        work: Callable[[StoreOperations, Deadline], Awaitable[Result]],
        timeout: float | None,
    ) -> Result:
        """Run an operation within this store's scope."""
        if self._closed_here:
            raise StoreClosedError("The store is closed; make a new one.")

        async def run(collection: Collection, deadline: Deadline) -> Result:
            with self._scope.redacting_errors(lite=collection.connection.lite):
                return await work(StoreOperations(collection, self._scope), deadline)

        return await self._lifecycle.run(run, timeout)

    def _wait(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Wait for an async method, from any thread; the portal must not be this thread."""
        return run_sync(call)
