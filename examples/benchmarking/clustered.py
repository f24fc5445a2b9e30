"""Rows whose vectors are in clusters: always the same, and cheap to make."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

PERCENT: Final = 100  # different values of the field `percent`
_DIM: Final = 128
# Primes: no two of the first ten million vectors are equal, and no value of `percent` keeps whole
# clusters.
_CLUSTERS, _PLACES = 1_009, 10_007
_FIRST_QUESTION: Final = 5_000_000  # beyond the numbers of the rows
_COMPARED_AT_ONCE: Final = 4_000  # rows


class Clustered(Embeddings):
    """A model whose vectors are a cluster's centre plus a place in it, by the number in a text."""

    def __init__(self) -> None:
        """Choose centres and places."""
        random = np.random.default_rng(seed=16)
        self._centres = random.standard_normal((_CLUSTERS, _DIM), dtype=np.float32)
        self._places = random.standard_normal((_PLACES, _DIM), dtype=np.float32) / 2

    def vectors(self, numbers: Any) -> Any:
        """Return the vectors of an array of numbers, as rows of an array."""
        return self._centres[numbers % _CLUSTERS] + self._places[numbers % _PLACES]

    def questions(self, count: int) -> Any:
        """Return the vectors of questions, which are in the clusters, too."""
        return self.vectors(_FIRST_QUESTION + np.arange(count))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector per text."""
        # The text from which a store learns the dimension has no number.
        numbers = np.array([int(f"0{text.partition('row ')[2]}") for text in texts])
        vectors: list[list[float]] = self.vectors(numbers).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return a text's vector."""
        return self.embed_documents([text])[0]


def documents(count: int, tenants: int) -> Iterator[Document]:
    """Yield rows, which belong to the tenants by turns."""
    for number in range(count):
        metadata: dict[str, Any] = {"number": number, "percent": number % PERCENT}
        if tenants:
            metadata["tenant"] = tenant(number % tenants)
        yield Document(id=str(number), page_content=f"row {number}", metadata=metadata)


def tenant(number: int) -> str:
    """Return a tenant's name."""
    return f"tenant {number}"


def nearest(model: Clustered, rows: Any, asked: Any, count: int) -> list[set[str]]:
    """Compare each question with each row; return the ids of the rows with the highest cosines.

    Args:
        model: The model.
        rows: The numbers of the rows.
        asked: The questions' vectors.
        count: How many to return for each question.
    """
    scores = np.empty((len(asked), 0), dtype=np.float32)
    ids = np.empty((len(asked), 0), dtype=int)
    for start in range(0, len(rows), _COMPARED_AT_ONCE):
        part = rows[start : start + _COMPARED_AT_ONCE]
        vectors = model.vectors(part)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = np.hstack([scores, asked @ vectors.T])
        ids = np.hstack([ids, np.broadcast_to(part, (len(asked), len(part)))])
        best = np.argpartition(scores, -count, axis=1)[:, -count:]
        scores, ids = (np.take_along_axis(one, best, axis=1) for one in (scores, ids))
    return [set(map(str, row)) for row in ids]
