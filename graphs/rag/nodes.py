"""The graph's nodes, and the ways between them."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Overwrite, Send

from graphs.rag import rules
from graphs.rag.citations import citation, cite, uncited
from graphs.rag.context import Context
from graphs.rag.models import structured, written
from graphs.rag.planning import Planned, first_round, next_round
from graphs.rag.prompts import (
    NOT_IN_DOCUMENTS,
    Plan,
    Reflection,
    Step,
    answer_messages,
    plan_messages,
    reflect_messages,
)
from graphs.rag.searching import SearchError, open_store, search
from graphs.rag.state import Asked, Citation, Finding, InputState, Passage, State, Subquestion
from milvus_tools.ranking import unique
from milvus_tools.tools.formatting import as_data

MAX_QUESTION: Final = 4_000
"""The most characters of a question."""

BY_RULE: Final = (
    "Sentences nearest to the question, quoted by rule; whether they answer it is not checked:"
)

UNCITED: Final = "The model's answer cites no document: take it for unchecked."

Update = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Nodes:
    """The nodes of a graph that was built with some context."""

    default: Context

    async def plan(self, state: InputState, runtime: Runtime[Context]) -> Update:
        """Split the question; sub-questions that need an earlier answer wait.

        Raises:
            ValueError: If there is no question, or it is too long.
        """
        context = self._context(runtime)
        question = _checked(state.get("question"))
        await open_store(context)
        steps, notes = await _steps(question, context)
        planned = first_round(question, steps, context.max_subquestions)
        notes += _left_out(planned)
        _tell(runtime, "planned", subquestions=planned.pending, waiting=planned.waiting)
        return {
            "question": question,
            "pending": planned.pending,
            "waiting": planned.waiting,
            "findings": Overwrite([]),
            "passages": [],
            "answer": "",  # an earlier question's would stand here if this run fails
            "answered_by": "nobody",
            "citations": [],
            "subquestions": [],
            "notes": notes,
        }

    async def retrieve(self, state: Subquestion, runtime: Runtime[Context]) -> Update:
        """Search for one sub-question; if it can't be, that is what is found."""
        context = self._context(runtime)
        passages: list[Passage] = []
        error = ""
        _tell(runtime, "searching", **state)
        try:
            passages = await search(state["text"], context)
        except SearchError as failed:
            error = str(failed)
        found = [{"id": one["id"], "source": one["source"]} for one in passages]
        _tell(runtime, "unsearched" if error else "found", **state, found=found, error=error)
        finding = Finding(
            number=state["number"],
            round=state["round"],
            text=state["text"],
            passages=passages,
            error=error,
        )
        return {"findings": [finding]}

    async def merge(self, state: State, runtime: Runtime[Context]) -> Update:
        """Make one ranking of what was found.

        Raises:
            SearchError: If nothing at all could be searched.
        """
        context = self._context(runtime)
        findings = in_order(state)
        if all(one["error"] for one in findings):
            raise SearchError(f"Nothing could be searched. {_unsearched(findings)}")
        known = {one["id"]: one for finding in findings for one in finding["passages"]}
        merged = rules.ranked(
            [(one["round"], [hit["id"] for hit in one["passages"]]) for one in findings]
        )
        return {"passages": [known[id_] for id_ in merged[: context.max_passages]], "pending": []}

    async def reflect(self, state: State, runtime: Runtime[Context]) -> Update:
        """Plan the next round from what was found, if there is to be one."""
        context = self._context(runtime)
        findings = in_order(state)
        if not state["passages"] or findings[-1]["round"] >= context.max_rounds:
            return {"pending": []}
        planned, notes = await _next(state, findings, context)
        notes += _left_out(planned) if context.model else []
        _tell(runtime, "reflected", subquestions=planned.pending, waiting=planned.waiting)
        return {
            "pending": planned.pending,
            "waiting": planned.waiting,
            "notes": [*state["notes"], *notes],
        }

    async def answer(self, state: State, runtime: Runtime[Context]) -> Update:
        """Answer from the passages, with what could not be searched named."""
        context = self._context(runtime)
        findings = in_order(state)
        said = await _answered(state, context)
        notes = [*said.notes, *_notes(findings, state["waiting"], context)]
        notes = [*state["notes"], *(uncited(note) for note in notes)]
        return {
            "answer": "\n\n".join([said.text, *notes]),
            "answered_by": said.by,
            "citations": said.citations,
            "subquestions": [_asked(finding) for finding in findings],
            "notes": notes,
        }

    def _context(self, runtime: Runtime[Context]) -> Context:
        given: object = runtime.context  # of a graph round this one, it may be anything
        return given.over(self.default) if isinstance(given, Context) else self.default


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer, before what went wrong on the way is added."""

    text: str
    by: Literal["model", "rule", "nobody"]
    citations: list[Citation] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def send(state: State) -> list[Send] | Literal["answer"]:
    """Search for all that is pending at the same time, or answer."""
    return [Send("retrieve", one) for one in state["pending"]] or "answer"


def in_order(state: State) -> list[Finding]:
    """Return the findings by number, in whichever order they came."""
    return sorted(state["findings"], key=lambda one: (one["round"], one["number"]))


async def _steps(question: str, context: Context) -> tuple[list[Step], list[str]]:
    if context.model is None:
        parts = await asyncio.to_thread(rules.split, question)
        return [Step(question=part, needs=[]) for part in parts], []
    most = context.max_subquestions
    plan = await structured(Plan, plan_messages(question, most), context)
    if plan is None:
        return [], ["The model's plan could not be read; the question was searched as it is."]
    return plan.subquestions, []


async def _next(
    state: State, findings: Sequence[Finding], context: Context
) -> tuple[Planned, list[str]]:
    most = context.max_subquestions
    waiting = state["waiting"]
    if context.model is None:
        return await asyncio.to_thread(_followed, state, findings, most), []
    messages = reflect_messages(
        state["question"],
        findings,
        waiting,
        state["passages"],
        most,
    )
    reply = await structured(Reflection, messages, context)
    if reply is None:
        note = "What the model made of the documents could not be read; nothing more was searched."
        return Planned([], waiting), [note]
    if reply.answerable:  # what still waits is not needed any more
        return Planned([], []), []
    answers = {one.number: one.answer for one in reply.answers if one.answer.strip()}
    return next_round(reply.follow_ups, waiting, answers, findings, most), []


def _followed(state: State, findings: Sequence[Finding], most: int) -> Planned:
    """Plan the next round by rule."""
    texts = rules.follow_ups(state["question"], state["passages"])
    return next_round(texts, state["waiting"], {}, findings, most)


async def _answered(state: State, context: Context) -> Said:
    if not state["passages"]:
        return Said(NOT_IN_DOCUMENTS, "nobody")
    if context.model is None:
        return await asyncio.to_thread(_quoted, state["question"], state["passages"])
    text, cut = await written(answer_messages(state["question"], state["passages"]), context)
    text, citations = cite(text, state["passages"])
    notes = ["The answer was cut: it did not end."] if cut else []
    if not citations and text != NOT_IN_DOCUMENTS:
        notes.append(UNCITED)
    return Said(text, "model", citations, notes)


def _quoted(question: str, passages: Sequence[Passage]) -> Said:
    """Answer by rule; what is cited is known, and not read from text that a document may forge."""
    quoted = rules.quotes(question, passages)
    if not quoted:
        return Said(NOT_IN_DOCUMENTS, "rule")
    lines = [f"- {_as_quote(sentence)} [{number}]" for number, sentence in quoted]
    numbers = unique(number for number, _ in quoted)
    citations = [citation(number, passages) for number in numbers]
    return Said("\n".join([BY_RULE, *lines]), "rule", citations)


def _as_quote(sentence: str) -> str:
    """Return a sentence on one line, without citations of its own and what can't be seen."""
    return uncited(" ".join(as_data(sentence).split()))


def _checked(given: object) -> str:
    question = " ".join(given.split()) if isinstance(given, str) else ""
    if not question:
        raise ValueError("The question is empty.")
    if len(question) > MAX_QUESTION:
        raise ValueError(f"The question is longer than {MAX_QUESTION} characters.")
    return question


def _left_out(planned: Planned) -> list[str]:
    if not planned.left_out:
        return []
    return [f"{planned.left_out} sub-questions were left out, to keep to max_subquestions."]


def _notes(
    findings: Sequence[Finding], waiting: Sequence[Subquestion], context: Context
) -> list[str]:
    notes = [_unsearched(findings)] if any(one["error"] for one in findings) else []
    if waiting:
        last = bool(findings) and findings[-1]["round"] >= context.max_rounds
        why = "it was the last round (max_rounds)" if last else "an earlier answer was missing"
        texts = {one["number"]: one["text"] for one in [*findings, *waiting]}
        named = "; ".join(_in_full(one, texts) for one in waiting)
        notes.append(f"Not searched for, as {why}: {named}")
    return notes


def _in_full(one: Subquestion, texts: Mapping[int, str]) -> str:
    """Name a sub-question, and those that its text refers to by number."""
    needed = "; ".join(f"#{number}: {texts[number]}" for number in one["needs"] if number in texts)
    return f"{one['text']} ({needed})" if needed else one["text"]


def _unsearched(findings: Sequence[Finding]) -> str:
    named = [f"{one['text']} ({one['error']})" for one in findings if one["error"]]
    return f"Could not be searched: {'; '.join(named)}"


def _asked(finding: Finding) -> Asked:
    return Asked(
        number=finding["number"],
        round=finding["round"],
        text=finding["text"],
        found=[one["id"] for one in finding["passages"]],
        error=finding["error"],
    )


def _tell(runtime: Runtime[Context], event: str, **what: Any) -> None:
    """Tell who streams `custom` what has just happened."""
    runtime.stream_writer({"event": event, **what})
