"""Which requests may share one."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
from pymilvus import Function, FunctionType, RRFRanker, WeightedRanker

from milvus_tools.transport.grouping import (
    delete_group,
    frozen_vector,
    query_group,
    search_group,
    write_group,
)
from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    FieldSearch,
    Keys,
    QueryRequest,
    SearchRequest,
    WriteRequest,
)

ROUTE = FieldSearch([0.5], "vector", {"params": {"ef": 64}}, 4, "n > 1")
SEARCH = SearchRequest("docs", (ROUTE,), 4, ("pk", "text"), None, {"round_decimal": 1})
FUSED = dataclasses.replace(SEARCH, searches=(ROUTE, ROUTE), ranker=RRFRanker(60))
QUERY = QueryRequest("docs", "n > 1", ("pk",), {"consistency_level": "Strong"}, Keys("pk", ("a",)))
WRITE = WriteRequest("docs", [{"pk": "a"}], "pk", replace=True, options={})
DELETE = DeleteRequest("docs", "n > 1", Keys("pk", ("a",)), {})


def search(**changes: Any) -> dict[str, Any]:
    """Return the field searches of a request, one of which differs."""
    return {"searches": (dataclasses.replace(ROUTE, **changes),)}


@pytest.mark.parametrize(
    ("group", "request_", "changes"),
    [
        (search_group, SEARCH, search(vector=[0.7])),
        (search_group, FUSED, {"ranker": RRFRanker(60)}),
        (search_group, FUSED, {"ranker": WeightedRanker(0.5, 0.5)}),
        (query_group, QUERY, {"keys": Keys("pk", ("b", "c"))}),
        (write_group, WRITE, {"rows": [{"pk": "b"}]}),
        (delete_group, DELETE, {"keys": Keys("pk", ("b",))}),
    ],
)
def test_what_may_differ_does_not_part_requests(
    group: Callable[[Any], Hashable], request_: Any, changes: dict[str, Any]
) -> None:
    """Vectors, keys, rows and deadlines are each caller's own."""
    if isinstance(changes.get("ranker"), WeightedRanker):  # two that are equal, of their own
        request_ = dataclasses.replace(request_, ranker=WeightedRanker(0.5, 0.5))
    other = dataclasses.replace(request_, **changes)
    assert group((request_, Deadline(1))) == group((other, Deadline(2)))


@pytest.mark.parametrize(
    ("group", "request_", "changes"),
    [
        *(
            (search_group, SEARCH, changes)
            for changes in (
                {"collection_name": "other"},
                {"limit": 5},
                {"output_fields": ("pk",)},
                {"options": {"round_decimal": True}},
                {"options": {"round_decimal": 1, "offset": 1}},
                {"options": {}},
                search(field="other"),
                search(params={"params": {"ef": 65}}),
                search(limit=5),
                search(filter="n > 2"),
                {"searches": (ROUTE, ROUTE)},
            )
        ),
        (search_group, FUSED, {"ranker": RRFRanker(61)}),
        (search_group, FUSED, {"ranker": WeightedRanker(0.5, 0.5)}),
        (search_group, FUSED, {"ranker": Function("f", FunctionType.RERANK, [], params={})}),
        *(
            (query_group, QUERY, changes)
            for changes in (
                {"collection_name": "other"},
                {"filter": ""},
                {"output_fields": ("pk", "text")},
                {"options": {"consistency_level": "Session"}},
                {"options": {**QUERY.options, "partition_names": ["p"]}},
                {"keys": Keys("id", ("a",))},
            )
        ),
        *(
            (write_group, WRITE, changes)
            for changes in (
                {"collection_name": "other"},
                {"key": "id"},
                {"replace": False},
                {"options": {"partition_name": "p"}},
            )
        ),
        *(
            (delete_group, DELETE, changes)
            for changes in (
                {"collection_name": "other"},
                {"filter": "n > 2"},
                {"keys": Keys("id", ("a",))},
                {"options": {"partition_name": "p"}},
            )
        ),
    ],
)
def test_all_else_parts_requests(
    group: Callable[[Any], Hashable], request_: Any, changes: dict[str, Any]
) -> None:
    """Requests share one only if all that defines the answer is equal."""
    other = dataclasses.replace(request_, **changes)
    assert group((request_, Deadline(1))) != group((other, Deadline(1)))


def test_vectors_are_the_same_only_bit_by_bit() -> None:
    """Type and values count; what has no bytes is never the same."""
    one = np.asarray([1, 2], dtype=np.float32)
    assert frozen_vector(one) == frozen_vector(one.copy())
    assert frozen_vector(one) != frozen_vector(one.astype(np.float16))
    assert frozen_vector(one) != frozen_vector(one + 1)
    assert frozen_vector("words") == "words"
    assert frozen_vector({1: 0.5}) is None
