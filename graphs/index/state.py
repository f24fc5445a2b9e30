"""The input, output and state of the graph, in values that any checkpointer can write."""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic makes no schema of the standard one on 3.11


class GivenDocument(TypedDict):
    """A Document, as LangChain writes one."""

    page_content: str
    metadata: NotRequired[dict[str, Any]]
    id: NotRequired[str | None]
    """Left out, it is made of the text and the metadata."""


class Failure(TypedDict):
    """A Document that was not written."""

    number: int
    """Its place in the input, from 0."""

    id: str | None
    error: str


class InputState(TypedDict):
    """The input of a run."""

    documents: list[GivenDocument]


class OutputState(TypedDict):
    """The output of a run; the three counts add up to the Documents that were given."""

    written: int
    unchanged: int
    """The number that the collection had already, with the same text and metadata."""

    failed: list[Failure]
    ids: list[str | None]
    """Each Document's id, in the order given; `None` if it failed before it had one."""


class State(InputState, OutputState):
    """The state of the node."""
