"""Reads by the value of one field, as one read: see `Equality`."""

import collections
import copy
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
    first, wanted = requests[0], _wanted(requests)
    equalities = [equality for equality, _ in wanted.values()]
    either = dataclasses.replace(equalities[0], expression=Equality.any_of(equalities, lite=lite))
    limit = {"limit": sum(most for _, most in wanted.values())} if _limit(first) else {}
    return dataclasses.replace(first, equality=either, options={**first.options, **limit})


def told_apart(requests: Sequence[QueryRequest], rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that each read asked for, of those that `shared` found.

    Raises:
        CannotTellApartError: If a row has a value that no read names, such as `2.0` for `2`; or
            if the limits of all were reached before a read had found as many as its own.
    """
    wanted = _wanted(requests)
    found: dict[object, list[Row]] = collections.defaultdict(list)
    for row in rows:
        found[_value(row, wanted)].append(row)
    full = _limit(requests[0]) and len(rows) >= sum(most for _, most in wanted.values())
    if full and any(len(found[value]) < most for value, (_, most) in wanted.items()):
        raise CannotTellApartError
    # Copies, because a row can be the answer to several.
    return [
        [copy.copy(row) for row in found[_equality(one).value][: _limit(one)]] for one in requests
    ]


def _wanted(requests: Sequence[QueryRequest]) -> dict[str | int, tuple[Equality, int]]:
    """Return the values that reads ask for, each with its condition and its greatest limit."""
    wanted: dict[str | int, tuple[Equality, int]] = {}
    for request in requests:
        equality = _equality(request)
        _, most = wanted.get(equality.value, (equality, 0))
        wanted[equality.value] = equality, max(most, _limit(request) or 0)
    return wanted


def _value(row: Row, wanted: dict[str | int, tuple[Equality, int]]) -> str | int:
    equality, _ = next(iter(wanted.values()))
    value = row.get(equality.field)
    # By type first: `True` equals 1, and a list can't be looked up.
    if type(value) is not type(equality.value) or value not in wanted:
        raise CannotTellApartError
    return value


def _equality(request: QueryRequest) -> Equality:
    assert request.equality is not None  # noqa: S101 - only such reads are shared here
    return request.equality


def _limit(request: QueryRequest) -> int | None:
    limit: int | None = request.options.get("limit")
    return limit
