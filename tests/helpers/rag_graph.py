"""Documents, questions and scripts for the tests of the RAG graph."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langgraph.graph.state import CompiledStateGraph

from tests.helpers.openai_answers import Reply, Scripted

QUESTION = "Who directed the film that was shot around Leland?"
DIRECTED = "Who directed Maximum Overdrive?"
DOCUMENTS = [
    Document(
        id="leland",
        page_content="Leland is a town. The film Maximum Overdrive was shot around Leland.",
        metadata={"title": "Leland"},
    ),
    Document(
        id="film",
        page_content="Maximum Overdrive is a film. It was directed by Stephen King.",
        metadata={"source": "films.md", "title": "Maximum Overdrive"},
    ),
    Document(id="other", page_content="Kites are birds of prey.", metadata={"n": 1}),
]

Graph = CompiledStateGraph[Any, Any, Any, Any]


@dataclasses.dataclass
class PlayedModel:
    """Replies as a model would, by what it is asked for: a plan, an answer, or what is between.

    Each reply is used once, in turn; the last one stays.
    """

    plans: Sequence[Scripted] = ()
    reflections: Sequence[Scripted] = ()
    answers: Sequence[Scripted] = ("Stephen King directed it [1][2].",)
    wordings: Sequence[Scripted] = ()
    asked: list[str] = dataclasses.field(default_factory=list)
    messages: list[list[Mapping[str, Any]]] = dataclasses.field(default_factory=list)

    def __call__(self, request: Mapping[str, Any]) -> Scripted:
        """Reply to a request."""
        kind = _kind(request)
        self.asked.append(kind)
        self.messages.append(request["messages"])
        replies = {
            "plan": self.plans,
            "reflection": self.reflections,
            "answer": self.answers,
            "wordings": self.wordings,
        }
        count = collections.Counter(self.asked)[kind]
        return replies[kind][min(count, len(replies[kind])) - 1]


def _kind(request: Mapping[str, Any]) -> str:
    shape = json.dumps([request.get("response_format"), request.get("tools")])
    if "subquestions" in shape:
        return "plan"
    if "wordings" in shape:
        return "wordings"
    return "reflection" if "follow_ups" in shape else "answer"


def plan(*steps: str | tuple[str, list[int]], question: str = "") -> dict[str, Any]:
    """Return a plan; a step is a text, or a text and what it needs.

    Args:
        *steps: The steps.
        question: A follow-up, so that it stands alone.
    """
    pairs = [(step, []) if isinstance(step, str) else step for step in steps]
    alone = {"question": question} if question else {}
    return {
        **alone,
        "subquestions": [{"question": text, "needs": needs} for text, needs in pairs],
    }


def reflection(
    *follow_ups: str, answers: Mapping[int, str] | None = None, answerable: bool = False
) -> dict[str, Any]:
    """Return a reflection."""
    found = [{"number": number, "answer": text} for number, text in (answers or {}).items()]
    return {"answers": found, "answerable": answerable, "follow_ups": list(follow_ups)}


CUT = Reply('{"subquestions": [{"question": "Who? Who? Who?', finish_reason="length")


async def events(graph: Graph, question: str, **options: Any) -> tuple[list[Any], Any]:
    """Run a graph; return its custom events and its output."""
    told: list[Any] = []
    output: Any = None
    async for mode, what in graph.astream(
        {"question": question}, stream_mode=["custom", "values"], **options
    ):
        if mode == "custom":
            told.append(what)
        else:
            output = what
    return told, output
