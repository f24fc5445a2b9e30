"""Reading without ranking: by filter, and by id."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from langchain_core.documents import Document

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters import Fields, FieldType, Filter, expression
from milvus_tools.filters.conditions import size
from milvus_tools.schema import DYNAMIC_FIELD, Schema
from milvus_tools.store import options as opts
from milvus_tools.store.documents import DocumentMapper, Key
from milvus_tools.store.ordering import Order, with_keys
from milvus_tools.store.session import Operations
from milvus_tools.store.threads import read_expression, unhurried
from milvus_tools.store.values import id_text
from milvus_tools.transport.requests import (
    Deadline,
    Keys,
    QueryRequest,
    Row,
)

STRONG = {"consistency_level": "Strong"}


class Reads(Operations):
    """Reads that don't rank."""

    async def query(
        self,
        expr: str | None,
        fields: Sequence[str] | None,
        limit: int,
        order: Order | None,
        extra: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[Document]:
        """Return Documents that match a filter, in an order if one is given."""
        options = self._options(extra, opts.QUERY)
        options["limit"] = opts.check_limit(limit, options.get("offset", 0), name="limit")
        filter_ = await read_expression(expr)

        async def work(schema: Schema) -> list[Document]:
            _check_fields(schema, fields)
            mapper = self._collection.mapper(schema)
            if order is not None:
                rows = await self._ordered(schema, filter_, order, options, deadline)
            else:
                rows = await self._rows(schema, filter_, schema.output_fields, options, deadline)
            return [mapper.document(row, self._scope, fields) for row in rows]

        return await self._collection.with_schema(work, [], deadline)

    async def _ordered(
        self,
        schema: Schema,
        filter_: str,
        order: Order,
        options: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[Row]:
        """Read what to sort by of all rows, and then the rows of one page."""
        mapper = self._collection.mapper(schema)
        order = order.resolved(mapper)
        fields = [*self._key_fields(schema), mapper.place(order.field)]
        some = {name: value for name, value in options.items() if name != "offset"}
        rows = await self._rows(
            schema, filter_, fields, {**some, "limit": order.most + 1}, deadline
        )
        page = order.page(rows, mapper, options.get("offset", 0), options["limit"])
        keys = [row[schema.primary.name] for row in page]
        del some["limit"]
        found = await self._rows_of(schema, keys, schema.output_fields, some, deadline)
        return [found[key] for key in keys if key in found]

    async def get(self, ids: Sequence[str], deadline: Deadline) -> list[Document]:
        """Return the Documents of some ids, in the ids' order; those not there are left out."""
        require_list(ids)

        async def work(schema: Schema) -> list[Document]:
            mapper = self._collection.mapper(schema)
            keys = self._keys_of(mapper, ids)
            rows = await self._rows_of(schema, keys, schema.output_fields, {}, deadline)
            return [mapper.document(rows[key], self._scope) for key in keys if key in rows]

        return await self._collection.with_schema(work, [], deadline)

    async def existing(self, ids: Sequence[str], deadline: Deadline) -> set[str]:
        """Return those of some ids that are there, or were written by anybody before this."""
        require_list(ids)

        async def work(schema: Schema) -> set[str]:
            mapper = self._collection.mapper(schema)
            keys = self._keys_of(mapper, ids)
            rows = await self._rows_of(schema, keys, self._key_fields(schema), STRONG, deadline)
            return {mapper.id(key, self._scope) for key in rows}

        return await self._collection.with_schema(work, set(), deadline)

    def _keys_of(self, mapper: DocumentMapper, ids: Sequence[str]) -> list[Key]:
        """Return the stored keys of some ids, each once."""
        return list(dict.fromkeys(mapper.key(id_, self._scope) for id_ in ids))

    async def keys(
        self, expr: str | None, extra: Mapping[str, Any], deadline: Deadline
    ) -> list[Any]:
        """Return the ids of the rows that match a filter, of the type of the collection's keys."""
        options = self._options(extra, opts.KEYS)
        if "limit" in options:
            opts.check_limit(options["limit"], options.get("offset", 0), name="limit")
        elif "offset" in options:
            raise InvalidInputError("offset needs a limit.")
        filter_ = await read_expression(expr)
        if not filter_ and not self._scope:
            raise InvalidInputError("get_pks needs a filter expression.")

        async def work(schema: Schema) -> list[Any]:
            keys = await self._matching(schema, filter_, options, deadline)
            return [self._scope.id(key) if isinstance(key, str) else key for key in keys]

        return await self._collection.with_schema(work, [], deadline)

    async def count(self, expr: str | None, extra: Mapping[str, Any], deadline: Deadline) -> int:
        """Count the rows that match a filter."""
        options = self._options(extra, opts.COUNT)
        filter_ = await read_expression(expr)

        async def work(schema: Schema) -> int:
            if self._must_count_here(schema, options):
                return len(await self._matching(schema, filter_, options, deadline))
            filter_and_scope = self._filter(schema, filter_)
            request = QueryRequest(
                self._collection.name, filter_and_scope, ("count(*)",), self._reading(options)
            )
            (row,) = await self._collection.transport.query(request, deadline)
            return int(row["count(*)"])

        return await self._collection.with_schema(work, 0, deadline)

    def _must_count_here(self, schema: Schema, options: Mapping[str, Any]) -> bool:
        """Tell whether Milvus Lite would count rows of other scopes or partitions, too."""
        in_partitions = "partition_names" in self._reading(options)
        loose = in_partitions or self._scope.needs_client_side_count(schema)
        return self._collection.connection.lite and loose

    async def expression(
        self, filter_: Filter, fields: Mapping[str, FieldType], deadline: Deadline, *, free: bool
    ) -> str | None:
        """Write a typed filter as this collection has it; `None` if there is no collection."""

        def write(mapper: DocumentMapper, known: Fields) -> str:
            return expression(with_keys(filter_, mapper, self._scope), known)

        async def work(schema: Schema) -> str:
            mapper = self._collection.mapper(schema)
            known = Fields(
                schema,
                fields,
                allow_dynamic=free,
                lite=self._collection.connection.lite,
                metadata_field=mapper.metadata_field,
            )
            return await unhurried(size(filter_), write, mapper, known)

        return await self._collection.with_schema(work, None, deadline)

    async def schema(self, deadline: Deadline) -> Schema | None:
        """Return the collection as Milvus describes it, or `None` if it is not there."""
        return await self._collection.schema(deadline)

    def _options(
        self, extra: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]]
    ) -> dict[str, Any]:
        return opts.allowed(extra, known, partition=self._partition("partition_names"))

    async def _rows(
        self,
        schema: Schema,
        filter_: str,
        fields: Sequence[str],
        options: Mapping[str, Any],
        deadline: Deadline,
        keys: Keys | None = None,
    ) -> list[Row]:
        """Read rows by a filter and the scope, and check that they are inside it."""
        request = QueryRequest(
            self._collection.name,
            self._filter(schema, filter_),
            tuple(fields),
            self._reading(options),
            keys,
        )
        rows = await self._collection.transport.query(request, deadline)
        self._scope.require(rows)
        return rows

    async def _rows_of(
        self,
        schema: Schema,
        keys: Sequence[Key],
        fields: Sequence[str],
        options: Mapping[str, Any],
        deadline: Deadline,
        filter_: str = "",
    ) -> dict[Key, Row]:
        """Read the rows of some keys, by key."""
        primary = schema.primary.name
        found: dict[Key, Row] = {}
        for chosen in Keys(primary, tuple(keys)).batches():
            rows = await self._rows(schema, filter_, fields, options, deadline, chosen)
            found |= {row[primary]: row for row in rows}
        return found

    async def _matching(
        self, schema: Schema, filter_: str, options: Mapping[str, Any], deadline: Deadline
    ) -> list[Key]:
        """Return the stored keys of the rows that match."""
        rows = await self._rows(schema, filter_, self._key_fields(schema), options, deadline)
        return [row[schema.primary.name] for row in rows]

    def _key_fields(self, schema: Schema) -> list[str]:
        """What to read when only keys matter: they, and what shows that they are in scope."""
        fields = dict.fromkeys(
            DYNAMIC_FIELD if schema.is_dynamic(name) else name for name in self._scope.values
        )
        return [schema.primary.name, *fields]


def _check_fields(schema: Schema, fields: Sequence[str] | None) -> None:
    if isinstance(fields, str) or not isinstance(fields or (), Sequence | AbstractSet):
        raise InvalidInputError("fields must be a list of metadata keys, not one.")
    for name in fields or ():
        if not isinstance(name, str):
            raise InvalidInputError("fields must be a list of metadata keys.")
        if name not in schema.vectors:
            schema.is_dynamic(name)  # refuses what a static collection has not


def require_list(ids: object) -> None:
    """Refuse what is no list of ids."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Sequence):
        raise InvalidInputError("ids must be a list of ids.")
    for id_ in ids:
        id_text(id_)
