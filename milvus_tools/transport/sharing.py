"""Reads by the value of one field, as one read: see `Equality`."""

import collections
import dataclasses
from collections.abc import Sequence

from milvus_tools.filters.equality import Equality
from milvus_tools.transport.requests import QueryRequest, Row


class CannotTellApartError(Exception):
    """The rows of a shared read don't show what each of the reads would have returned."""


def shared(requests: Sequence[QueryRequest], *, lite: bool) -> QueryRequest:
    """Return the one read of all rows that some reads ask for.

    Args:
        requests: Reads that differ in the value of their equality, and in their limit, alone.
        lite: Whether the read is for Milvus Lite.
    """
    first = requests[0]
    either = Equality.any_of([_equality(one) for one in requests], lite=lite)
    options = dict(first.options)
    if "limit" in options:
        options["limit"] = sum(_limits(requests).values())
    equality = dataclasses.replace(_equality(first), expression=either)
    return dataclasses.replace(first, equality=equality, options=options)


def told_apart(requests: Sequence[QueryRequest], rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that each read asked for, of those that `shared` found.

    Raises:
        CannotTellApartError: If a row has a value that no read names, such as `2.0` for `2`; or
            if the sum of the limits was reached before one read had as many rows as its limit.
    """
    equality, limits = _equality(requests[0]), _limits(requests)
    found: dict[object, list[Row]] = collections.defaultdict(list)
    for row in rows:
        value = row.get(equality.field)
        # By type first: `True` equals 1, and a list can't be looked up.
        if type(value) is not type(equality.value) or value not in limits:
            raise CannotTellApartError
        found[value].append(row)
    is_full = "limit" in requests[0].options and len(rows) >= sum(limits.values())
    if is_full and any(len(found[value]) < limit for value, limit in limits.items()):
        raise CannotTellApartError
    # Copies, because a row can be the answer to several.
    return [
        [dict(row) for row in found[_equality(one).value][: one.options.get("limit")]]
        for one in requests
    ]


def _limits(requests: Sequence[QueryRequest]) -> dict[str | int, int]:
    """Return the greatest limit of each value; 0 if there is none."""
    limits: dict[str | int, int] = {}
    for request in requests:
        value = _equality(request).value
        limits[value] = max(limits.get(value, 0), request.options.get("limit", 0))
    return limits


def _equality(request: QueryRequest) -> Equality:
    assert request.equality is not None  # noqa: S101 - only such reads are shared here
    return request.equality
