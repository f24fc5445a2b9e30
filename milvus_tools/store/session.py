"""`Session`: the collection, the scope and the deadline of one call."""

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
    """The collection, the scope and the deadline of one call. Operations take it first.

    Attributes:
        collection: The collection, open.
        scope: The field values of every row that the call reads or writes.
        deadline: The deadline of the call.
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
        """Run an operation that needs the schema; run it again if the schema was out of date.

        Args:
            operation: A function of the session, the schema and the arguments.
            absent: The result if the collection does not exist yet.
            *args: The arguments.
            **kwargs: The keyword arguments.
        """
        schemas = self.collection.schemas
        # `schema()` would do the same, by one more call at every read.
        schema = schemas.known or await schemas.schema(self.deadline)
        if schema is None:
            return absent
        # Each of these errors can also come of a cached schema that is out of date.
        try:
            return await operation(self, schema, *args, **kwargs)
        except (MilvusError, CollectionNotFoundError, InvalidInputError) as error:
            if not await schemas.has_changed(schema, error, self.deadline):
                raise
        schema = await schemas.schema(self.deadline)
        return absent if schema is None else await operation(self, schema, *args, **kwargs)

    async def expression(self, schema: Schema, filter_: QueryFilter) -> str:
        """Return a filter as an expression of this collection, without the scope."""
        if not filter_.typed:
            return filter_.raw
        mapper, lite = self.collection.mapper(schema), self.collection.connection.lite
        return await write_filter(filter_, mapper, self.scope, lite=lite)

    def in_scope(self, schema: Schema, expression: str) -> str:
        """Join a checked expression to the scope with AND."""
        if not self.scope.values:
            return expression
        return all_of([self.scope.expression(schema), expression])

    def reading(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a read, with the default consistency level and partitions."""
        spec = self.collection.settings.spec
        level = self.collection.consistency.consistency_level(spec.consistency_level)
        defaults: dict[str, Any] = {"consistency_level": level}
        if spec.partition_names is not None:
            defaults["partition_names"] = list(spec.partition_names)
        return {**defaults, **options}

    def partition(self, name: str) -> str | None:
        """Return the name of the argument for partitions, or `None` inside a scope."""
        return None if self.scope else name
