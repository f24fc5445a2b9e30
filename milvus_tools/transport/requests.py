"""The requests that the store makes, as values: what a `Transport` carries out."""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from milvus_tools.filters.equality import Equality
from milvus_tools.filters.literals import all_of, literal, one_of

Vector = Any  # `(dim,)` float32 values, `{index: weight}`, bytes, or a text for full-text search
Row = dict[str, Any]
Hit = tuple[Row, float]

# Of the keys in one request, as `key_weight` counts them. Milvus Lite reads so long an expression
# in 70 ms, a server in 30 ms; meanwhile others wait.
MAX_KEY_WEIGHT: Final = 256_000

# In one write. As JSON, metadata may take six times what `weight` counts: still below the 64 MiB
# that Milvus takes.
MAX_BYTES: Final = 8_000_000

_LEAST_KEY: Final = 256  # so that a request has 1000 keys at most
_SHORT_KEY: Final = 40  # characters, of which an escape makes six at most
_NUMBER: Final = 16  # bytes, about


@dataclasses.dataclass(frozen=True)
class Deadline:
    """A point in time by which an answer must be there.

    Attributes:
        at: Seconds on the monotonic clock.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Make the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return time.monotonic() >= self.at

    @property
    def remaining(self) -> float:
        """Seconds left, at least 0.001, because gRPC treats 0 as no deadline."""
        return max(self.at - time.monotonic(), 0.001)


# Of a search that callers share: each waits until its own deadline, and when the last of them has
# gone, the search is cancelled.
NEVER: Final = Deadline(math.inf)


@dataclasses.dataclass(frozen=True)
class FieldSearch:
    """A search in one vector field.

    Attributes:
        vector: The query vector, or the query's text where Milvus embeds it.
        field: The vector field.
        params: Milvus's search parameters, `{"metric_type": …, "params": {…}}`.
        limit: The most hits, of which the request may pass over some (`offset`).
        filter: A filter expression, or `""`.
    """

    vector: Vector
    field: str
    params: Mapping[str, Any]
    limit: int
    filter: str = ""


@dataclasses.dataclass(frozen=True)
class SearchRequest:
    """A search in one vector field, or in several, whose hits a ranker fuses.

    Attributes:
        collection_name: The collection.
        searches: One per vector field.
        limit: The most hits in the answer.
        output_fields: The fields of a hit's row.
        ranker: Milvus's ranker or rerank function; only for several searches.
        options: Further keyword arguments of pymilvus's `search`.
    """

    collection_name: str
    searches: tuple[FieldSearch, ...]
    limit: int
    output_fields: tuple[str, ...]
    ranker: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Keys:
    """Primary keys, one of which a row must have.

    Attributes:
        field: The primary key's name.
        values: The keys.
    """

    field: str
    values: tuple[str | int, ...]

    def within(self, filter_: str) -> str:
        """Write the condition that a row has one of the keys and matches a filter."""
        return all_of([filter_, one_of(self.field, self.values)])

    @property
    def weight(self) -> int:
        """The weight that the keys add to a request."""
        return sum(map(key_weight, self.values))

    def halves(self) -> tuple["Keys", "Keys"]:
        """Cut the keys in the middle."""
        middle = len(self.values) // 2
        return Keys(self.field, self.values[:middle]), Keys(self.field, self.values[middle:])

    def batches(self) -> Iterator["Keys"]:
        """Cut the keys into batches for one request each; a key that is too heavy goes alone."""
        start = total = 0
        for end, key in enumerate(self.values):
            weight_ = key_weight(key)
            if start < end and total + weight_ > MAX_KEY_WEIGHT:
                yield Keys(self.field, self.values[start:end])
                start, total = end, 0
            total += weight_
        if self.values:
            yield Keys(self.field, self.values[start:])


@dataclasses.dataclass(frozen=True)
class QueryRequest:
    """A read by filter expression, by keys, or by both.

    Attributes:
        collection_name: The collection.
        filter: The filter expression, or `""` for all rows.
        output_fields: The fields of a row.
        options: Further keyword arguments of pymilvus's `query`, such as `limit`.
        keys: The keys of the rows, or `None` for any.
        dynamic_keys: Keys of the dynamic field to return too; a row may lack them.
        equality: A further condition, by which the read can share a request with others; its
            field must be among those that a row has.
    """

    collection_name: str
    filter: str
    output_fields: tuple[str, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keys: Keys | None = None
    dynamic_keys: tuple[str, ...] = ()
    equality: Equality | None = None

    @property
    def expression(self) -> str:
        """The filter, the equality and the keys."""
        equal = "" if self.equality is None else self.equality.expression
        filter_ = all_of([self.filter, equal])
        return filter_ if self.keys is None else self.keys.within(filter_)


@dataclasses.dataclass(frozen=True)
class WriteRequest:
    """Rows to write.

    Attributes:
        collection_name: The collection.
        rows: The rows, no key twice.
        key: The primary key's name, or `None` if Milvus makes the keys.
        replace: Whether a row replaces the one that has its key; else none has it.
        options: Further keyword arguments of pymilvus's `upsert`, such as `partition_name`.
    """

    collection_name: str
    rows: Sequence[Row]
    key: str | None = None
    replace: bool = True
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DeleteRequest:
    """Rows to delete, by keys that were there a moment ago.

    Attributes:
        collection_name: The collection.
        filter: A filter expression that they must still match, or `""`.
        keys: The keys.
        options: Further keyword arguments of pymilvus's `delete`.
    """

    collection_name: str
    filter: str
    keys: Keys
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def key_weight(key: str | int) -> int:
    """Return how many bytes a key has in a filter expression; a short one counts for more."""
    if isinstance(key, str) and len(key) <= _SHORT_KEY and key.isascii():
        return _LEAST_KEY  # however it is escaped
    return max(_LEAST_KEY, weight(literal(key)) + len(", "))


def weight(value: object) -> int:
    """Estimate how many bytes a row, or a value of one, has on the wire: rather too many."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    if isinstance(value, dict):
        return sum(len(str(name)) + weight(one) for name, one in value.items())
    if isinstance(value, list | tuple):
        return sum(map(weight, value))
    return _NUMBER
