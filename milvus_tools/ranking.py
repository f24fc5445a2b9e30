"""Rankings and what is made of several: pure functions over keys, best first."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Final, TypeVar

Key = TypeVar("Key", bound=Hashable)

RANK_CONSTANT: Final = 60.0


def unique(keys: Iterable[Key]) -> list[Key]:
    """Return keys in their order, each once."""
    return list(dict.fromkeys(keys))


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Key]],
    weights: Sequence[float] | None = None,
    rank_constant: float = RANK_CONSTANT,
) -> dict[Key, float]:
    """Fuse rankings by rank, whatever their scores mean.

    A key's score is the sum of `weight / (rank_constant + rank)` over the rankings that have it,
    with ranks from 1 (Cormack, Clarke and Büttcher, 2009, "Reciprocal rank fusion outperforms
    Condorcet and individual rank learning methods").

    Args:
        rankings: Keys, best first; of a key that a ranking has twice, the better rank counts.
        weights: A weight of 0 or more per ranking; all 1 if `None`.
        rank_constant: The greater, the less the first ranks count before the others.

    Returns:
        The scores, best first; of equal ones, the key that was met first comes first.

    Raises:
        ValueError: If there is not one weight per ranking, or one is negative.
    """
    weights = [1.0] * len(rankings) if weights is None else weights
    if len(weights) != len(rankings) or any(not weight >= 0 for weight in weights):
        msg = f"weights must be {len(rankings)} numbers of 0 or more, one per ranking."
        raise ValueError(msg)
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(unique(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + weight / (rank_constant + rank)
    return dict(sorted(scores.items(), key=lambda item: item[1], reverse=True))


def interleave(rankings: Sequence[Sequence[Key]]) -> list[Key]:
    """Take the first of each ranking, then the second of each, and so on, each key once."""
    longest = max(map(len, rankings), default=0)
    return unique(
        ranking[rank] for rank in range(longest) for ranking in rankings if rank < len(ranking)
    )
