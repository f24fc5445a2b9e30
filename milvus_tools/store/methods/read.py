"""The public methods that read without ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools._io.blocking import blocking
from milvus_tools.filters import FieldType, TypedFilter
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import read as operations
from milvus_tools.store.ordering import Order


class ReadMethods(StoreBase):
    """Reads by id and by filter."""

    async def aget_by_ids(
        self, ids: Sequence[str], /, *, filter: FilterLike = None
    ) -> list[Document]:
        """Return the Documents of some ids.

        Args:
            ids: The ids.
            filter: Conditions, or a filter expression, that must hold, too.

        Returns:
            The Documents in the ids' order, each once; ids that are not there are left out.
        """
        return await self._run(operations.get_by_ids, None, ids, filter)

    get_by_ids = blocking(aget_by_ids)

    async def aexisting_ids(
        self,
        ids: Sequence[str],
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
    ) -> set[str]:
        """Return those of some ids that are there, read with Strong consistency.

        Args:
            ids: The ids.
            timeout: Seconds for the call; `None` for the store's.
            filter: Conditions, or a filter expression, that must hold, too.
        """
        return await self._run(operations.existing_ids, timeout, ids, filter)

    existing_ids = blocking(aexisting_ids)

    async def asearch_by_metadata(
        self,
        expr: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int = 10,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        order_by: str | None = None,
        descending: bool = False,
        **kwargs: Any,
    ) -> list[Document]:
        """Return Documents that match a filter, without any vector.

        Args:
            expr: A [filter expression](https://milvus.io/docs/boolean.md), or `None` for all.
            fields: The metadata keys to return, or `None` for all.
            limit: The most Documents, 1 to 16384.
            timeout: Seconds for the call; `None` for the store's.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            order_by: The primary key, or a metadata key, to sort by; Documents without it come
                last. Milvus does not sort: the keys of all that match are read, 10 000 at most.
            descending: Whether the greatest come first.
            **kwargs: `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            The Documents, in no order unless `order_by` is given; `[]` means that none matches.
        """
        order = None if order_by is None else Order(order_by, descending=descending)
        return await self._run(
            operations.search_by_metadata, timeout, filter, expr, fields, limit, order, kwargs
        )

    search_by_metadata = blocking(asearch_by_metadata)

    async def aget_pks(
        self,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Return the ids of the entities that match a filter, without which it reads nothing.

        Args:
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: `limit`, `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            Strings, or integers where the collection's keys are.
        """
        return await self._run(operations.get_pks, timeout, filter, expr, kwargs)

    get_pks = blocking(aget_pks)

    async def acount(
        self,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> int:
        """Count the entities that match a filter, or all.

        Args:
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: `consistency_level`; outside scopes `partition_names`.
        """
        return await self._run(operations.count, timeout, filter, expr, kwargs)

    count = blocking(acount)

    async def aschema(self, timeout: float | None = None) -> Schema | None:
        """Return the collection as Milvus describes it, or `None` if it is not there yet."""
        return await self._run(operations.schema, timeout)

    schema = blocking(aschema)

    async def afilter_expression(
        self,
        filter_: FilterLike,
        fields: Mapping[str, FieldType | str] | None = None,
        *,
        allow_dynamic: bool = True,
        timeout: float | None = None,
    ) -> str | None:
        """Write conditions as an expression of this collection: what `filter=` becomes.

        A read takes the conditions themselves; this shows what Milvus gets.

        Args:
            filter_: As reads take it. The field `id` is the Documents' id, unless the
                collection has another of that name.
            fields: Dynamic keys with the type of their values: `{"year": "integer"}`.
            allow_dynamic: Whether other dynamic keys may be named, too.
            timeout: Seconds for the call; `None` for the store's.

        Returns:
            The expression, or `None` if the collection is not there yet.

        Raises:
            FilterError: If a field, an operator or a value does not fit; it says what does.
            UnsupportedError: If this Milvus can't answer it.
        """
        if not isinstance(filter_, QueryFilter | TypedFilter | str):
            filter_ = TypedFilter(filter_, fields, allow_dynamic=allow_dynamic)
        read = QueryFilter.read(filter_)
        return await self._run(operations.filter_expression, timeout, read)

    filter_expression = blocking(afilter_expression)
