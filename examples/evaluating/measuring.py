"""Asks questions in a way to search, and compares what is found with what is needed."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Final

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG

from evaluating.figures import Array
from evaluating.sets import Question
from evaluating.ways import K, Way

ALL_10: Final = "all@10"
ALL_5: Final = "all@5"
MEASURES: Final = {
    "recall@5": R @ 5, "recall@10": R @ 10, "nDCG@10": nDCG @ 10, "MRR": RR
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Measured:
    """The worth and the cost of a way to search: a value per question each.

    Attributes:
        name: The way's name.
        values: The values of each measure.
        searches: The calls of the store's search.
        milliseconds: The CPU time.
    """

    name: str
    values: Mapping[str, Array]
    searches: Array
    milliseconds: Array


async def measure(way: Way, questions: Sequence[Question]) -> Measured:
    """Ask one question after the other."""
    name, store, find = way
    run: list[ir_measures.ScoredDoc] = []
    costs: list[tuple[float, float]] = []
    await find(questions[0].text)  # Milvus Lite loads a collection when it is first searched
    for question in questions:
        calls, start = store.stats.search.calls, time.process_time()
        found = (await find(question.text))[:K]
        used = time.process_time() - start
        costs.append((store.stats.search.calls - calls, 1_000 * used))
        run += [ir_measures.ScoredDoc(question.id, id_, -rank) for rank, id_ in enumerate(found)]
    searches, milliseconds = np.array(costs).T
    return Measured(name, values_of(run, questions), searches, milliseconds)


def values_of(
    run: Sequence[ir_measures.ScoredDoc], questions: Sequence[Question]
) -> dict[str, Array]:
    """Return each measure's value for each question; what found nothing has 0."""
    needed = [
        ir_measures.Qrel(question.id, id_, 1) for question in questions for id_ in question.needed
    ]
    found = {
        (str(one.measure), one.query_id): one.value
        for one in ir_measures.iter_calc(list(MEASURES.values()), needed, run)
    }
    values = {
        name: np.array([found.get((str(one), question.id), 0.0) for question in questions])
        for name, one in MEASURES.items()
    }
    return {
        ALL_10: (values["recall@10"] == 1).astype(float),
        ALL_5: (values["recall@5"] == 1).astype(float),
        **values,
    }
