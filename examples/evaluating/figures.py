"""Means of a value per question with their intervals, and paired differences. Pure functions."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES: Final = 2_000
TUNED: Final = (
    "The constants of the graph's rules and of the links were chosen on 100 questions of HotpotQA "
    "(those in `examples/data`), 200 of MuSiQue and 164 of 2WikiMultihopQA, all three sets "
    "together. So the figures of these sets are optimistic; on other questions the graph and the "
    "links may find less."
)

Array = NDArray[np.float64]


def interval(values: Array) -> tuple[float, float]:
    """Return where 95 % of the means of resampled questions lie."""
    chosen = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def cell(values: Array) -> str:
    """Write a mean in percent with its interval, of the questions that have a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "none"
    low, high = interval(known)
    return f"{100 * known.mean():.0f} ({100 * low:.0f} to {100 * high:.0f})"


def mcnemar(first: Array, second: Array) -> float:
    """Return the p-value of McNemar's exact test for two ways that answer the same questions.

    Only the questions count of which one way alone has all (McNemar, 1947, "Note on the sampling
    error of the difference between correlated proportions or percentages"). If both ways were
    equally good, each would win any of these with probability ½: a two-sided binomial test.

    Args:
        first: 1 or 0 for each question.
        second: The same for the other way.
    """
    wins, losses = int(np.sum(first > second)), int(np.sum(first < second))
    if not wins + losses:
        return 1.0
    return float(binomtest(wins, wins + losses).pvalue)


def p_value(p: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - what three digits show
