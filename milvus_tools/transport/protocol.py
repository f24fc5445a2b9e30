"""`Transport`: what carries the store's requests to Milvus."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from milvus_tools.batching import BatcherStats
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    Hit,
    QueryRequest,
    Row,
    SearchRequest,
    WriteRequest,
)


@dataclasses.dataclass(frozen=True)
class StoreStats:
    """Counts of calls, and of the requests that they became.

    Attributes:
        search: Of searches.
        query: Of reads by key: get by ids, and what upserts and deletes read first.
        upsert: Of writes.
        delete: Of deletes by key, which deletes by filter end in, too.
        by_value: Of reads by the value of one field (`name == "x"`), which deletes by such a
            filter begin with, too.
    """

    search: BatcherStats = dataclasses.field(default_factory=BatcherStats)
    query: BatcherStats = dataclasses.field(default_factory=BatcherStats)
    upsert: BatcherStats = dataclasses.field(default_factory=BatcherStats)
    delete: BatcherStats = dataclasses.field(default_factory=BatcherStats)
    by_value: BatcherStats = dataclasses.field(default_factory=BatcherStats)


class Transport(Protocol):
    """Carries out requests. All methods run on the I/O loop and raise our errors.

    `DirectTransport` sends each request as it is; `BatchedTransport` sends together what was made
    at the same time, by another transport. A wrapper, to record or delay requests, has the same
    methods and fits above the batching, where it sees what the store asks, and below it, where it
    sees what is sent:

    ```python
    def transport(connection: Connection) -> Transport:
        sent = Recording(DirectTransport(connection))
        return Recording(BatchedTransport(sent, lite=connection.lite))

    store = MilvusStore(embeddings, transport=transport)
    ```
    """

    @property
    def stats(self) -> StoreStats:
        """Counts of calls and requests; all 0 if no request is shared."""
        ...

    async def search(
        self, requests: Sequence[SearchRequest], deadline: Deadline
    ) -> list[list[Hit]]:
        """Make searches, at least one, that differ in nothing but their vectors.

        Returns:
            Per search its hits, best first, each a row and its distance.
        """
        ...

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Return the rows, in no order."""
        ...

    async def upsert(self, request: WriteRequest, deadline: Deadline) -> list[Any]:
        """Write the rows and return their keys, in the rows' order."""
        ...

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete the rows; tell how many Milvus says it has deleted."""
        ...

    async def aclose(self) -> None:
        """End what is under way; the connection is closed afterwards."""
        ...
