"""Rankers that a fused search takes, and those that could do more than rank."""

import math
from typing import Any

import pytest
from pymilvus import Function, FunctionType, RRFRanker, WeightedRanker
from pymilvus.client.abstract import BaseRanker

from milvus_tools.errors import InvalidInputError
from milvus_tools.store.rankers import ranker

DECAY = {"reranker": "decay", "function": "gauss", "origin": 10, "scale": 2.5}
NO_NUMBERS: list[Any] = [True, "1", None, [1], math.nan, math.inf, -math.inf, 10**400]


def rerank(params: dict[str, Any], *fields: str) -> Function:
    """Make a rerank function."""
    return Function("mine", FunctionType.RERANK, list(fields), params=params)


def test_hits_are_fused_by_rank_unless_the_call_says_otherwise() -> None:
    """Reciprocal rank fusion is the default; weights are one per route."""
    assert isinstance(ranker({}, 2), RRFRanker)
    assert ranker({"ranker_params": {"k": 7}}, 2).dict()["params"] == {"k": 7}
    weighted = ranker({"ranker_type": "weighted"}, 3)
    assert isinstance(weighted, WeightedRanker)
    assert weighted.dict()["params"]["weights"] == [1.0, 1.0, 1.0]
    given = {
        "ranker_type": "weighted",
        "ranker_params": {"weights": (0.2, 0), "norm_score": False},
    }
    assert ranker(given, 2).dict()["params"] == {"weights": [0.2, 0], "norm_score": False}


def test_a_ranker_of_pymilvus_is_made_anew() -> None:
    """A reranker counts before `ranker_type`, and what is sent is a plain copy of it."""
    rrf, weighted = RRFRanker(7), WeightedRanker(0.2, 0.8, norm_score=False)
    for given in (rrf, weighted):
        made = ranker({"reranker": given, "ranker_type": "weighted"}, 2)
        assert type(made) is type(given)
        assert made is not given
        assert made.dict() == given.dict()


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"reranker": "rrf"}, []),
        ({"reranker": "rrf", "k": 60}, []),
        ({"reranker": "weighted", "weights": [0.1, 0.9], "norm_score": True}, []),
        (DECAY, ["n"]),
        ({**DECAY, "offset": 0, "decay": 0.5, "score_mode": "avg", "norm_score": True}, ["n"]),
    ],
)
def test_functions_that_only_count_pass(params: dict[str, Any], fields: list[str]) -> None:
    """Fusion by rank or by weight and decay over a numeric field do, as a plain copy."""
    given = rerank(params, *fields)
    made = ranker({"reranker": given}, 2)
    assert type(made) is Function
    assert made is not given
    assert made.type == FunctionType.RERANK
    assert made.name == "mine"
    assert made.input_field_names == fields
    assert made.params == params


@pytest.mark.parametrize(
    "params",
    [
        {"reranker": "model", "provider": "cohere", "queries": ["x"]},
        {"reranker": "model", "provider": "vllm", "endpoint": "http://localhost", "queries": "[]"},
        {"reranker": "boost", "filter": 'tenant == "b"', "weight": 2.0},
        {"reranker": "Model"},
        {"reranker": ["model"]},
        {"reranker": None},
        {"provider": "cohere"},
        {"strategy": "model"},
        {},
    ],
)
@pytest.mark.parametrize("fields", [[], ["text"]])
def test_functions_that_send_or_filter_are_refused(
    params: dict[str, Any], fields: list[str]
) -> None:
    """A model sends documents away, and a boost carries a filter; so none but the known kinds."""
    with pytest.raises(InvalidInputError, match="one of rrf, weighted, decay"):
        ranker({"reranker": rerank(params, *fields)}, 2)


@pytest.mark.parametrize("kind", ["rrf", "weighted", "decay"])
@pytest.mark.parametrize(
    "more",
    [{"provider": "cohere"}, {"base_url": "http://x"}, {"filter": "x"}, {"expr": 1}, {1: 2}],
)
def test_rankers_take_no_parameter_that_is_not_known(kind: str, more: dict[Any, Any]) -> None:
    """An allowed kind brings nothing else along, neither in a function nor in ranker_params."""
    whole = {"rrf": {}, "weighted": {"weights": [1, 1]}, "decay": DECAY}[kind]
    function = rerank({**whole, "reranker": kind, **more}, *["n"][: kind == "decay"])
    with pytest.raises(InvalidInputError, match=f"the kind {kind} takes"):
        ranker({"reranker": function}, 2)
    if kind != "decay":
        with pytest.raises(InvalidInputError, match=f"the kind {kind} takes"):
            ranker({"ranker_type": kind, "ranker_params": more}, 2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("function", ["cubic", "GAUSS", 1, None, ["gauss"]]),
        ("score_mode", ["min", 1]),
        ("norm_score", [1, "true", None]),
        ("origin", NO_NUMBERS),
        ("scale", [*NO_NUMBERS, 0, -1]),
        ("offset", [*NO_NUMBERS, -0.1]),
        ("decay", [*NO_NUMBERS, 0, 1, -0.5, 2]),
    ],
)
def test_a_decay_s_parameters_are_numbers_and_known_words(name: str, wrong: list[Any]) -> None:
    """Each is checked before Milvus sees it, and the sentence names it."""
    for value in wrong:
        with pytest.raises(InvalidInputError, match=f"{name} of a ranker must be"):
            ranker({"reranker": rerank({**DECAY, name: value}, "n")}, 2)


def test_a_decay_needs_a_field_and_its_parameters() -> None:
    """It reads one field; the others read none."""
    for wrong in (rerank(DECAY), rerank(DECAY, "n", "m"), rerank({"reranker": "rrf"}, "n")):
        with pytest.raises(InvalidInputError, match="reads one field"):
            ranker({"reranker": wrong}, 2)
    with pytest.raises(InvalidInputError, match="needs function, origin, scale"):
        ranker({"reranker": rerank({"reranker": "decay"}, "n")}, 2)
    with pytest.raises(InvalidInputError, match="needs weights"):
        ranker({"reranker": rerank({"reranker": "weighted"})}, 2)


@pytest.mark.parametrize("k", [*NO_NUMBERS[1:], True, 0, -1, 16_384])
def test_the_rank_constant_is_a_number_that_milvus_takes(k: Any) -> None:
    """It is greater than 0 and less than 16384, however it is given."""
    for given in (
        {"ranker_params": {"k": k}},
        {"reranker": RRFRanker(k)},
        {"reranker": rerank({"reranker": "rrf", "k": k})},
    ):
        with pytest.raises(InvalidInputError, match="k of a ranker must be"):
            ranker(given, 2)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -0.5])
def test_weights_are_finite_and_not_negative(weight: float) -> None:
    """However they are given."""
    for given in (
        {"ranker_type": "weighted", "ranker_params": {"weights": [weight, 1.0]}},
        {"reranker": WeightedRanker(weight, 1.0)},
        {"reranker": rerank({"reranker": "weighted", "weights": [weight, 1.0]})},
    ):
        with pytest.raises(InvalidInputError, match="weights of a ranker must be"):
            ranker(given, 2)


class Custom(RRFRanker):
    """A ranker of the caller's own, which could answer `dict` with anything."""


@pytest.mark.parametrize(
    "given",
    [
        {"ranker_type": "best"},
        {"ranker_type": "decay", "ranker_params": DECAY},
        {"ranker_type": "weighted", "ranker_params": {"weights": [1.0]}},
        {"ranker_type": "weighted", "ranker_params": {"weights": 1.0}},
        {"ranker_type": "weighted", "ranker_params": {"weights": ["a", "b"]}},
        {"reranker": WeightedRanker(1.0)},
        {"reranker": Custom()},
        {"reranker": BaseRanker()},
        {"reranker": Function("f", FunctionType.BM25, ["text"], ["sparse"])},
    ],
)
def test_rankers_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """Another type, a wrong number of weights, or what is no number."""
    with pytest.raises(InvalidInputError):
        ranker(given, 2)
