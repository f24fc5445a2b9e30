"""The public methods that read without ranking."""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools.store.base import StoreBase


class ReadMethods(StoreBase):
    """Reads by id and by filter."""

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the Documents of some ids.

        Args:
            ids: The ids.

        Returns:
            The Documents in the ids' order, each once; ids that are not there are left out.
        """
        return await self._run(lambda do, deadline: do.get(ids, deadline), None)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Do what `aget_by_ids` does, and wait."""
        return self._wait(self.aget_by_ids(ids))

    async def asearch_by_metadata(
        self,
        expr: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int = 10,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return Documents that match a filter expression, without any vector.

        Args:
            expr: A [filter expression](https://milvus.io/docs/boolean.md), or `None` for all.
            fields: The metadata keys to return, or `None` for all.
            limit: The most Documents, 1 to 16384.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            The Documents, in no order; `[]` means that none matches.
        """
        return await self._run(
            lambda do, deadline: do.query(expr, fields, limit, kwargs, deadline), timeout
        )

    def search_by_metadata(
        self,
        expr: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int = 10,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Do what `asearch_by_metadata` does, and wait."""
        return self._wait(self.asearch_by_metadata(expr, fields, limit, timeout, **kwargs))

    async def aget_pks(self, expr: str, timeout: float | None = None, **kwargs: Any) -> list[Any]:
        """Return the ids of the entities that match a filter expression.

        Args:
            expr: The expression.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: `offset`, `consistency_level`; outside scopes `partition_names`.

        Returns:
            Strings, or integers where the collection's keys are.
        """
        return await self._run(lambda do, deadline: do.keys(expr, kwargs, deadline), timeout)

    def get_pks(self, expr: str, timeout: float | None = None, **kwargs: Any) -> list[Any]:
        """Do what `aget_pks` does, and wait."""
        return self._wait(self.aget_pks(expr, timeout, **kwargs))

    async def acount(
        self, expr: str | None = None, timeout: float | None = None, **kwargs: Any
    ) -> int:
        """Count the entities that match a filter expression.

        Args:
            expr: The expression, or `None` for all.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: `consistency_level`; outside scopes `partition_names`.
        """
        return await self._run(lambda do, deadline: do.count(expr, kwargs, deadline), timeout)

    def count(self, expr: str | None = None, timeout: float | None = None, **kwargs: Any) -> int:
        """Do what `acount` does, and wait."""
        return self._wait(self.acount(expr, timeout, **kwargs))
