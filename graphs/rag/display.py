"""The display of a run on a terminal, while it runs."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from graphs.rag.state import OutputState
from milvus_tools.tools.formatting import as_data

SHOWN: Final = 2
"""The most passages of a sub-question that are named."""

_MOST_TEXT: Final = 44  # characters of a sub-question
_PENDING: Final = "waits for an answer"
_STYLES: Final = {"searching": "yellow", "found": "green", "unsearched": "red", _PENDING: "dim"}


class Display:
    """The sub-questions with what each has found, and the answer as it is written.

    Nothing in a question, a document or an answer is read as markup or as a terminal's command.
    """

    def __init__(self, question: str) -> None:
        """Show the question alone."""
        self._question = question
        self._events: dict[int, Mapping[str, Any]] = {}
        self._answer = ""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Show an event of the graph."""
        for one in event.get("subquestions", []):
            self._events[one["number"]] = {**one, "event": "searching"}
        for one in event.get("waiting", []):
            self._events[one["number"]] = {**one, "event": _PENDING}
        if "number" in event:
            self._events[event["number"]] = event

    def write(self, token: str) -> None:
        """Show a piece of the answer."""
        self._answer += token

    def end(self, output: OutputState) -> None:
        """Show the answer as it is in the end, with its sources."""
        sources = [f"[{one['n']}] {one['source']} ({one['id']})" for one in output["citations"]]
        listed = ["", "Sources", *sources] if sources else []
        self._answer = "\n".join([output["answer"], *listed])

    def __rich__(self) -> Group:
        """Draw it as it is now."""
        tree = Tree(_text(self._question, "bold"), guide_style="dim")
        rounds: dict[int, Tree] = {}
        for number in sorted(self._events):
            event = self._events[number]
            at = event["round"]
            if at not in rounds:
                rounds[at] = tree.add(Text(f"Round {at}", "dim"))
            rounds[at].add(_line(event))
        return Group(tree, *([Text(), _text(self._answer)] if self._answer else []))


def _line(event: Mapping[str, Any]) -> Text:
    line = _text(_shortened(event["text"]))
    kind = event["event"]
    said = _found(event) if kind == "found" else event.get("error") or kind
    line.append(" → ", "dim").append_text(_text(said, _STYLES[kind]))
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _found(event: Mapping[str, Any]) -> str:
    return "; ".join(one["source"] for one in event["found"][:SHOWN]) or "nothing"


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _text(text: str, style: str = "") -> Text:
    return Text(as_data(text), style)
