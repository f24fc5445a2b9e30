"""`DirectTransport`: one request to Milvus per request of the store."""

import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pymilvus import AnnSearchRequest, DataType, Function

from milvus_tools._io.loop import portal
from milvus_tools.errors import MilvusError, UnsupportedError
from milvus_tools.schema import DYNAMIC_FIELD
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.grpc_errors import translated
from milvus_tools.transport.lite_flush import unflushed
from milvus_tools.transport.protocol import StoreStats
from milvus_tools.transport.requests import (
    NEVER,
    Deadline,
    DeleteRequest,
    Hit,
    QueryRequest,
    Row,
    SearchRequest,
    Vector,
    WriteRequest,
)

_LONG: Final = 32  # characters
_MANY: Final = 1_000  # rows, from which on they are read beside the I/O loop
_IGNORES_NOTHING: Final = (2, 6)  # the first version that knows all that a search can ask for
_item: Final = dict.__getitem__


class DirectTransport:
    """One request to Milvus per request of the store."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection, which its owner opens and closes."""
        self._connection = connection

    @property
    def stats(self) -> StoreStats:
        """All 0: no requests are shared here."""
        return StoreStats()

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Send searches that differ only in their vectors, in one request."""
        first = requests[0]  # the requests differ only in their vectors
        if self._connection.version < _IGNORES_NOTHING:
            _require_no_ignored(first, self._connection.version)
        call = self._search_one if len(first.searches) == 1 else self._search_many
        async with self._reading(first.collection_name, searching=True):
            with translated():
                answers = await call(requests, _limit(deadline))
        if len(answers) != len(requests):
            raise MilvusError(
                f"Milvus answered {len(requests)} searches with {len(answers)} results."
            )
        _fill_in_vectors(answers)
        # A hit's own subscript is several times slower than that of the dictionary that it is.
        found = [
            [(_item(hit, "entity"), _item(hit, "distance")) for hit in hits] for hits in answers
        ]
        if found[0]:
            _require_fields(found[0][0][0], first.output_fields)
        return found

    def _search_one(self, requests: Sequence[SearchRequest], limit: Mapping[str, Any]) -> Any:
        request = requests[0]
        (search,) = request.searches
        return self._connection.client.search(
            request.collection_name,
            data=_vectors(requests, 0),
            anns_field=search.field,
            search_params=dict(search.params),
            filter=search.filter,
            limit=request.limit,
            output_fields=list(request.output_fields),
            **limit,
            **request.options,
        )

    def _search_many(self, requests: Sequence[SearchRequest], limit: Mapping[str, Any]) -> Any:
        request = requests[0]
        return self._connection.client.hybrid_search(
            request.collection_name,
            reqs=[
                AnnSearchRequest(
                    data=_vectors(requests, number),
                    anns_field=search.field,
                    param=dict(search.params),
                    limit=search.limit,
                    expr=search.filter or None,
                )
                for number, search in enumerate(request.searches)
            ],
            ranker=request.ranker,
            limit=request.limit,
            output_fields=list(request.output_fields),
            **limit,
            **request.options,
        )

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Query by filter."""
        async with self._reading(request.collection_name):
            with translated():
                rows = await self._connection.client.query(
                    request.collection_name,
                    filter=request.expression,
                    output_fields=[*request.output_fields, *request.dynamic_keys],
                    timeout=deadline.remaining,
                    **request.options,
                )
        if rows:
            _require_fields(rows[0], request.output_fields)
        if len(rows) <= _MANY:
            return read_rows(rows)
        return await portal().computing.run(read_rows, rows)

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write rows, each in place of the whole row that had its key."""
        client = self._connection.client
        # Milvus Lite's upsert merges the new row into the old one; its insert replaces it.
        replaces = client.insert if self._connection.engine_is_lite else client.upsert
        write = replaces if request.replace else client.insert
        with translated():
            answer = await self._one_at_a_time(
                write,
                request.collection_name,
                list(map(_light, request.rows)),
                timeout=deadline.remaining,
                **request.options,
            )
        if self._connection.lite:
            unflushed(self._connection, request.collection_name).wrote(request.rows)
        return list(answer["ids"])

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete by filter.

        Unlike its sync client, pymilvus's async client does not check the status of the response,
        so that a failed delete returns a count of 0. `store/operations/delete.py` tells the two
        cases apart.
        """
        with translated():
            answer = await self._one_at_a_time(
                self._connection.client.delete,
                request.collection_name,
                filter=request.keys.within(request.filter),
                timeout=deadline.remaining,
                **request.options,
            )
        return len(answer) if isinstance(answer, list) else int(answer["delete_count"])

    def _reading(
        self, collection_name: str, *, searching: bool = False
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Return a context without flushes of Milvus Lite, in which a read would miss rows."""
        if not self._connection.lite:
            return contextlib.nullcontext()
        there = unflushed(self._connection, collection_name)
        if searching:
            there.searched()
        return there.reading()

    async def _one_at_a_time(
        self, write: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Write when no other write to the same Milvus Lite file is under way."""
        async with self._connection.writing:
            return await write(*args, **kwargs)

    async def aclose(self) -> None:
        """Do nothing: each request under way belongs to the call that awaits it."""


def _require_no_ignored(request: SearchRequest, version: tuple[int, int]) -> None:
    """Refuse a search with parameters that this server does not know.

    It would ignore them without a word, and return other hits: ungrouped, or in another order.
    """
    several, grouped = len(request.searches) > 1, "group_by_field" in request.options
    sized = not request.options.keys().isdisjoint(("group_size", "strict_group_size"))
    for asked, what, since in (
        (several, "Hybrid search", (2, 4)),
        (grouped, "A search with group_by_field", (2, 4)),
        (grouped and several, "Hybrid search with group_by_field", (2, 5)),
        (sized, "A search with group_size or strict_group_size", (2, 5)),
        (isinstance(request.ranker, Function), "A reranker of the type Function", (2, 6)),
    ):
        if asked and version < since:
            raise UnsupportedError(f"{what} needs Milvus {since[0]}.{since[1]} or Milvus Lite.")


def read_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Read the rows of an answer, which pymilvus decodes one by one as they are read."""
    return [dict(row) for row in rows]


def _limit(deadline: Deadline) -> dict[str, Any]:
    """Return pymilvus's arguments for a deadline.

    Without one it must not count how often it tries again. It then starts no task and no timer.
    """
    if deadline is NEVER:
        return {"timeout": None, "retry_times": sys.maxsize}
    return {"timeout": deadline.remaining}


def _fill_in_vectors(answers: Sequence[Any]) -> None:
    """Give the hits their float32 vectors, as rows of one array for all hits of an answer.

    pymilvus would make a list of Python floats for each hit, which takes most of the time of a
    search that asks for vectors.
    """
    arrays: dict[str, Any] = {}
    for hits in answers:
        left = []
        for field in hits.lazy_field_data:  # which all answers of a request share
            # Of a nullable field, the rows without a vector have no place in the numbers.
            if field.type != DataType.FLOAT_VECTOR or field.valid_data:
                left.append(field)
                continue
            if field.field_name not in arrays:
                arrays[field.field_name] = _float32(field.vectors)
            for number in range(len(hits)):
                row = hits.get_raw_item(number)["entity"]
                row[field.field_name] = arrays[field.field_name][hits.start + number]
        hits.lazy_field_data = left


def _float32(vectors: Any) -> Any:
    """Return a message's vectors as an array `(n, dim)`."""
    # The message has one packed field, which ends in its numbers: to read them from there is 25
    # times as fast as one by one.
    size = 4 * len(vectors.float_vector.data)
    numbers = vectors.float_vector.SerializeToString()[-size:] if size else b""
    return np.frombuffer(numbers, dtype="<f4").reshape(-1, vectors.dim)


class _Text(str):
    """A string that yields nothing when it is iterated.

    pymilvus checks a string as if it were a list of strings, one character at a time. That takes
    longer than everything else that it does with a row.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        """Yield no characters, so that pymilvus has none to check."""
        return iter(())


def _light(row: Row) -> Row:
    """Wrap long strings, so that pymilvus does not check each character."""
    return {
        name: _Text(value) if type(value) is str and len(value) > _LONG else value
        for name, value in row.items()
    }


def _require_fields(row: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise if a row lacks a field: the collection is not the one that the request was made for.

    Neither Milvus nor pymilvus checks that, and a row without metadata would look right.
    """
    lacking = set(names).difference(row, (DYNAMIC_FIELD,))  # which comes as the keys that it holds
    if lacking:
        raise MilvusError(
            f"The collection has no field {min(lacking)!r}: it was made anew, or its alias moved."
        )


def _vectors(requests: Sequence[SearchRequest], number: int) -> list[Vector]:
    """Return the vectors for one of the searched fields, of each request.

    pymilvus packs a list in a quarter of the time that it takes for a float32 array.
    """
    vectors = [request.searches[number].vector for request in requests]
    return [
        one.tolist() if isinstance(one, np.ndarray) and one.dtype == np.float32 else one
        for one in vectors
    ]
