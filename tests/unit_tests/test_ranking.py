"""Fusing rankings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.ranking import interleave, reciprocal_rank_fusion, unique

RANKINGS = st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=5)


def test_fusion_adds_reciprocal_ranks() -> None:
    """Ranks count from 1, and a key of two rankings passes the first of one."""
    scores = reciprocal_rank_fusion([["a", "b"], ["c", "b"]])
    assert list(scores) == ["b", "a", "c"]
    assert scores["b"] == pytest.approx(2 / 62)
    assert scores["a"] == scores["c"] == pytest.approx(1 / 61)


def test_weights_scale_a_ranking() -> None:
    """A ranking of weight 0 adds its keys behind all others."""
    scores = reciprocal_rank_fusion([["a"], ["b"], ["c"]], [0, 2, 1], rank_constant=1)
    assert scores == {"b": 1, "c": 0.5, "a": 0}


def test_a_repeated_key_counts_once() -> None:
    """A ranking that has a key twice gives it its better rank alone."""
    assert reciprocal_rank_fusion([["a", "a", "b"]]) == reciprocal_rank_fusion([["a", "b"]])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    """There is one weight of 0 or more per ranking."""
    with pytest.raises(ValueError, match="weights must be 2 numbers of 0 or more"):
        reciprocal_rank_fusion([["a"], ["b"]], weights)


@given(RANKINGS)
def test_fusion_keeps_every_key_and_is_sorted(rankings: list[list[int]]) -> None:
    """Whatever is ranked is in the result, once, and scores fall."""
    scores = reciprocal_rank_fusion(rankings)
    assert scores.keys() == {key for ranking in rankings for key in ranking}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@given(RANKINGS)
def test_the_order_of_rankings_does_not_change_scores(rankings: list[list[int]]) -> None:
    """Fusion is symmetric."""
    forwards, backwards = map(reciprocal_rank_fusion, (rankings, rankings[::-1]))
    assert forwards == pytest.approx(backwards)


@given(st.lists(st.integers(0, 9)))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    """Fusing one ranking changes nothing."""
    assert list(reciprocal_rank_fusion([ranking])) == unique(ranking)


@given(RANKINGS)
def test_interleaving_takes_turns(rankings: list[list[int]]) -> None:
    """Every key is there once, and the firsts of all rankings come first."""
    mixed = interleave(rankings)
    assert sorted(mixed) == sorted({key for ranking in rankings for key in ranking})
    firsts = unique(ranking[0] for ranking in rankings if ranking)
    assert mixed[: len(firsts)] == firsts
