"""The questions, with the paragraphs that they need and the answers that are right."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Final

from graphs.rag.wikipedia import PARAGRAPHS

QUESTIONS: Final = PARAGRAPHS.with_name("questions.jsonl")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, the paragraphs that hold its answer together, and that answer."""

    id: str
    text: str
    needed: Sequence[str]
    gold: str


def load_questions(most: int | None = None) -> list[Question]:
    """Read the questions, or the first of them."""
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()[:most]
    return [
        Question(one["id"], one["question"], one["relevant_ids"], one["answer"])
        for one in map(json.loads, lines)
    ]
