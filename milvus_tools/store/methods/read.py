"""The public methods that read without a vector search."""

from __future__ import annotations  # `help` shows the short names of types

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools._io.blocking import blocking
from milvus_tools._io.loop import run_sync
from milvus_tools.filters import FieldType, TypedFilter
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.schema import Schema
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import iterate
from milvus_tools.store.operations import read as operations
from milvus_tools.store.ordering import Order


class ReadMethods(StoreBase):
    """Reads by id and by filter.

    All raise `InvalidInputError` for wrong arguments, and `MilvusError` or a subclass of it if
    Milvus fails.
    """

    async def aget_by_ids(
        self, ids: Sequence[str], /, *, filter: FilterLike = None
    ) -> list[Document]:
        """Return the Documents that have the given ids.

        Args:
            ids: The ids.
            filter: Conditions or a filter expression that the Documents must match.

        Returns:
            The Documents in the order of the ids, without duplicates. Ids that do not exist are
            left out.
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
        """Return those of the given ids that exist, read with Strong consistency.

        Args:
            ids: The ids.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression that the entities must match.
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
        """Return the Documents that match a filter, without a vector search.

        Args:
            expr: A [filter expression](https://milvus.io/docs/boolean.md), or `None` for all
                Documents.
            fields: The metadata keys to return, or `None` for all.
            limit: The most Documents to return, from 1 to 16384.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            order_by: A field of the schema, such as the primary key `pk`, else a metadata key or
                a path (`specs.size`) to sort by. Documents without that key come last. Milvus does
                not sort, so the store reads the sort keys of all matching entities. More than
                10 000 are refused.
            descending: Whether the greatest values come first.
            **kwargs: `offset` and `consistency_level`; without a scope also `partition_names`.

        Returns:
            The Documents, in no particular order unless `order_by` is given; `[]` if none
            matches.
        """
        order = None if order_by is None else Order(order_by, descending=descending)
        return await self._run(
            operations.search_by_metadata, timeout, filter, expr, fields, limit, order, kwargs
        )

    search_by_metadata = blocking(asearch_by_metadata)

    async def aiterate(
        self,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        batch_size: int = 1_000,
        **kwargs: Any,
    ) -> AsyncIterator[Document]:
        """Yield all Documents that match a filter, however many; keep a page of them in memory.

        Each Document is as it is when its page is read. Entities that are written or deleted
        meanwhile may be left out. None is yielded twice, and the iteration ends though the loop
        itself writes entities. On Milvus Lite, the keys of all matching entities are read first.

        Args:
            expr: A filter expression, or `None` for all Documents.
            timeout: Seconds for each page; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            batch_size: The most Documents of a page, from 1 to 16384. Pages are smaller if Milvus
                can't send so much at once.
            **kwargs: `consistency_level`; without a scope also `partition_names`.

        Yields:
            The Documents, on a server in the order of their keys.
        """
        begun = await self._run(iterate.begin, timeout, filter, expr, batch_size, kwargs)
        while page := await self._run(iterate.next_page, timeout, begun):
            for document in page:
                yield document

    def iterate(
        self,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        batch_size: int = 1_000,
        **kwargs: Any,
    ) -> Iterator[Document]:
        """Yield all Documents that match a filter; the blocking version of `aiterate`.

        Args:
            expr: A filter expression, or `None` for all Documents.
            timeout: Seconds for each page; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            batch_size: The most Documents of a page.
            **kwargs: As those of `aiterate`.

        Yields:
            The Documents, on a server in the order of their keys.
        """
        # By pages: from thread to thread, each Document alone would take longer than it is read.
        begun = run_sync(self._run(iterate.begin, timeout, filter, expr, batch_size, kwargs))
        while page := run_sync(self._run(iterate.next_page, timeout, begun)):
            yield from page

    async def aget_pks(
        self,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Return the ids of the entities that match a filter.

        Args:
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: `limit`, `offset` and `consistency_level`; without a scope also
                `partition_names`.

        Returns:
            The ids: integers if the collection's primary key is an integer, else strings.

        Raises:
            InvalidInputError: If neither a filter nor a scope narrows the call.
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
        """Count the entities that match a filter, or all entities without one.

        Args:
            expr: A filter expression.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: `consistency_level`; without a scope also `partition_names`.
        """
        return await self._run(operations.count, timeout, filter, expr, kwargs)

    count = blocking(acount)

    async def aschema(self, timeout: float | None = None) -> Schema | None:
        """Return the collection's schema, or `None` if the collection does not exist yet.

        Args:
            timeout: Seconds for the call; `None` for the store's `timeout`.
        """
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
        """Return the filter expression that `filter=` becomes for this collection.

        Reads and deletes take the conditions themselves. Use this method to see the expression
        that Milvus gets.

        Args:
            filter_: Conditions or a filter expression, as the argument `filter` takes them. A name
                means a field of the schema, such as the primary key `pk`; else a metadata key, so
                `id` is metadata. A dot leads to a nested key: `specs.screen`; a key that has a
                dot is written `['x.y']`.
            fields: Metadata keys and the types of their values: `{"year": "integer"}`.
            allow_dynamic: Whether the conditions may also name other metadata keys.
            timeout: Seconds for the call; `None` for the store's `timeout`.

        Returns:
            The expression, or `None` if the collection does not exist yet.

        Raises:
            FilterError: If a field, an operator or a value does not fit. The message says what
                does.
            UnsupportedError: If this Milvus can't evaluate the filter.
        """
        if not isinstance(filter_, QueryFilter | TypedFilter | str):
            filter_ = TypedFilter(filter_, fields, allow_dynamic=allow_dynamic)
        read = QueryFilter.read(filter_)
        return await self._run(operations.filter_expression, timeout, read)

    filter_expression = blocking(afilter_expression)
