"""The graph's answers: asked for, and measured beside those that are right."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from evaluating.asking import asked
from evaluating.figures import TUNED, Array, cell
from evaluating.metrics import (
    cited,
    exact_match,
    f1,
    holds,
    is_yes_or_no,
    statements,
    supports,
    without_citations,
)
from evaluating.sets import Question
from graphs.rag import Context, build_graph
from graphs.rag.prompts import NOT_IN_DOCUMENTS
from milvus_tools import MilvusStore

ABSENT: Final = "answered although absent"
COLUMNS: Final = (
    "right answer in it",
    "exact match",
    "F1",
    "sentences that cite",
    "citations with a supporting word",
    "denied although found",
    ABSENT,
)
MEANING: Final = f"""\
In percent of the questions that have a value, with 95 % intervals.

- **right answer in it**: the answer has the words of the right one, one behind the other. A yes or
  no must come first. A sentence that names both sides of a comparison has the right answer, too.
  An answer that says that nothing found answers is none, here and in the next two.
- **exact match**, **F1**: by the rules of SQuAD, of the answer without citations and notes. Quoted
  sentences have many words beside the right ones.
- **sentences that cite**: the share of an answer's sentences with a citation.
- **citations with a supporting word**: the share of an answer's citations whose passage has a
  content word of the sentence that cites it, or of the right answer. By rule, all sentences are
  quotes.
- **denied although found**: the answer says that nothing found answers, though one of the passages
  that it was made from has the right answer. Not of questions of yes or no.
- **{ABSENT}**: the same questions, over a collection without any paragraph that one
  of them needs, got another answer than that.

{TUNED}
"""
_UNKNOWN: Final = math.nan

Values = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Answered:
    """An answer, as far as it is measured.

    Attributes:
        sentences: Its sentences; none if it says that nothing found answers.
        is_denied: Whether it says so.
        cited: The texts that it cites, by their numbers.
        read: The texts that it was made from.
    """

    sentences: Sequence[str]
    is_denied: bool
    cited: Mapping[int, str] = dataclasses.field(default_factory=dict)
    read: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The sentences without citations."""
        return without_citations(" ".join(self.sentences))


async def answers_measured(
    store: MilvusStore, absent: MilvusStore, questions: Sequence[Question], **settings: Any
) -> Values:
    """Ask one question after the other, of both stores, and measure the answers.

    Args:
        store: The store with all paragraphs.
        absent: One without those that the questions need.
        questions: The questions.
        **settings: Further settings of the graph's context, such as `model`.
    """
    values: list[list[float]] = []
    for question in questions:
        answered = await _asked(Context(store=store, **settings), question)
        elsewhere = await _asked(Context(store=absent, **settings), question)
        values.append([*worth(answered, question.gold), float(not elsewhere.is_denied)])
    return dict(zip(COLUMNS, np.array(values).T, strict=True))


async def _asked(context: Context, question: Question) -> Answered:
    output, passages = await asked(build_graph(context), question.text)
    return answered_of(output, [one["text"] for one in passages.values()])


def answered_of(output: Mapping[str, Any], read: Sequence[str]) -> Answered:
    """Take from the graph's output what is measured; its notes are no part of the answer."""
    notes = "".join(f"\n\n{note}" for note in output["notes"])
    text = output["answer"].removesuffix(notes)
    is_denied = output["answered_by"] == "none" or holds(text, NOT_IN_DOCUMENTS)
    documents = zip(output["citations"], output["documents"], strict=True)
    return Answered(
        sentences=[] if is_denied else statements(text),
        is_denied=is_denied,
        cited={citation["n"]: document.page_content for citation, document in documents},
        read=read,
    )


def worth(answered: Answered, gold: str) -> list[float]:
    """Return an answer's values, in the order of the columns; not a number if it has none."""
    was_found = not is_yes_or_no(gold) and any(holds(text, gold) for text in answered.read)
    return [
        float(holds(answered.text, gold)),
        exact_match(answered.text, gold),
        f1(answered.text, gold),
        _mean([bool(cited(sentence)) for sentence in answered.sentences]),
        _mean(_supported(answered, gold)),
        float(answered.is_denied) if was_found else _UNKNOWN,
    ]


def _supported(answered: Answered, gold: str) -> list[bool]:
    """Tell of each citation whether its passage has a supporting word."""
    return [
        supports(answered.cited[number], sentence, gold)
        for sentence in answered.sentences
        for number in cited(sentence)
        if number in answered.cited
    ]


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else _UNKNOWN


def answers_report(results: Mapping[str, Mapping[str, Values]]) -> str:
    """Write the results by the names of the sets as Markdown, with what the columns mean."""
    tables = [f"## {name}\n\n{answers_table(values)}" for name, values in results.items()]
    return "\n\n".join([*tables, MEANING])


def answers_table(results: Mapping[str, Values]) -> str:
    """Write a set's results."""
    rows = [
        f"| {name} | {' | '.join(cell(values[column]) for column in COLUMNS)} |"
        for name, values in results.items()
    ]
    return "\n".join([f"| | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}", *rows])
