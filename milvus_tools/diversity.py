"""Which of many hits to show, so that they are near the query and unlike each other."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from milvus_tools.errors import InvalidInputError

Floats = npt.NDArray[np.floating[Any]]

# What takes about a second on one core: reading so many numbers, and multiplying so many.
MAX_NUMBERS: Final = 4_000_000
MAX_PRODUCTS: Final = 400_000_000


def require_affordable(k: int, count: int, dim: int) -> None:
    """Check that picking takes no longer than anybody may keep a core busy.

    Args:
        k: How many are to be picked.
        count: How many there are to pick from.
        dim: The dimension of their vectors.

    Raises:
        InvalidInputError: If it would.
    """
    most = min(MAX_NUMBERS // dim, MAX_PRODUCTS // (dim * k))
    if count > most:
        raise InvalidInputError(
            f"fetch_k can be {most} at most for k={k} and vectors of {dim} dimensions, not "
            f"{count}: picking from more takes too long."
        )


def pick(query: Floats, vectors: Floats, lambda_mult: float, k: int) -> list[int]:
    """Pick vectors that are near a query and far from those picked before.

    Each step takes the one with the greatest `lambda_mult * nearness - (1 - lambda_mult) *
    redundancy`: its cosine to the query, and its greatest cosine to one that is picked already
    (Carbonell and Goldstein, 1998, "The use of MMR, diversity-based reranking for reordering
    documents"). A vector of length 0 has cosine 0 to all others.

    Args:
        query: The query vector, of shape `(dim,)`.
        vectors: The vectors, of shape `(n, dim)`.
        lambda_mult: 1 for the nearest, 0 for the most diverse.
        k: How many to pick.

    Returns:
        The indices of the picked, in the order of picking; of equal ones the first is taken.
    """
    if not len(vectors):
        return []
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    nearness = _cosines(vectors, lengths, np.asarray(query, dtype=np.float64))
    redundancy = np.full(len(vectors), -math.inf)
    picked = [int(np.argmax(nearness))]
    while len(picked) < min(k, len(vectors)):
        np.maximum(redundancy, _cosines(vectors, lengths, vectors[picked[-1]]), out=redundancy)
        scores = lambda_mult * nearness - (1 - lambda_mult) * redundancy
        scores[picked] = -math.inf
        picked.append(int(np.argmax(scores)))
    return picked


def _cosines(vectors: Floats, lengths: Floats, one: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines: Floats = vectors @ one / (lengths * np.linalg.norm(one))
    cosines[~np.isfinite(cosines)] = 0
    return cosines
