"""The terms of a pseudo-relevance model, by which a query is expanded. Pure functions.

RM3 (Abdul-Jaleel et al., 2004, "UMass at TREC 2004: Novelty and HARD") searches for the question
together with the likeliest terms of a relevance model (Lavrenko and Croft, 2001, "Relevance-Based
Language Models"), which the first hits estimate.
"""

import collections
from collections.abc import Sequence

from milvus_tools.english import STOP_WORDS, words


def relevance_terms(texts: Sequence[str], most: int) -> list[str]:
    """Return the likeliest terms of a relevance model, likeliest first.

    A term's likelihood is the mean of its shares of the texts. Each text weighs the same: the
    scores of dense vectors, BM25 and both are no likelihoods. Stop words are no terms.

    Args:
        texts: The first hits.
        most: The most terms to return.
    """
    likelihoods: dict[str, float] = {}
    for text in texts:
        terms = [word for word in words(text.lower()) if word not in STOP_WORDS]
        for term, times in collections.Counter(terms).items():
            likelihoods[term] = likelihoods.get(term, 0.0) + times / len(terms)
    return sorted(likelihoods, key=likelihoods.__getitem__, reverse=True)[:most]


def expanded(question: str, texts: Sequence[str], most: int) -> str:
    """Add the terms of the first hits to a question.

    A query's text has no weights: each term counts like a word of the question. One that the
    question has, too, counts twice, as both models of RM3 have it.
    """
    return " ".join([question, *relevance_terms(texts, most)])
