"""The keyword arguments that a call may carry on to Milvus: an allow-list.

What is not on it could name a filter, a partition or another collection past the store's scope.
"""

import sys
from collections.abc import Mapping
from typing import Any

from pymilvus import Function
from pymilvus.client.abstract import BaseRanker

from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.schema import Index

MAX_LIMIT = 16_384  # offset and limit together, Milvus's own bound
DEFAULT_FETCH_K = 20
CONSISTENCY_LEVELS = ("Strong", "Bounded", "Session", "Eventually")

Known = Mapping[str, type | tuple[type, ...]]

_READ: dict[str, type | tuple[type, ...]] = {"consistency_level": str}
_SEARCH: dict[str, type | tuple[type, ...]] = {
    **_READ,
    "group_by_field": str,
    "group_size": int,
    "ignore_growing": bool,
    "offset": int,
    "round_decimal": int,
    "strict_group_size": bool,
}
_HYBRID: dict[str, type | tuple[type, ...]] = {
    "fetch_k": int,
    "ranker_params": dict,
    "ranker_type": str,
    "reranker": (Function, BaseRanker),
}
SEARCH = {**_SEARCH, **_HYBRID}
SEARCH_TEXT = {**SEARCH, "search_mode": str}
SEARCH_MODES = ("dense", "sparse", "hybrid")
QUERY = {**_READ, "offset": int}
KEYS = {**QUERY, "limit": int}
COUNT = _READ
_PARTITIONS = ("partition_name", "partition_names")
# Index types whose searches need a parameter that Milvus has no default for, see
# <https://milvus.io/docs/index.md>; each value is what langchain-milvus takes, or more.
_NEEDED: dict[str, dict[str, int]] = {
    "IVF_FLAT": {"nprobe": 16},
    "IVF_SQ8": {"nprobe": 16},
    "IVF_PQ": {"nprobe": 16},
    "SCANN": {"nprobe": 16},
    "ANNOY": {"search_k": 64},
    "HNSW": {"ef": 64},
    "HNSW_SQ": {"ef": 64},
    "HNSW_PQ": {"ef": 64},
    "DISKANN": {"search_list": 64},
}
_AT_LEAST_LIMIT = ("ef", "search_list")


def allowed(
    given: Mapping[str, Any],
    known: Known,
    *,
    partition: str | None,
) -> dict[str, Any]:
    """Return the keyword arguments if each may pass.

    Args:
        given: What the caller gave beyond the named arguments.
        known: The names that may pass, and the types of their values.
        partition: The name under which this call takes partitions, or `None` in a scope, where
            no call does.

    Raises:
        ScopeError: If one names a partition inside a scope.
        InvalidInputError: If one is unknown, or of another type.
    """
    if not given:
        return {}
    passed = {name: value for name, value in given.items() if value is not None}
    for name, value in passed.items():
        if name in _PARTITIONS and partition is None:
            raise ScopeError(f"{name} can't be given inside a scope.")
        if name == partition:
            _check_partition(name, value)
        elif name not in known:
            raise InvalidInputError(_unknown(name, [*known, *filter(None, [partition])]))
        elif not _is_a(value, known[name]):
            raise InvalidInputError(f"{name} can't be a {type(value).__name__}.")
    if passed.get("consistency_level", "Strong") not in CONSISTENCY_LEVELS:
        raise InvalidInputError(
            f"consistency_level must be one of {', '.join(CONSISTENCY_LEVELS)}."
        )
    if passed.get("search_mode", "dense") not in SEARCH_MODES:
        raise InvalidInputError(f"search_mode must be one of {', '.join(SEARCH_MODES)}.")
    return passed


def _is_a(value: object, types: type | tuple[type, ...]) -> bool:
    return isinstance(value, types) and (types is bool or not isinstance(value, bool))


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number, and no boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # an integer may be too large for `isfinite`


def _unknown(name: str, known: list[str]) -> str:
    hint = " Write a filter as filter." if "filter" in name or name == "where" else ""
    takes = f"it takes {', '.join(sorted(known))}" if known else "it takes no others"
    return f"The keyword argument {name!r} is not known here; {takes}.{hint}"


def _check_partition(name: str, value: object) -> None:
    values = [value] if name == "partition_name" else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise InvalidInputError(f"{name} must be made of strings.")


def check_limit(value: object, offset: object = 0, *, name: str = "k") -> int:
    """Check a limit, which Milvus Lite and the server read differently when out of bounds.

    Raises:
        InvalidInputError: If it isn't an integer of 1 to 16384, or reaches past that.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
        raise InvalidInputError(f"{name} must be an integer from 1 to {MAX_LIMIT}.")
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise InvalidInputError("offset must be an integer of 0 or more.")
    if offset + value > MAX_LIMIT:
        raise InvalidInputError(f"offset and {name} together can't pass {MAX_LIMIT}.")
    return value


def require_fused(options: Mapping[str, Any]) -> None:
    """Refuse, in a search of one vector field, what says how to fuse several.

    Raises:
        InvalidInputError: If one is given, which would do nothing.
    """
    fusing = sorted(_HYBRID.keys() & options.keys())
    if fusing:
        raise InvalidInputError(
            f"{', '.join(fusing)}: that says how to fuse several vector fields, and this "
            "searches one; leave it out."
        )


def limit_with_offset(k: int, options: Mapping[str, Any]) -> int:
    """Return how many hits a search must find, those that `offset` passes over included."""
    return k + int(options.get("offset", 0))


def search_params(given: Mapping[str, Any] | None, index: Index | None, k: int) -> dict[str, Any]:
    """Return the search parameters of one field.

    Args:
        given: `{"metric_type": …, "params": {…}}`, or `None` for what the index needs.
        index: The index of the vector field.
        k: How many hits must be found.

    Raises:
        InvalidInputError: If they hold anything but numbers and booleans, or another metric.
    """
    given = dict(given or {})
    metric = index.metric_type if index else ""
    params = _numbers(given.pop("params", None)) if given else {}
    if given.pop("metric_type", metric) not in (metric, ""):
        raise InvalidInputError(f"The collection's metric type is {metric}.")
    if given:
        raise InvalidInputError(
            f"Search parameters are {{'metric_type': …, 'params': {{…}}}}; "
            f"{', '.join(map(repr, given))} can't stand there."
        )
    needed = dict(_NEEDED.get(index.index_type, {})) if index else {}
    for name in needed.keys() & set(_AT_LEAST_LIMIT):
        needed[name] = max(needed[name], k)
    return {"metric_type": metric, "params": {**needed, **params}}


def _numbers(params: object) -> dict[str, Any]:
    params = {} if params is None else params
    if not isinstance(params, Mapping):
        raise InvalidInputError("The search parameters' params must be a dictionary.")
    for name, value in params.items():
        if not isinstance(name, str) or not (isinstance(value, bool) or is_number(value)):
            raise InvalidInputError(
                f"The search parameter {name!r} must be a finite number or a boolean."
            )
    return dict(params)


def without_ranking(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a search's keyword arguments Milvus takes as it is."""
    ours = {*_HYBRID, "search_mode"}
    return {name: value for name, value in options.items() if name not in ours}
