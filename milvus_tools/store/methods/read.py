"""The public methods that read without ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools._io.blocking import blocking
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters import FieldType, Filter, parse
from milvus_tools.schema import Schema
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import read as operations
from milvus_tools.store.ordering import Order


class ReadMethods(StoreBase):
    """Reads by id and by filter."""

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the Documents of some ids.

        Args:
            ids: The ids.

        Returns:
            The Documents in the ids' order, each once; ids that are not there are left out.
        """
        return await self._run(operations.get_by_ids, None, ids)

    get_by_ids = blocking(aget_by_ids)

    async def aexisting_ids(self, ids: Sequence[str], timeout: float | None = None) -> set[str]:
        """Return those of some ids that are there, read with Strong consistency.

        Args:
            ids: The ids.
            timeout: Seconds for the call; `None` for the store's.
        """
        return await self._run(operations.existing_ids, timeout, ids)

    existing_ids = blocking(aexisting_ids)

    async def asearch_by_metadata(
        self,
        expr: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int = 10,
        timeout: float | None = None,
        *,
        order_by: str | None = None,
        descending: bool = False,
        **kwargs: Any,
    ) -> list[Document]:
        """Return Documents that match a filter expression, without any vector.

        Args:
            expr: A [filter expression](https://milvus.io/docs/boolean.md), or `None` for all.
            fields: The metadata keys to return, or `None` for all.
            limit: The most Documents, 1 to 16384.
            timeout: Seconds for the call; `None` for the store's.
            order_by: The primary key, or a metadata key, to sort by; Documents without it come
                last. Milvus does not sort: the keys of all that match are read, 10 000 at most.
            descending: Whether the greatest come first.
            **kwargs: `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            The Documents, in no order unless `order_by` is given; `[]` means that none matches.
        """
        order = None if order_by is None else Order(order_by, descending=descending)
        return await self._run(
            operations.search_by_metadata, timeout, expr, fields, limit, order, kwargs
        )

    search_by_metadata = blocking(asearch_by_metadata)

    async def aget_pks(self, expr: str, timeout: float | None = None, **kwargs: Any) -> list[Any]:
        """Return the ids of the entities that match a filter expression.

        Args:
            expr: The expression.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: `limit`, `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            Strings, or integers where the collection's keys are.
        """
        return await self._run(operations.get_pks, timeout, expr, kwargs)

    get_pks = blocking(aget_pks)

    async def acount(
        self, expr: str | None = None, timeout: float | None = None, **kwargs: Any
    ) -> int:
        """Count the entities that match a filter expression.

        Args:
            expr: The expression, or `None` for all.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: `consistency_level`; outside scopes `partition_names`.
        """
        return await self._run(operations.count, timeout, expr, kwargs)

    count = blocking(acount)

    async def aschema(self, timeout: float | None = None) -> Schema | None:
        """Return the collection as Milvus describes it, or `None` if it is not there yet."""
        return await self._run(operations.schema, timeout)

    schema = blocking(aschema)

    async def afilter_expression(
        self,
        filter_: Filter | Mapping[str, Any] | Sequence[Any],
        fields: Mapping[str, FieldType | str] | None = None,
        *,
        allow_dynamic: bool = True,
        timeout: float | None = None,
    ) -> str | None:
        """Write a typed filter as an expression that means the same on every Milvus.

        Example:
            ```python
            recent = {"field": "year", "operator": "gte", "value": 2000}
            await store.asimilarity_search("kites", expr=await store.afilter_expression(recent))
            ```

        Args:
            filter_: Conditions, or what `milvus_tools.filters.parse` makes them of. The field
                `id` is the Documents' id, unless the collection has another of that name.
            fields: Dynamic keys with the type of their values: `{"year": "integer"}`.
            allow_dynamic: Whether other dynamic keys may be named, too.
            timeout: Seconds for the call; `None` for the store's.

        Returns:
            The expression, or `None` if the collection is not there yet.

        Raises:
            FilterError: If a field, an operator or a value does not fit; it says what does.
            UnsupportedError: If this Milvus can't answer it.
        """
        parsed, known = parse(filter_), _types(fields)
        return await self._run(
            operations.filter_expression,
            timeout,
            parsed,
            known,
            allow_dynamic=allow_dynamic,
        )

    filter_expression = blocking(afilter_expression)


def _types(fields: object) -> dict[str, FieldType]:
    if not isinstance(fields, Mapping | None):
        raise InvalidInputError("fields must be a dictionary of keys and their types.")
    try:
        return {name: FieldType(type_) for name, type_ in (fields or {}).items()}
    except ValueError as error:
        raise InvalidInputError(f"The types of fields are {', '.join(FieldType)}.") from error
