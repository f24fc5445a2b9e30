"""The graph's nodes, and the ways between them."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime
from langgraph.types import Overwrite, Send

from graphs.rag import conversation, quoting, rules
from graphs.rag.citations import citation, cite, document, uncited
from graphs.rag.context import Context
from graphs.rag.model_calls import Model, structured, written
from graphs.rag.planning import Planned, cleaned, first_round, next_round
from graphs.rag.prompts import (
    NOT_IN_DOCUMENTS,
    FollowUpPlan,
    Plan,
    Reflection,
    Step,
    answer_messages,
    plan_messages,
    reflect_messages,
)
from graphs.rag.searching import SearchError, open_store, reload, search
from graphs.rag.state import Asked, Citation, InputState, Passage, State, Subquestion
from milvus_tools.ranking import unique
from milvus_tools.tools.formatting import as_data

UNCITED: Final = "The model's answer cites no document: take it for unchecked."
UNREADABLE: Final = "The model's plan could not be read; the question was searched as it is."

Update = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Nodes:
    """The nodes of a graph that was built with some context."""

    default: Context

    async def plan(self, state: InputState, runtime: Runtime[Context]) -> Update:
        """Split the question, made to stand alone; sub-questions that need answers wait.

        Raises:
            ValueError: If there is no question, or it is too long.
        """
        context = self._context(runtime)
        asked, before = conversation.asked(state)
        question = conversation.text_of(asked)
        await open_store(context)
        plan = await _plan(question, conversation.plain(before), context)
        planned = first_round(plan.question, plan.steps, context.max_subquestions)
        _tell(runtime, "planned", subquestions=planned.pending, waiting=planned.waiting)
        return {
            **({} if asked in state.get("messages", []) else _with(before, asked)),
            "standalone_question": plan.question,
            "pending": planned.pending,
            "waiting": planned.waiting,
            "subquestions": Overwrite([]),
            "passages": {},
            "answer": "",  # an earlier question's would stand here if this run fails
            "answered_by": "none",
            "citations": [],
            "documents": [],
            "notes": [*conversation.unread(asked), *plan.notes, *_left_out(planned)],
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
        asked = Asked(
            number=state["number"],
            round=state["round"],
            text=state["text"],
            found=[one["id"] for one in passages],
            error=error,
        )
        return {"subquestions": [asked], "found": {one["id"]: one for one in passages}}

    async def merge(self, state: State, runtime: Runtime[Context]) -> Update:
        """Make one ranking of what was found, and keep the best of it.

        Raises:
            SearchError: If nothing at all could be searched.
        """
        context = self._context(runtime)
        asked = state["subquestions"]
        if all(one["error"] for one in asked):
            raise SearchError(f"Nothing could be searched. {_unsearched(asked)}")
        # What ranks lower now is needed again only if a later round finds it again.
        known = {**state["passages"], **state.get("found", {})}
        best = await _best(state, known, context)
        missing = [id_ for id_ in best if id_ not in known]
        if missing:  # of a thread that is resumed
            known |= await reload(missing, context)
            best = await _best(state, known, context)
        return {"passages": {id_: known[id_] for id_ in best if id_ in known}, "pending": []}

    async def reflect(self, state: State, runtime: Runtime[Context]) -> Update:
        """Plan the next round from what was found, if there is to be one."""
        context = self._context(runtime)
        if not state["passages"] or state["subquestions"][-1]["round"] >= context.rounds:
            return {"pending": []}
        planned, notes = await _next(state, context)
        notes += _left_out(planned) if context.planning_model else []
        _tell(runtime, "reflected", subquestions=planned.pending, waiting=planned.waiting)
        return {
            "pending": planned.pending,
            "waiting": planned.waiting,
            "notes": [*state["notes"], *notes],
        }

    async def answer(self, state: State, runtime: Runtime[Context]) -> Update:
        """Answer from the passages, with what could not be searched named."""
        context = self._context(runtime)
        passages = _passages(state)
        said = await _answered(state, context)
        notes = [*said.notes, *_notes(state, context)]
        notes = [*state["notes"], *(uncited(note) for note in notes)]
        answer = "\n\n".join([said.text, *notes])
        return {
            "messages": [conversation.answer_message(answer, passages, **said.message)],
            "answer": answer,
            "answered_by": said.by,
            "citations": said.citations,
            "documents": [document(passages[one["n"] - 1]) for one in said.citations],
            "passages": {},
            "notes": notes,
        }

    def _context(self, runtime: Runtime[Context]) -> Context:
        given: object = runtime.context  # of a graph round this one, it may be anything
        return given.over(self.default) if isinstance(given, Context) else self.default


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer, before what went wrong on the way is added."""

    text: str
    by: Literal["model", "rule", "none"]
    citations: list[Citation] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    message: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The id and the token counts of the model's message, for the message of the answer."""


@dataclasses.dataclass(frozen=True)
class Split:
    """A question that stands alone, and the steps that it was split into."""

    question: str
    steps: list[Step]
    notes: list[str] = dataclasses.field(default_factory=list)


def _with(before: Sequence[AnyMessage], asked: HumanMessage) -> Update:
    """Put the question behind the conversation: overwritten, as what is added is streamed."""
    return {"messages": Overwrite([*before, asked])}


def send(state: State) -> list[Send] | Literal["answer"]:
    """Search for all that is pending at the same time, or answer."""
    return [Send("retrieve", one) for one in state["pending"]] or "answer"


async def _plan(question: str, earlier: Sequence[BaseMessage], context: Context) -> Split:
    by_rule = await asyncio.to_thread(_split, question, earlier)
    if context.planning_model is None:
        return by_rule
    messages = plan_messages(question, earlier, context.max_subquestions)
    schema = FollowUpPlan if earlier else Plan
    plan = await structured(context.planning_model, schema, messages, context)
    match plan:
        case None:
            return Split(by_rule.question, [], [UNREADABLE])
        case FollowUpPlan():
            question = cleaned(plan.question) or by_rule.question
    return Split(question, plan.subquestions)


def _split(question: str, earlier: Sequence[BaseMessage]) -> Split:
    """Split a question by rule."""
    alone = rules.standalone(question, conversation.turns(earlier))
    return Split(alone, [Step(question=part) for part in rules.split(alone)])


async def _best(state: State, known: Mapping[str, Passage], context: Context) -> list[str]:
    """Rank what was found, and keep the best; in a thread, because long passages take time."""
    found = [(one["round"], one["found"]) for one in state["subquestions"]]
    order = await asyncio.to_thread(rules.ranked, state["standalone_question"], found, known)
    return order[: context.max_passages]


async def _next(state: State, context: Context) -> tuple[Planned, list[str]]:
    most, waiting, asked = context.max_subquestions, state["waiting"], state["subquestions"]
    if context.planning_model is None:
        return await asyncio.to_thread(_followed, state, most), []
    messages = reflect_messages(
        state["standalone_question"], asked, waiting, _passages(state), most
    )
    reply = await structured(context.planning_model, Reflection, messages, context)
    if reply is None:
        note = "What the model made of the documents could not be read; nothing more was searched."
        return Planned([], waiting), [note]
    if reply.answerable:  # what still waits is not needed any more
        return Planned([], []), []
    answers = {one.number: one.answer for one in reply.answers if one.answer.strip()}
    return next_round(reply.follow_ups, waiting, answers, asked, most), []


def _followed(state: State, most: int) -> Planned:
    """Plan the next round by rule."""
    texts = rules.follow_ups(state["standalone_question"], _passages(state))
    return next_round(texts, state["waiting"], {}, state["subquestions"], most)


async def _answered(state: State, context: Context) -> Said:
    question, passages = state["standalone_question"], _passages(state)
    if not passages:
        return Said(NOT_IN_DOCUMENTS, "none")
    if context.answering_model is None:
        return await asyncio.to_thread(_quoted, question, passages)
    return await _written(context.answering_model, question, passages, context)


async def _written(
    model: Model, question: str, passages: Sequence[Passage], context: Context
) -> Said:
    message = await written(model, answer_messages(question, passages), context)
    most, whole = context.max_answer_chars, str(message.text)
    text, citations = cite(whole[:most], passages)
    notes = ["The answer was cut: it did not end."] if len(whole) > most else []
    if not citations and text != NOT_IN_DOCUMENTS:
        notes.append(UNCITED)
    of_model = {"id": message.id, "usage_metadata": message.usage_metadata}
    return Said(text, "model", citations, notes, of_model)


def _quoted(question: str, passages: Sequence[Passage]) -> Said:
    """Answer by rule; what is cited is known, and not read from text that a document may forge."""
    quoted = quoting.quotes(question, passages)
    shown = quoted or quoting.nearest(question, passages)
    if not shown:
        return Said(NOT_IN_DOCUMENTS, "none")
    lines = [f"- {_as_quote(sentence)} [{number}]" for number, sentence in shown]
    citations = [citation(one, passages) for one in unique(number for number, _ in shown)]
    text = "\n".join([quoting.BY_RULE if quoted else quoting.UNCLEAR, *lines])
    return Said(text, "rule" if quoted else "none", citations)


def _passages(state: State) -> list[Passage]:
    """Return the passages that `[1]` and so on mean."""
    return list(state["passages"].values())


def _as_quote(sentence: str) -> str:
    """Return a sentence on one line, without citations of its own and what can't be seen."""
    return uncited(" ".join(as_data(sentence).split()))


def _left_out(planned: Planned) -> list[str]:
    if not planned.left_out:
        return []
    return [f"{planned.left_out} sub-questions were left out, to keep to max_subquestions."]


def _notes(state: State, context: Context) -> list[str]:
    asked, waiting = state["subquestions"], state["waiting"]
    notes = [_unsearched(asked)] if any(one["error"] for one in asked) else []
    if waiting:
        last = bool(asked) and asked[-1]["round"] >= context.rounds
        why = "it was the last round (max_rounds)" if last else "an earlier answer was missing"
        texts = {one["number"]: one["text"] for one in [*asked, *waiting]}
        named = "; ".join(_in_full(one, texts) for one in waiting)
        notes.append(f"Not searched for, as {why}: {named}")
    return notes


def _in_full(one: Subquestion, texts: Mapping[int, str]) -> str:
    """Name a sub-question, and those that its text refers to by number."""
    needed = "; ".join(f"#{number}: {texts[number]}" for number in one["needs"] if number in texts)
    return f"{one['text']} ({needed})" if needed else one["text"]


def _unsearched(asked: Sequence[Asked]) -> str:
    named = [f"{one['text']} ({one['error']})" for one in asked if one["error"]]
    return f"Could not be searched: {'; '.join(named)}"


def _tell(runtime: Runtime[Context], event: str, **what: Any) -> None:
    """Tell who streams `custom` what has just happened."""
    runtime.stream_writer({"event": event, **what})
