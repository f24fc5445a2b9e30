"""What the graph keeps, in plain values that any checkpointer can write."""

import operator
from typing import Annotated, Literal

from typing_extensions import TypedDict  # pydantic makes no schema of the standard one on 3.11


class Subquestion(TypedDict):
    """A question that is searched for as it stands."""

    number: int
    """From 1, through all rounds."""

    round: int
    """From 1: those of one round are searched for at the same time."""

    text: str
    needs: list[int]
    """The numbers of the sub-questions whose answers its text waits for, as `#1`."""


class Passage(TypedDict):
    """A Document that was found."""

    id: str
    source: str
    text: str


class Finding(TypedDict):
    """What became of a sub-question."""

    number: int
    round: int
    text: str
    passages: list[Passage]
    error: str
    """Why it could not be searched, or nothing."""


class Citation(TypedDict):
    """What a `[n]` in the answer means."""

    n: int
    id: str
    source: str


class Asked(TypedDict):
    """A sub-question in the graph's output."""

    number: int
    round: int
    text: str
    found: list[str]
    """The ids of what was found, best first."""

    error: str


class InputState(TypedDict):
    """What a run is given."""

    question: str


class OutputState(TypedDict):
    """What a run gives back."""

    answer: str
    answered_by: Literal["model", "rule", "nobody"]
    """Whose words the answer is made of; nobody's if nothing was found."""

    citations: list[Citation]
    subquestions: list[Asked]
    notes: list[str]
    """What was left out or went wrong on the way, in sentences; the answer ends with them."""


class State(InputState, OutputState):
    """What the nodes share."""

    pending: list[Subquestion]
    """The next round."""

    waiting: list[Subquestion]
    """Those that need an earlier answer."""

    findings: Annotated[list[Finding], operator.add]
    passages: list[Passage]
    """The best of all that was found, best first."""
