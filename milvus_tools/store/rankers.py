"""The allow-list of rankers for a search of several vector fields.

A rerank function of Milvus can send queries and documents to any address, with the operator's
key (`model`), or carry a filter (`boost`). An allowed ranker is built again from checked numbers
and known words, so that nothing else is passed on.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymilvus import Function, FunctionType, RRFRanker, WeightedRanker

from milvus_tools.errors import InvalidInputError
from milvus_tools.store.options import is_number

_MAX_CONSTANT = 16_384  # Milvus's bound


def _are_weights(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(is_number(weight) and weight >= 0 for weight in value)


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """One parameter of a ranker: the check of its value, the same in words, and its presence."""

    fits: Callable[[Any], bool]
    expected: str
    required: bool = False


def _one_of(*words: str, required: bool = False) -> _Parameter:
    return _Parameter(
        lambda value: isinstance(value, str) and value in words,
        f"one of {', '.join(words)}",
        required,
    )


_NORM_SCORE = _Parameter(lambda value: isinstance(value, bool), "a boolean")
# See <https://milvus.io/docs/rrf-ranker.md>, weighted-ranker.md and decay-ranker-overview.md.
_RANKERS: dict[str, dict[str, _Parameter]] = {
    "rrf": {
        "k": _Parameter(
            lambda value: is_number(value) and 0 < value < _MAX_CONSTANT,
            f"a number greater than 0 and less than {_MAX_CONSTANT}",
        )
    },
    "weighted": {
        "weights": _Parameter(_are_weights, "a list of numbers of 0 or more", required=True),
        "norm_score": _NORM_SCORE,
    },
    "decay": {
        "function": _one_of("gauss", "exp", "linear", required=True),
        "origin": _Parameter(is_number, "a number", required=True),
        "scale": _Parameter(
            lambda value: is_number(value) and value > 0, "a number greater than 0", required=True
        ),
        "offset": _Parameter(
            lambda value: is_number(value) and value >= 0, "a number of 0 or more"
        ),
        "decay": _Parameter(
            lambda value: is_number(value) and 0 < value < 1, "a number between 0 and 1"
        ),
        "score_mode": _one_of("max", "sum", "avg"),
        "norm_score": _NORM_SCORE,
    },
}


def ranker(options: Mapping[str, Any], searches: int) -> Any:
    """Return the ranker that the call names, or else reciprocal rank fusion.

    Ranks can be compared between fields; distances can't. See
    <https://milvus.io/docs/rrf-ranker.md>.

    Args:
        options: The options of the search.
        searches: The number of vector fields whose hits are fused.

    Raises:
        InvalidInputError: If the ranker is not allowed, or its parameters do not fit.
    """
    reranker: Any = options.get("reranker")
    if isinstance(reranker, Function):
        return _function(reranker, searches)
    # Exactly these types, because a subclass could send other parameters.
    if type(reranker) is RRFRanker:
        return _fusion("rrf", reranker.dict()["params"], searches)
    if type(reranker) is WeightedRanker:
        return _fusion("weighted", reranker.dict()["params"], searches)
    if reranker is not None:
        raise InvalidInputError("reranker must be an RRFRanker, a WeightedRanker or a Function.")
    params = dict(options.get("ranker_params") or {})
    match options.get("ranker_type", "rrf"):
        case "rrf":
            return _fusion("rrf", params, searches)
        case "weighted":
            return _fusion("weighted", {"weights": [1.0] * searches, **params}, searches)
    raise InvalidInputError("ranker_type must be 'rrf' or 'weighted'.")


def _fusion(kind: str, params: Mapping[str, Any], searches: int) -> RRFRanker | WeightedRanker:
    params = _checked(kind, params, searches)
    if kind == "rrf":
        return RRFRanker(**params)
    return WeightedRanker(*params.pop("weights"), **params)


def _function(function: Function, searches: int) -> Function:
    if function.type != FunctionType.RERANK:
        raise InvalidInputError("reranker must be a Function of type RERANK.")
    params = dict(function.params)
    kind = params.pop("reranker", None)
    if not isinstance(kind, str) or kind not in _RANKERS:
        raise InvalidInputError(f"A reranker's kind must be one of {', '.join(_RANKERS)}.")
    fields = _fields(kind, function.input_field_names)
    return Function(
        name=str(function.name),
        function_type=FunctionType.RERANK,
        input_field_names=fields,
        params={"reranker": kind, **_checked(kind, params, searches)},
    )


def _fields(kind: str, names: Sequence[Any]) -> list[str]:
    if len(names) != (kind == "decay") or not all(isinstance(name, str) for name in names):
        raise InvalidInputError("A decay reranker reads one field, and the others read none.")
    return list(names)


def _checked(kind: str, params: Mapping[str, Any], searches: int) -> dict[str, Any]:
    known = _RANKERS[kind]
    for name, value in params.items():
        if not isinstance(name, str) or name not in known:
            raise InvalidInputError(
                f"A ranker of the kind {kind} takes {', '.join(known)}, not {name!r}."
            )
        if not known[name].fits(value):
            raise InvalidInputError(f"{name} of a ranker must be {known[name].expected}.")
    missing = [name for name, one in known.items() if one.required and name not in params]
    if missing:
        raise InvalidInputError(f"A ranker of the kind {kind} needs {', '.join(missing)}.")
    if "weights" in params and len(params["weights"]) != searches:
        raise InvalidInputError(f"weights must be {searches} numbers, one per field.")
    return dict(params)
