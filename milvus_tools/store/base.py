"""The base of all stores: it runs each call's operation, with a session, on the I/O loop."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from milvus_tools._io.lifecycle import Lifecycle, Uncopyable
from milvus_tools.errors import StoreClosedError
from milvus_tools.store.collection import Collection
from milvus_tools.store.config import Settings, checked_timeout
from milvus_tools.store.scope import Scope
from milvus_tools.store.session import Session
from milvus_tools.transport.requests import Deadline

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StoreBase(Uncopyable):
    """Base of all stores: settings and a life cycle, which views share, and a scope."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle[Collection], scope: Scope) -> None:
        """Keep the parts."""
        self._settings = settings
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
        """Run an operation within this store's scope and the call's deadline.

        Raises:
            StoreClosedError: If the store is closed.
            DeadlineError: If it took longer than `timeout`.
        """
        # A view that was closed; the life cycle is its parent's, too, and goes on.
        if self._closed_here:
            raise StoreClosedError("The store is closed; make a new one.")
        seconds = checked_timeout(self._settings.timeout if timeout is None else timeout)

        work = functools.partial(self._in_scope, operation, args, kwargs)
        return await self._lifecycle.run(Collection.run, work, seconds)

    async def _in_scope(
        self,
        operation: Callable[..., Awaitable[Result]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        collection: Collection,
        deadline: Deadline,
    ) -> Result:
        """Run an operation on the I/O loop, where the collection is open by then."""
        session = Session(collection, self._scope, deadline)
        if not self._scope.values:
            return await operation(session, *args, **kwargs)
        with self._scope.redacting_errors(lite=collection.connection.lite):
            return await operation(session, *args, **kwargs)
