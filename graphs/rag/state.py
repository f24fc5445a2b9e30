"""The state of the graph, in plain values that any checkpointer can write."""

import functools
import operator
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage
from langgraph.channels import EphemeralValue, UntrackedValue
from langgraph.graph import add_messages
from typing_extensions import TypedDict  # pydantic makes no schema of the standard one on 3.11

Messages = Annotated[list[AnyMessage], add_messages]


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
    """A Document that was found, as far as the graph keeps it."""

    id: str
    source: str
    title: str
    url: str
    text: str


class Citation(TypedDict):
    """The document that a `[n]` in the answer names."""

    n: int
    id: str
    source: str


class Asked(TypedDict):
    """A sub-question that was searched for."""

    number: int
    round: int
    text: str
    found: list[str]
    """The ids of what was found, best first."""

    error: str
    """Why it could not be searched, or nothing."""


class Unsaved(UntrackedValue[dict[str, Any]]):
    """Holds what the branches of a step found, joined. No checkpointer writes it."""

    def update(self, values: Sequence[dict[str, Any]]) -> bool:
        """Keep what the last step found."""
        if values:
            self.value = functools.reduce(operator.or_, values)
        return bool(values)


class InputState(TypedDict):
    """A run's input: a question, or messages of which the last one asks it."""

    # Gone after the first step: the next run of a thread must not find it again.
    question: NotRequired[Annotated[str, EphemeralValue]]
    messages: NotRequired[Messages]
    """The conversation."""


class OutputState(TypedDict):
    """A run's output."""

    messages: Messages
    """The conversation with the question and the answer, whose citations are annotations."""

    answer: str
    answered_by: Literal["model", "rule", "none"]
    """The author of the answer: `"none"` if nothing was found that clearly answers."""

    citations: list[Citation]
    documents: list[Document]
    """The documents that the answer cites, in the order of its citations."""

    standalone_question: str
    """The question as it was searched for: a follow-up has the names that it refers to."""

    subquestions: Annotated[list[Asked], operator.add]
    notes: list[str]
    """Sentences on what was left out or went wrong; the answer ends with them."""


class State(OutputState):
    """The state that the nodes share."""

    question: NotRequired[Annotated[str, EphemeralValue]]

    pending: list[Subquestion]
    """The next round."""

    waiting: list[Subquestion]
    """Those that need an earlier answer."""

    found: Annotated[dict[str, Passage], Unsaved]
    """The Documents that the round found, by id. Checkpoints have the ids in `subquestions`: many
    branches find the same passages, and most of them are not kept."""

    passages: dict[str, Passage]
    """The best of all that was found, by id, best first; none after the answer."""
