"""`Session`: what an operation works with, made once per call."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from milvus_tools.errors import CollectionNotFoundError, InvalidInputError, MilvusError
from milvus_tools.filters.literals import all_of
from milvus_tools.filters.query_filter import QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store.collection import Collection
from milvus_tools.store.filtering import write_filter
from milvus_tools.store.scope import Scope
from milvus_tools.transport.requests import Deadline

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """One call's collection, scope and deadline. Operations are functions of it.

    Attributes:
        collection: The collection, open.
        scope: The field values that hold for every row of the call.
        deadline: When the call must have its answer.
    """

    collection: Collection
    scope: Scope
    deadline: Deadline

    async def with_schema(
        self,
        operation: Callable[Concatenate["Session", Schema, Parameters], Awaitable[Result]],
        absent: Result,
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run what needs the collection's schema, again if the schema was out of date.

        Args:
            operation: A function of the session, the schema and the arguments.
            absent: The answer if the collection was never there.
            *args: The arguments.
            **kwargs: The keyword arguments.
        """
        schema = await self.collection.schemas.schema(self.deadline)
        if schema is None:
            return absent
        try:
            return await operation(self, schema, *args, **kwargs)
        except (MilvusError, CollectionNotFoundError, InvalidInputError) as error:
            if not await self.collection.schemas.has_changed(schema, error, self.deadline):
                raise
        schema = await self.collection.schemas.schema(self.deadline)
        return absent if schema is None else await operation(self, schema, *args, **kwargs)

    async def expression(self, schema: Schema, filter_: QueryFilter) -> str:
        """Write a filter for this collection, without the scope."""
        if not filter_.typed:
            return filter_.raw
        mapper, lite = self.collection.mapper(schema), self.collection.connection.lite
        return await write_filter(filter_, mapper, self.scope, lite=lite)

    def in_scope(self, schema: Schema, expression: str) -> str:
        """Join an expression that was checked with the scope."""
        if not self.scope:
            return expression
        return all_of([self.scope.expression(schema), expression])

    def reading(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Add what every read says: how consistent it must be, and where."""
        spec = self.collection.settings.spec
        level = self.collection.consistency.consistency_level(spec.consistency_level)
        said: dict[str, Any] = {"consistency_level": level}
        if spec.partition_names is not None:
            said["partition_names"] = list(spec.partition_names)
        return {**said, **options}

    def partition(self, name: str) -> str | None:
        """Return the name of the argument that names partitions, if any may."""
        return None if self.scope else name
