"""What all operations on a collection within a scope have in common."""

from collections.abc import Mapping
from typing import Any

from milvus_tools.filters.literals import all_of
from milvus_tools.schema import Schema
from milvus_tools.store.collection import Collection
from milvus_tools.store.scope import Scope


class Operations:
    """Operations on one collection within one scope, as coroutines on the I/O loop."""

    def __init__(self, collection: Collection, scope: Scope) -> None:
        """Work on a collection that is open when an operation runs."""
        self._collection = collection
        self._scope = scope

    def _filter(self, schema: Schema, filter_: str) -> str:
        """Join a checked expression with the scope."""
        return all_of([self._scope.expression(schema), filter_])

    def _reading(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Add what every read says: how consistent it must be, and where."""
        settings = self._collection.settings
        said: dict[str, Any] = {
            "consistency_level": self._collection.consistency.consistency_level(
                settings.spec.consistency_level
            )
        }
        if settings.spec.partition_names is not None:
            said["partition_names"] = list(settings.spec.partition_names)
        return {**said, **options}

    def _partition(self, name: str) -> str | None:
        """Return the name of the argument that names partitions, if any may."""
        return None if self._scope else name
