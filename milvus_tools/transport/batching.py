"""Requests of the store that go out together: see `milvus_tools.batching`.

Requests share one only if all that defines the answer is equal; what may differ is the query
vector of a search, the keys of a read or delete by key, the value in a read by the value of one
field, and the rows of an upsert.
"""

import asyncio
import contextlib
import dataclasses
import functools
import operator
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.batching import BatchInfo, Limits, MicroBatcher
from milvus_tools.errors import (
    AnswerTooLargeError,
    InvalidInputError,
    MilvusError,
    StoreClosedError,
)
from milvus_tools.transport.grouping import (
    Timed,
    delete_group,
    frozen_vector,
    query_group,
    search_group,
    value_group,
    write_group,
)
from milvus_tools.transport.grpc_errors import ILLEGAL_ARGUMENT
from milvus_tools.transport.protocol import StoreStats, Transport
from milvus_tools.transport.requests import (
    MAX_BYTES,
    MAX_KEY_WEIGHT,
    NEVER,
    Deadline,
    DeleteRequest,
    Hit,
    Keys,
    QueryRequest,
    Row,
    SearchRequest,
    WriteRequest,
    key_weight,
    weight,
)
from milvus_tools.transport.sharing import CannotTellApartError, shared, told_apart

MAX_VECTORS: Final = 256  # in one search
MAX_HITS: Final = 8_192  # in the answer to one search
MAX_SHARED_KEYS: Final = 2 * MAX_KEY_WEIGHT  # in one read or delete
MAX_CALLS: Final = 256  # in one read, write or delete
SLOTS: Final = 4  # requests of a kind in flight; calls meanwhile gather for the next one

# Milvus's codes for a request that is wrong: of Lite, of 2.3, and of later servers.
_WRONG: Final = frozenset({ILLEGAL_ARGUMENT, 65535, *range(1100, 1200)})
# Reads by value that can't be shared, such as those of many tenants, don't wait for each other.
_VALUE_SLOTS: Final = 64

_FIRST: Final = operator.itemgetter(0)
_VECTOR: Final = operator.attrgetter("vector")

OnBatch = Callable[[str, BatchInfo], None]


class BatchedTransport:
    """Sends requests that the store makes at the same time as one.

    Milvus Lite answers one request at a time, so there the others pile up meanwhile.
    """

    def __init__(self, below: Transport, *, lite: bool, on_batch: OnBatch | None = None) -> None:
        """Send by another transport.

        Args:
            below: What sends.
            lite: Whether Milvus Lite is at the other end.
            on_batch: Called after each request with what it was and how it went.
        """
        self._below = below
        self._lite = lite
        self._writes = 0
        self._flying: dict[Hashable, asyncio.Event] = {}
        slots = 1 if lite else SLOTS
        make = functools.partial(_batcher, on_batch, slots)
        self._search = make(
            "search",
            self._search_all,
            group_key=search_group,
            identity=self._same_search,
            weigh=lambda timed: timed[0].limit * len(timed[0].searches),
            most=(MAX_VECTORS, MAX_HITS),
            cancel_abandoned=True,
        )
        self._query = make(
            "query",
            self._query_all,
            group_key=query_group,
            weigh=lambda timed: timed[0].keys.weight,
            most=(MAX_CALLS, MAX_SHARED_KEYS),
            cancel_abandoned=True,
        )
        self._by_value = _batcher(
            on_batch,
            slots if lite else _VALUE_SLOTS,
            "query",
            self._by_value_all,
            group_key=value_group,
            weigh=_weight_by_value,
            most=(MAX_CALLS, 1),
            cancel_abandoned=True,
        )
        self._upsert = make(
            "upsert",
            self._upsert_all,
            group_key=write_group,
            weigh=lambda timed: sum(map(weight, timed[0].rows)),
            most=(MAX_CALLS, MAX_BYTES),
        )
        self._delete = make(
            "delete",
            self._delete_all,
            group_key=delete_group,
            weigh=lambda timed: timed[0].keys.weight,
            most=(MAX_CALLS, MAX_SHARED_KEYS),
        )

    @property
    def stats(self) -> StoreStats:
        """Counts of calls, and of the requests that they became."""
        return StoreStats(
            self._search.stats,
            self._query.stats,
            self._upsert.stats,
            self._delete.stats,
            self._by_value.stats,
        )

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Search, together with searches that differ in the vectors alone."""
        if len(requests) == 1:  # as the store asks: it needs no task of its own
            return [await self._search.submit((requests[0], deadline))]
        return await gather_or_cancel(self._search.submit((one, deadline)) for one in requests)

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Read by key, or by the value of one field, together with others; else alone."""
        # A page that is not the first depends on the order in which Milvus finds the rows.
        if request.equality is not None and "offset" not in request.options:
            return await self._by_value.submit((request, deadline))  # type: ignore[no-any-return]
        if request.keys is None or request.options.keys() & {"limit", "offset"}:
            return await self._below.query(request, deadline)
        return await self._query.submit((request, deadline))  # type: ignore[no-any-return]

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write rows together with those of others; of one key the later caller's row stays.

        Rows without keys go alone: written twice they would be there twice.
        """
        try:
            if request.key is None:
                return await self._below.upsert(request, deadline)
            return await self._upsert.submit((request, deadline))  # type: ignore[no-any-return]
        finally:
            self._writes += 1

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete rows by key together with those of others."""
        try:
            return await self._delete.submit((request, deadline))  # type: ignore[no-any-return]
        finally:
            self._writes += 1

    async def aclose(self) -> None:
        """Cancel what is under way."""
        closed = StoreClosedError("The store was closed during the call.")
        batchers = (self._search, self._query, self._by_value, self._upsert, self._delete)
        await asyncio.gather(*(one.aclose(drain=False, error=closed) for one in batchers))
        await self._below.aclose()

    def _same_search(self, timed: Timed) -> Hashable | None:
        """Tell which searches have the same answer.

        One that began before a write must not answer a caller who comes after it; a Strong one
        must see what other processes wrote, too.
        """
        request: SearchRequest = timed[0]
        if request.options.get("consistency_level") == "Strong":
            return None
        vectors = tuple(map(frozen_vector, map(_VECTOR, request.searches)))
        return None if None in vectors else (self._writes, vectors)

    async def _search_all(self, batch: Sequence[Timed]) -> list[list[Hit]]:
        # Not the latest deadline of these callers: who joins later may be more patient.
        return await self._below.search([*map(_FIRST, batch)], NEVER)

    async def _query_all(self, batch: Sequence[Timed]) -> list[list[Row]]:
        requests: list[QueryRequest] = [request for request, _ in batch]
        keys = _all_keys(requests)
        request = dataclasses.replace(requests[0], keys=keys)
        rows = await self._below.query(request, _latest(batch))
        by_key = {row[keys.field]: row for row in rows}
        if len(requests) == 1:
            return [rows]
        return [
            [dict(by_key[key]) for key in dict.fromkeys(_values(one)) if key in by_key]
            for one in requests
        ]

    async def _by_value_all(self, batch: Sequence[Timed]) -> list[list[Row]]:
        requests: list[QueryRequest] = [request for request, _ in batch]
        if len(requests) == 1:
            return [await self._below.query(requests[0], _latest(batch))]
        rows = await self._below.query(shared(requests, lite=self._lite), _latest(batch))
        return told_apart(requests, rows)

    async def _upsert_all(self, batch: Sequence[Timed]) -> list[list[Any]]:
        requests: list[WriteRequest] = [request for request, _ in batch]
        field = str(requests[0].key)
        rows = {row[field]: row for request in requests for row in request.rows}
        request = dataclasses.replace(requests[0], rows=list(rows.values()))
        async with self._in_turn(rows.keys()):
            written = await self._below.upsert(request, _latest(batch))
        if len(written) != len(rows):
            raise MilvusError(f"Milvus confirmed {len(written)} of {len(rows)} rows.")
        return [[row[field] for row in request.rows] for request in requests]

    @contextlib.asynccontextmanager
    async def _in_turn(self, keys: AbstractSet[Hashable]) -> AsyncIterator[None]:
        """Wait for the batches that are writing one of the keys: they could be overtaken."""
        earlier = {self._flying[key] for key in keys if key in self._flying}
        done = asyncio.Event()
        self._flying |= dict.fromkeys(keys, done)
        try:
            for one in earlier:
                await one.wait()
            yield
        finally:
            for key in [key for key in keys if self._flying.get(key) is done]:
                del self._flying[key]
            done.set()

    async def _delete_all(self, batch: Sequence[Timed]) -> list[int]:
        """Delete the keys of all callers, who hold the locks of theirs, in one request."""
        requests: list[DeleteRequest] = [request for request, _ in batch]
        request = dataclasses.replace(requests[0], keys=_all_keys(requests))
        count = await self._below.delete(request, _latest(batch))
        return [len(_values(one)) if count else 0 for one in requests]


def _batcher(
    on_batch: OnBatch | None,
    slots: int,
    kind: str,
    send: Callable[[Sequence[Timed]], Any],
    *,
    most: tuple[int, float],
    **rules: Any,
) -> MicroBatcher[Timed, Any]:
    size, weight = most
    return MicroBatcher(
        send,
        limits=Limits(max_batch_size=size, max_batch_weight=weight, max_in_flight=slots),
        is_invalid=_is_invalid,
        on_batch=None if on_batch is None else functools.partial(on_batch, kind),
        **rules,
    )


def _is_invalid(error: Exception) -> bool:
    """Tell whether Milvus refused a request for what is in it, and did nothing."""
    if isinstance(error, InvalidInputError | AnswerTooLargeError | CannotTellApartError):
        return True
    return type(error) is MilvusError and error.code in _WRONG


def _weight_by_value(timed: Timed) -> float:
    """Return the part of a shared read that a read by value takes up, by its bytes or its rows."""
    request: QueryRequest = timed[0]
    equality = request.equality
    size = key_weight(equality.value) if equality is not None else 0
    return max(size / MAX_SHARED_KEYS, int(request.options.get("limit", 0)) / MAX_HITS)


def _latest(batch: Sequence[Timed]) -> Deadline:
    """Return the deadline of the most patient caller; each waits on its own."""
    return max((deadline for _, deadline in batch), key=lambda deadline: deadline.at)


def _values(request: QueryRequest | DeleteRequest) -> tuple[str | int, ...]:
    return request.keys.values if request.keys is not None else ()


def _all_keys(requests: Sequence[QueryRequest] | Sequence[DeleteRequest]) -> Keys:
    keys = requests[0].keys
    assert keys is not None  # noqa: S101 - only requests with keys are batched
    return Keys(keys.field, tuple(dict.fromkeys(key for one in requests for key in _values(one))))
