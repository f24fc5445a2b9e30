"""Means of a value per question, with the intervals that resampled questions give."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2_000
TUNED: Final = (
    "The constants of the graph's rules were tuned on these questions; on others they may find "
    "less."
)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return where 95 % of the means of resampled questions lie."""
    chosen = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def cell(values: NDArray[np.float64]) -> str:
    """Write a mean in percent with its interval, of the questions that have a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "none"
    low, high = interval(known)
    return f"{100 * known.mean():.0f} ({100 * low:.0f} to {100 * high:.0f})"
