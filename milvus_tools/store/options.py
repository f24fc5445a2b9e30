"""The allow-list of keyword arguments that a call may pass on to Milvus.

Any other argument could name a filter, a partition or another collection outside the scope.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pymilvus import Function
from pymilvus.client.abstract import BaseRanker

from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.schema import Index, Schema

MAX_LIMIT = 16_384  # Milvus's bound of offset and limit together
DEFAULT_FETCH_K = 20
CONSISTENCY_LEVELS = ("Strong", "Bounded", "Session", "Eventually")

Known = Mapping[str, type | tuple[type, ...]]

_READ: dict[str, type | tuple[type, ...]] = {"consistency_level": str}
_SEARCH: dict[str, type | tuple[type, ...]] = {
    **_READ,
    "group_by_field": str,
    "group_size": int,
    "id_key": str,
    "ignore_growing": bool,
    "offset": int,
    "output_fields": (list, tuple),
    "round_decimal": int,
    "score_key": str,
    "strict_group_size": bool,
}
_HYBRID: dict[str, type | tuple[type, ...]] = {
    "fetch_k": int,
    "score_threshold": (int, float),
    "ranker_params": dict,
    "ranker_type": str,
    "reranker": (Function, BaseRanker),
}
SEARCH = {**_SEARCH, **_HYBRID}
SEARCH_TEXT = {**SEARCH, "search_mode": str}
# Those that the store evaluates: Milvus is not sent them.
_EVALUATED = {
    *_HYBRID,
    "id_key",
    "output_fields",
    "score_key",
    "search_mode",
}
_ARGUMENTS = {*_SEARCH, "limit", "topk"}  # which pymilvus reads among the search parameters, too
ANALYZER = "analyzer_name"
RANGE = ("radius", "range_filter")
SEARCH_MODES = ("dense", "sparse", "hybrid")
QUERY = {**_READ, "offset": int}
KEYS = {**QUERY, "limit": int}
COUNT = _READ
_PARTITIONS = ("partition_name", "partition_names")
# Search parameters that an index type needs and that Milvus has no default for, see
# <https://milvus.io/docs/index.md>. Each value is langchain-milvus's or greater.
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
_AT_LEAST_LIMIT = ("ef", "search_list")  # Milvus refuses these below the limit


def allowed(
    given: Mapping[str, Any],
    known: Known,
    *,
    partition: str | None,
) -> dict[str, Any]:
    """Return the keyword arguments that are set, after a check against the allow-list.

    Args:
        given: The further keyword arguments of the call.
        known: The names that are allowed, and the types of their values.
        partition: The name of the call's argument for partitions, or `None` inside a scope, where
            a call can't name partitions.

    Raises:
        ScopeError: If an argument names a partition inside a scope.
        InvalidInputError: If an argument is unknown, or its value has the wrong type.
    """
    if not given:
        return {}
    passed = {name: value for name, value in given.items() if value is not None}
    for name, value in passed.items():
        if name in _PARTITIONS and partition is None:
            raise ScopeError(f"{name} can't be given inside a scope; leave it out.")
        if name == partition:
            _check_partition(name, value)
        elif name not in known:
            raise InvalidInputError(_unknown(name, [*known, *filter(None, [partition])]))
        elif not _is_a(value, known[name]):
            raise InvalidInputError(
                f"{name} must be {_named(known[name])}, not {type(value).__name__}."
            )
    if passed.keys() & {"group_size", "strict_group_size"} and "group_by_field" not in passed:
        raise InvalidInputError(
            "group_size and strict_group_size need group_by_field, the field to group by."
        )
    if passed.get("consistency_level", "Strong") not in CONSISTENCY_LEVELS:
        raise InvalidInputError(
            f"consistency_level must be one of {', '.join(CONSISTENCY_LEVELS)}."
        )
    if passed.get("search_mode", "dense") not in SEARCH_MODES:
        raise InvalidInputError(f"search_mode must be one of {', '.join(SEARCH_MODES)}.")
    return passed


def _is_a(value: object, types: type | tuple[type, ...]) -> bool:
    # `bool` is a subclass of `int`, but `True` is no offset.
    return isinstance(value, types) and (types is bool or not isinstance(value, bool))


def _named(types: type | tuple[type, ...]) -> str:
    several = types if isinstance(types, tuple) else (types,)
    return " or ".join(type_.__name__ for type_ in several)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number and not a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # an integer may be too large for `isfinite`


def _unknown(name: str, known: list[str]) -> str:
    hint = " Pass a filter as filter." if "filter" in name or name == "where" else ""
    takes = ", ".join(sorted(known)) or "no others"
    return f"The keyword argument {name!r} is not known here; this method takes {takes}.{hint}"


def _check_partition(name: str, value: object) -> None:
    values = [value] if name == "partition_name" else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        needed = "a string" if name == "partition_name" else "a list of strings"
        raise InvalidInputError(f"{name} must be {needed}.")


def check_limit(value: object, offset: object = 0, *, name: str = "k") -> int:
    """Return a limit after a check.

    Milvus Lite takes 0 for no limit; only a server has an upper bound (T30).

    Raises:
        InvalidInputError: If the limit is not an integer from 1 to 16384, if the offset is not an
            integer of 0 or more, or if their sum is above 16384.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
        raise InvalidInputError(f"{name} must be an integer from 1 to {MAX_LIMIT}.")
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise InvalidInputError("offset must be an integer of 0 or more.")
    if offset + value > MAX_LIMIT:
        raise InvalidInputError(f"offset and {name} together can't exceed {MAX_LIMIT}.")
    return value


def refuse_fusion_options(options: Mapping[str, Any]) -> None:
    """Refuse the options that say how to fuse hits, for a search of one vector field.

    Raises:
        InvalidInputError: If one is given, because it would have no effect.
    """
    fusing = sorted(_HYBRID.keys() & options.keys())
    if fusing:
        hint = (
            " A threshold of relevance is that of similarity_search_with_relevance_scores, and of "
            "retrievers of the search type similarity_score_threshold."
            if "score_threshold" in fusing
            else ""
        )
        raise InvalidInputError(
            f"{', '.join(fusing)} can only be given to a search of several vector fields, and "
            f"this searches one; leave it out.{hint}"
        )


def check_group_field(name: str, schema: Schema) -> None:
    """Refuse to group by the primary key: each row is a group, and Milvus Lite finds one of them.

    Raises:
        InvalidInputError: If the field is the primary key.
    """
    if name == schema.primary.name:
        raise InvalidInputError(
            f"group_by_field can't be the primary key {name!r}, which no two rows share; leave "
            "it out."
        )


def check_output_fields(
    names: Sequence[object], schema: Schema, metadata_field: str | None
) -> None:
    """Refuse to return vectors, and what the collection can't have.

    Raises:
        InvalidInputError: If a name is that of a vector field or means nothing here.
    """
    for name in names:
        if not isinstance(name, str):
            raise InvalidInputError("output_fields must be a list of metadata keys.")
        if name in schema.vectors:
            raise InvalidInputError(
                f"output_fields can't have the vector field {name!r}: a Document holds no vector."
            )
        if metadata_field is None and name != "*":
            schema.is_dynamic(name)  # raises if the collection can't have such a key


def limit_with_offset(k: int, options: Mapping[str, Any]) -> int:
    """Return the number of hits that a search must find, including those that `offset` skips."""
    return k + int(options.get("offset", 0))


def search_params(given: Mapping[str, Any] | None, index: Index | None, k: int) -> dict[str, Any]:
    """Return the search parameters of one field.

    Args:
        given: `{"metric_type": …, "params": {…}}`, or `None` for the index's defaults.
        index: The index of the vector field.
        k: The number of hits that the search must find.

    Raises:
        InvalidInputError: If a parameter is not a number or a boolean, or if the metric type is
            not the index's.
    """
    given = dict(given or {})
    metric = index.metric_type if index else ""
    params = _params(given, metric) if given else {}
    if given.get("metric_type", metric) not in (metric, ""):
        raise InvalidInputError(
            f"The collection's metric type is {metric}; give that one, or leave it out."
        )
    needed = dict(_NEEDED.get(index.index_type, {})) if index else {}
    for name in needed.keys() & set(_AT_LEAST_LIMIT):
        needed[name] = max(needed[name], k)
    return {"metric_type": metric, "params": {**needed, **params}}


def _params(given: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the parameters of an index: those in `params` and those beside it, as in pymilvus."""
    params = given.get("params")
    if not isinstance(params, Mapping | None):
        raise InvalidInputError("The search parameters' params must be a dictionary.")
    beside = {
        name: value for name, value in given.items() if name not in ("metric_type", "params")
    }
    both = {**beside, **(params or {})}
    for name, value in both.items():
        if name in _ARGUMENTS:
            raise InvalidInputError(f"{name} is no search parameter: pass it as an argument.")
        if metric == "BM25" and name == ANALYZER and isinstance(value, str):
            continue
        if not isinstance(name, str) or not (isinstance(value, bool) or is_number(value)):
            raise InvalidInputError(
                f"The search parameter {name!r} must be a finite number or a boolean."
            )
    return both


def without_ranking(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a search's options without those that the store itself evaluates."""
    if not options:
        return {}
    return {name: value for name, value in options.items() if name not in _EVALUATED}
