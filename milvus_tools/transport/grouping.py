"""Group keys: requests of equal keys may share one; and which searches are the same."""

import dataclasses
import json
import operator
from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
from pymilvus import RRFRanker, WeightedRanker

from milvus_tools.transport.requests import (
    Deadline,
    DeleteRequest,
    QueryRequest,
    SearchRequest,
    Vector,
    WriteRequest,
)

Timed = tuple[Any, Deadline]

_BUT_VECTOR: Final = operator.attrgetter("field", "params", "limit", "filter")


def search_group(timed: Timed) -> Hashable:
    """Return what searches share but their vectors."""
    request: SearchRequest = timed[0]
    return (
        _frozen(
            [
                request.collection_name,
                [*map(_BUT_VECTOR, request.searches)],
                request.limit,
                request.output_fields,
                request.options,
            ]
        ),
        None if request.ranker is None else _frozen_ranker(request.ranker),
    )


def query_group(timed: Timed) -> Hashable:
    """Return what reads share but their keys."""
    request: QueryRequest = timed[0]
    return (
        request.collection_name,
        request.filter,
        request.output_fields,
        request.dynamic_keys,
        _frozen(request.options),
        None if request.keys is None else request.keys.field,
    )


def value_group(timed: Timed) -> Hashable:
    """Return what reads by the value of one field share but the value and the limit."""
    request: QueryRequest = timed[0]
    equality = request.equality
    options = {name: one for name, one in request.options.items() if name != "limit"}
    return (
        query_group((dataclasses.replace(request, options=options), timed[1])),
        "limit" in request.options,
        None if equality is None else (equality.field, type(equality.value)),
    )


def write_group(timed: Timed) -> Hashable:
    """Return what writes share but their rows."""
    request: WriteRequest = timed[0]
    return request.collection_name, request.key, request.replace, _frozen(request.options)


def delete_group(timed: Timed) -> Hashable:
    """Return what deletes share but their keys."""
    request: DeleteRequest = timed[0]
    return request.collection_name, request.filter, request.keys.field, _frozen(request.options)


def _frozen(options: Mapping[str, Any] | list[Any]) -> Hashable:
    """Return something equal for equal options alone; what JSON does not know is itself alone."""
    # JSON, because a tuple would take `True` for `1`, and one call of its encoder is fast.
    return json.dumps(options, sort_keys=True, default=lambda value: f"{type(value)} {id(value)}")


def _frozen_ranker(ranker: Any) -> Hashable:
    if type(ranker) in (RRFRanker, WeightedRanker):
        return _frozen(ranker.dict())
    return id(ranker)


def frozen_vector(vector: Vector) -> Hashable | None:
    """Return something equal for equal vectors alone; `None` for those that can't be told."""
    if isinstance(vector, np.ndarray):  # bytes are compared at once, and NaN equals itself
        return vector.dtype.str, vector.tobytes()
    return vector if isinstance(vector, str | bytes) else None
