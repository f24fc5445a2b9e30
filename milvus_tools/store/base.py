"""How public methods reach the operations: each call gets a session on the I/O loop."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from milvus_tools.errors import StoreClosedError
from milvus_tools.store.collection import Collection
from milvus_tools.store.lifecycle import Lifecycle
from milvus_tools.store.scope import Scope
from milvus_tools.store.session import Session
from milvus_tools.transport.requests import Deadline

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StoreBase:
    """What every store has: a lifecycle, which views share, and a scope of its own."""

    def __init__(self, lifecycle: Lifecycle, scope: Scope) -> None:
        """Keep the parts."""
        self._lifecycle = lifecycle
        self._scope = scope
        self._closed_here = False

    async def _run(
        self,
        operation: Callable[Concatenate[Session, Parameters], Awaitable[Result]],
        timeout: float | None,
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run an operation within this store's scope and the call's deadline."""
        if self._closed_here:
            raise StoreClosedError("The store is closed; make a new one.")

        async def in_scope(collection: Collection, deadline: Deadline) -> Result:
            with self._scope.redacting_errors(lite=collection.connection.lite):
                session = Session(collection, self._scope, deadline)
                return await operation(session, *args, **kwargs)

        return await self._lifecycle.run(in_scope, timeout)
