"""Sub-questions: cleaned, numbered, bounded, and filled in with answers. Pure functions."""

import dataclasses
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

from graphs.rag.prompts import Step
from graphs.rag.state import Asked, Subquestion
from milvus_tools.ranking import unique
from milvus_tools.tools.formatting import as_data

MAX_TEXT: Final = 4_000
"""The most characters of a sub-question."""

MAX_ANSWER: Final = 200
"""The most characters of an answer that is filled in."""

_ANY_NUMBER: Final = re.compile(r"(?<!\w)#(\d+)\b")
_REFERENCE: Final = re.compile(r"(?<!\w)#\s?(\d{1,4})\b")
# As in "2. Who …", "- Who …", "**Who …**", `"Who …"`, "Sub-question 2: Who …".
# Possessive (`*+`), so that no text takes more than linear time (R03).
_NUMBERING: Final = re.compile(
    r"^(?:[-*\u2022\u2013]\s+|\(?\d{1,2}[.)]\s+|\d:\s+|sub-?questions?\s*+\d*+\s*+[:.)]\s*|q\d*\s*:\s*)+",
    re.IGNORECASE,
)
_WRAPPING: Final = " \t\"'`*“”«»"


@dataclasses.dataclass(frozen=True)
class Planned:
    """Sub-questions to search for now, and those that wait."""

    pending: list[Subquestion]
    waiting: list[Subquestion]
    left_out: int = 0
    """The number of texts that were left out."""


def cleaned(text: str) -> str:
    """Return a sub-question without the numbering and quotes that models put round it."""
    line = " ".join(as_data(text).split())
    return _NUMBERING.sub("", line.strip(_WRAPPING)).strip(_WRAPPING)[:MAX_TEXT]


def same(text: str) -> str:
    """Return what is equal for texts that differ in case and punctuation only."""
    return " ".join(text.casefold().translate(_WORDS_APART).split())


class _WordsApart(dict[int, int]):
    """Code points, with a space for those between words; each is looked up once."""

    def __missing__(self, point: int) -> int:
        # `#` is no punctuation here: `#1` refers to an answer.
        parts = point != ord("#") and unicodedata.category(chr(point))[0] in "PZC"
        self[point] = kept = ord(" ") if parts else point
        return kept


_WORDS_APART: Final = _WordsApart()


def first_round(question: str, steps: Sequence[Step], most: int) -> Planned:
    """Number a plan's steps, after the question itself, which is always searched for.

    A step that needs answers waits, unless it needs what no earlier step can give. Duplicates
    are one; those past `most` are left out.
    """
    planned = [Subquestion(number=1, round=1, text=question, needs=[])]
    known = {same(question): 1}
    numbers: dict[int, int] = {}
    numbered = _numbered(steps)
    positions = {position for position, _ in numbered}
    for position, step in numbered:
        text, needs = _renumbered(step, numbers, positions - {position})
        if not same(text):
            continue
        number = known.setdefault(same(text), len(planned) + 1)
        # The first of a step's lines counts for references to the step.
        numbers.setdefault(position, number)
        if number > len(planned):
            planned.append(Subquestion(number=number, round=1, text=text, needs=needs))
    kept = planned[:most]
    return Planned(
        [one for one in kept if not one["needs"]],
        [one for one in kept if one["needs"]],
        len(planned) - len(kept),
    )


def _numbered(steps: Sequence[Step]) -> list[tuple[int, Step]]:
    """Number the steps; one with several questions is several, and if it is alone, the plan."""
    lines = [
        (position, Step(question=line))
        for position, step in enumerate(steps, start=1)
        for line in _questions(step.question)
    ]
    return lines if len(steps) > 1 else [*enumerate((step for _, step in lines), start=1)]


def _questions(text: str) -> list[str]:
    """Return a text's lines if each is a question, or numbered; else it is one, if any."""
    lines = [line.strip(_WRAPPING) for line in text.splitlines() if line.strip()]
    several = all(line.endswith(("?", "\uff1f")) or _NUMBERING.match(line) for line in lines)
    return lines if several else [" ".join(lines)]


def _renumbered(
    step: Step, numbers: Mapping[int, int], others: Container[int]
) -> tuple[str, list[int]]:
    """Turn a step's references into ours; those to a later step are dropped.

    What refers to no other step, as in "a #1 hit", is text.
    """
    text = cleaned(step.question)
    referred = [int(found) for found in _REFERENCE.findall(text)]
    needs = unique(numbers[one] for one in referred if one in numbers)

    def ours(found: re.Match[str]) -> str:
        number = int(found[1])
        if number in numbers:
            return f"#{numbers[number]}"
        return "" if number in others else found[0]

    return " ".join(_REFERENCE.sub(ours, text).split()), needs


def next_round(
    follow_ups: Iterable[str],
    waiting: Sequence[Subquestion],
    answers: Mapping[int, str],
    asked: Sequence[Asked],
    most: int,
) -> Planned:
    """Fill answers into the sub-questions that wait for them, and number the follow-ups.

    What waits for another answer too has this one filled in already: it is not told again.

    Args:
        follow_ups: Further texts to search for.
        waiting: Sub-questions that need answers.
        answers: The answers by sub-question.
        asked: What was searched for; it is not searched for again.
        most: How many the round may have; filled ones go first, and wait on if there are more.
    """
    round_ = max(one["round"] for one in asked) + 1
    known = {same(one["text"]) for one in asked}
    filled = [_filled(one, answers, round_) for one in waiting]
    fresh = [one for one in filled if not one["needs"] and same(one["text"]) not in known]
    ready, late = fresh[:most], fresh[most:]
    still = [one for one in filled if one["needs"] or one in late]
    # `""`: what is empty once it is cleaned is no question.
    known |= {same(one["text"]) for one in ready} | {""}
    new = [text for text in _distinct(map(cleaned, follow_ups)) if same(text) not in known]
    first = 1 + max(one["number"] for one in [*asked, *waiting])
    added = [
        Subquestion(number=number, round=round_, text=text, needs=[])
        for number, text in enumerate(new[: most - len(ready)], start=first)
    ]
    return Planned([*ready, *added], still, len(new) - len(added))


def _distinct(texts: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(same(text), text)
    return list(first.values())


def _filled(one: Subquestion, answers: Mapping[int, str], round_: int) -> Subquestion:
    """Put answers in place of references."""
    text = one["text"]
    for number in answers.keys() & one["needs"]:
        # Cut, because a model that loops would fill the query with it.
        text = _with_answer(text, number, cleaned(answers[number])[:MAX_ANSWER])
    needs = [number for number in one["needs"] if number not in answers]
    round_ = one["round"] if needs else round_
    return Subquestion(number=one["number"], round=round_, text=text[:MAX_TEXT], needs=needs)


def _with_answer(text: str, number: int, answer: str) -> str:
    return _ANY_NUMBER.sub(lambda found: answer if found[1] == str(number) else found[0], text)
