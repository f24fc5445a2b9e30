"""Documents that several queries found, made into one list that tells who found what."""

from collections.abc import Mapping, Sequence
from typing import Final

from langchain_core.documents import Document

from milvus_tools.ranking import RANK_CONSTANT, reciprocal_rank_fusion

RETRIEVAL: Final = "retrieval"

Hits = Sequence[tuple[Document, float | None]]


def fuse(
    found: Mapping[str, Hits],
    k: int,
    weights: Sequence[float] | None = None,
    rank_constant: float = RANK_CONSTANT,
    *,
    key: str = RETRIEVAL,
    failed: Sequence[Mapping[str, object]] = (),
) -> list[Document]:
    """Fuse what queries found by reciprocal rank.

    Args:
        found: Per query its Documents with their scores, best first; `None` where a search has
            no score.
        k: The most Documents to return.
        weights: A weight per query; all 1 if `None`.
        rank_constant: See `milvus_tools.ranking.reciprocal_rank_fusion`.
        key: The metadata key to tell it under; what the Document has there is left out.
        failed: What to tell there, as `failed`, of queries that found nothing because they failed.

    Returns:
        The Documents, best first, each id once. `metadata["retrieval"]` of each is
        `{"score": …, "found_by": [{"query": …, "rank": …, "score": …}]}`: the fused score, and the
        queries that found it, with its rank from 1 and its score there.
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
    """Return a copy for each Document: none shares anything with another."""
    return {"failed": [dict(one) for one in failed]} if failed else {}


def _with(document: Document, key: str, value: object) -> Document:
    metadata = {**document.metadata, key: value}
    return document.model_copy(update={"metadata": metadata})
