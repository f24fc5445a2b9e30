"""Picking hits that are near the query and unlike each other."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.vectorstores.utils import maximal_marginal_relevance as langchains

from milvus_tools.errors import InvalidInputError
from milvus_tools.ranking import (
    MAX_NUMBERS,
    MAX_PRODUCTS,
    check_mmr_cost,
    maximal_marginal_relevance,
)

# Of small whole numbers, so that no sum is rounded and what ties, ties for both.
small = st.integers(-3, 3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Draw a query, vectors (some twice, some of length 0), a weight and a number to pick."""
    dim = draw(st.integers(1, 5))
    vector = st.lists(small, min_size=dim, max_size=dim)
    some = draw(st.lists(st.one_of(vector, st.just([0] * dim)), min_size=1, max_size=12))
    vectors = some + draw(st.lists(st.sampled_from(some), max_size=4))
    weight = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1))
    return (
        np.array(draw(vector), dtype=np.float32),
        np.array(vectors, dtype=np.float32),
        weight,
        draw(st.integers(1, 20)),
    )


@given(cases())
def test_it_picks_what_langchain_picks(
    case: tuple[np.ndarray, np.ndarray, float, int],
) -> None:
    """The same indices in the same order, with ties, zero vectors, and k above their number."""
    query, vectors, weight, k = case
    try:
        expected = langchains(query.astype(float), vectors.astype(float).tolist(), weight, k)
    except ValueError:  # it refuses a query, or a first pick, of length 0
        assume(False)
    assert maximal_marginal_relevance(query, vectors, weight, k) == expected


@given(cases(), st.integers(0, 2**32 - 1))
def test_each_step_takes_the_best(
    case: tuple[np.ndarray, np.ndarray, float, int], seed: int
) -> None:
    """With any numbers each pick has the greatest score that is left, or as good as that."""
    _, vectors, weight, k = case
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=vectors.shape).astype(np.float32)
    query = rng.normal(size=vectors.shape[1]).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearness = unit @ (query / np.linalg.norm(query))
    picked = maximal_marginal_relevance(query, vectors, weight, k)
    assert len(picked) == len(set(picked)) == min(k, len(vectors))
    assert nearness[picked[0]] == pytest.approx(nearness.max(), abs=1e-5)
    for step, one in enumerate(picked[1:], start=1):
        redundancy = (unit @ unit[picked[:step]].T).max(axis=1)
        scores = weight * nearness - (1 - weight) * redundancy
        left = np.delete(scores, picked[:step])
        assert scores[one] == pytest.approx(left.max(), abs=1e-5)


def test_vectors_of_length_0_are_picked_too() -> None:
    """Where LangChain raises, they count as unlike everything; nothing gives nothing."""
    nothing = np.zeros((3, 2), dtype=np.float32)
    assert maximal_marginal_relevance(np.zeros(2), nothing, 0.5, 2) == [0, 1]
    assert maximal_marginal_relevance(np.ones(2), nothing[:0], 0.5, 2) == []
    some = np.array([[1, 0], [0, 0], [0.9, 0.1]], dtype=np.float32)
    assert maximal_marginal_relevance(np.zeros(2), some, 0.5, 3) == [0, 1, 2]


def test_great_numbers_overflow_nothing() -> None:
    """Every pair of float32 vectors has a cosine."""
    great = np.array([[3e38, 0], [3e38, 3e38], [0, 3e38]], dtype=np.float32)
    assert maximal_marginal_relevance(great[0], great, 1.0, 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("k", "count", "dim"),
    [(120, 2_000, 1_536), (4, 16_384, 128), (4, 2_600, 1_536), (1, MAX_NUMBERS // 8, 8)],
)
def test_what_takes_less_than_a_second_is_affordable(k: int, count: int, dim: int) -> None:
    """Usual models and numbers, and a great deal more."""
    check_mmr_cost(k, count, dim)


@pytest.mark.parametrize(
    ("k", "count", "dim", "most"),
    [
        (1, MAX_NUMBERS // 8 + 1, 8, MAX_NUMBERS // 8),
        (4, 16_384, 1_536, MAX_NUMBERS // 1_536),
        (2_000, 2_000, 1_536, MAX_PRODUCTS // (2_000 * 1_536)),
    ],
)
def test_what_takes_longer_is_refused(k: int, count: int, dim: int, most: int) -> None:
    """The sentence says how many there can be."""
    with pytest.raises(InvalidInputError, match=f"fetch_k can be at most {most} for k={k} "):
        check_mmr_cost(k, count, dim)
