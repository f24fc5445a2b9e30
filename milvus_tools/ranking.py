"""Fusion of rankings, and maximal marginal relevance (MMR). Pure functions."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document

from milvus_tools.errors import InvalidInputError

Key = TypeVar("Key", bound=Hashable)
Hits = Sequence[tuple[Document, float | None]]
Floats = npt.NDArray[np.floating[Any]]

RANK_CONSTANT: Final = 60.0
RETRIEVAL: Final = "retrieval"
# To read this many numbers, or to multiply this many, takes about a second on one core.
MAX_NUMBERS: Final = 4_000_000
MAX_PRODUCTS: Final = 400_000_000


def unique(keys: Iterable[Key]) -> list[Key]:
    """Return keys without repetitions, in the order of their first occurrence."""
    return list(dict.fromkeys(keys))


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Key]],
    weights: Sequence[float] | None = None,
    rank_constant: float = RANK_CONSTANT,
) -> dict[Key, float]:
    """Fuse rankings by rank; their scores play no part (T24).

    A key's score is the sum of `weight / (rank_constant + rank)` over the rankings that have it,
    with ranks from 1 (Cormack, Clarke and Büttcher, 2009, "Reciprocal rank fusion outperforms
    Condorcet and individual rank learning methods").

    Args:
        rankings: Keys, best first. If a ranking has a key twice, the better rank counts.
        weights: A weight of 0 or more for each ranking; all 1 if `None`.
        rank_constant: The greater it is, the less the first ranks stand out from the others.

    Returns:
        The scores, best first. Keys with the same score are in the order of the rankings.

    Raises:
        ValueError: If there is not one weight for each ranking, or a weight is negative.
    """
    weights = [1.0] * len(rankings) if weights is None else weights
    # `not >=`, which is also true for NaN.
    if len(weights) != len(rankings) or any(not weight >= 0 for weight in weights):
        raise ValueError(
            f"weights must be {len(rankings)} numbers of 0 or more, one for each ranking."
        )
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(unique(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + weight / (rank_constant + rank)
    # `sorted` is stable: keys with the same score keep their order.
    return dict(sorted(scores.items(), key=lambda item: item[1], reverse=True))


def interleave(rankings: Sequence[Sequence[Key]]) -> list[Key]:
    """Return the first key of each ranking, then the second of each, and so on, each key once."""
    longest = max(map(len, rankings), default=0)
    return unique(
        ranking[rank] for rank in range(longest) for ranking in rankings if rank < len(ranking)
    )


def fuse(
    found: Mapping[str, Hits],
    k: int | None,
    weights: Sequence[float] | None = None,
    rank_constant: float = RANK_CONSTANT,
    *,
    key: str = RETRIEVAL,
    failed: Sequence[Mapping[str, object]] = (),
) -> list[Document]:
    """Fuse the hits of several queries by reciprocal rank.

    Args:
        found: For each query its Documents with their scores, best first. A score is `None` if
            the search has no scores.
        k: The most Documents to return; `None` for all.
        weights: A weight for each query; all 1 if `None`.
        rank_constant: See `reciprocal_rank_fusion`.
        key: The metadata key for the result. It replaces the Document's own value there.
        failed: Descriptions of the queries that failed, for `failed` in the result.

    Returns:
        The Documents, best first, each id once. `metadata["retrieval"]` of each Document is
        `{"score": …, "found_by": [{"query": …, "rank": …, "score": …}]}`: the fused score, and
        for each query that found the Document its rank, from 1, and its score.
    """
    documents: dict[str | None, Document] = {}
    found_by: dict[str | None, list[dict[str, object]]] = {}
    for query, hits in found.items():
        for rank, (document, score) in enumerate(hits, start=1):
            documents.setdefault(document.id, document)
            one = {"query": query, "rank": rank, "score": score}
            found_by.setdefault(document.id, []).append(one)
    rankings = [[document.id for document, _ in hits] for hits in found.values()]
    scores = reciprocal_rank_fusion(rankings, weights, rank_constant)
    return [
        _with(
            documents[id_], key, {"score": score, "found_by": found_by[id_], **_failures(failed)}
        )
        for id_, score in list(scores.items())[:k]
    ]


def _failures(failed: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return a new copy for each Document, so that a change in one does not show in another."""
    return {"failed": [dict(one) for one in failed]} if failed else {}


def _with(document: Document, key: str, value: object) -> Document:
    metadata = {**document.metadata, key: value}
    return document.model_copy(update={"metadata": metadata})


def check_mmr_cost(k: int, count: int, dim: int) -> None:
    """Check that MMR keeps one core busy for at most about a second.

    Args:
        k: The number of hits to pick.
        count: The number of hits to pick from.
        dim: The dimension of their vectors.

    Raises:
        InvalidInputError: If MMR would take longer.
    """
    most = min(MAX_NUMBERS // dim, MAX_PRODUCTS // (dim * k))
    if count > most:
        raise InvalidInputError(
            f"fetch_k can be at most {most} for k={k} and vectors of {dim} dimensions, not "
            f"{count}: picking from more hits takes too long."
        )


def maximal_marginal_relevance(
    query: Floats, vectors: Floats, lambda_mult: float, k: int
) -> list[int]:
    """Pick vectors that are near a query and far from the vectors picked before.

    Each step picks the vector with the greatest `lambda_mult * nearness - (1 - lambda_mult) *
    redundancy`. Nearness is its cosine to the query, redundancy its greatest cosine to a picked
    vector (Carbonell and Goldstein, 1998, "The use of MMR, diversity-based reranking for
    reordering documents"). A vector of length 0 has cosine 0 to all others.

    Args:
        query: The query vector, of shape `(dim,)`.
        vectors: The vectors, of shape `(n, dim)`.
        lambda_mult: 1 for the nearest, 0 for the most diverse.
        k: The number of vectors to pick.

    Returns:
        The indices of the picked vectors, in the order of picking. Of equal vectors, the first is
        picked.
    """
    # Not LangChain's function: in pure Python, 120 of 2000 hits take it 5 to 40 s.
    if not len(vectors):
        return []
    vectors = np.asarray(vectors, dtype=np.float64)
    query = np.asarray(query, dtype=np.float64)
    lengths = _lengths(vectors)
    nearness = vectors @ query / (lengths * _lengths(query))
    redundancy = np.full(len(vectors), -math.inf)
    picked = [int(np.argmax(nearness))]
    while len(picked) < min(k, len(vectors)):
        last = picked[-1]
        similarity = vectors @ vectors[last] / (lengths * lengths[last])
        np.maximum(redundancy, similarity, out=redundancy)
        scores = lambda_mult * nearness - (1 - lambda_mult) * redundancy
        scores[picked] = -math.inf
        picked.append(int(np.argmax(scores)))
    return picked


def _lengths(vectors: Floats) -> Any:
    lengths = np.linalg.norm(vectors, axis=-1)
    # A vector of length 0 then has cosine 0, and nothing is divided by 0.
    return np.where(lengths == 0, math.inf, lengths)
