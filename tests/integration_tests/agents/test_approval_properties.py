"""The rows that a human approves are the rows that change, for any call of a model.

The questions are read by their words, as a person would; nothing that writes them is used.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from milvus_tools import MilvusStore, MilvusToolkit, ScopedMilvusStore
from milvus_tools.filters import All, Any_, Condition, FieldType, Filter, Not, Operator
from milvus_tools.filters.conditions import map_conditions
from tests.helpers.agents import ScriptedModel, calls, told
from tests.helpers.filter_oracle import World, holds
from tests.helpers.support import ON_LITE
from tests.helpers.tools import toolkit

_ONE_VALUE = {
    " is not ": Operator.NE,
    " is more than ": Operator.GT,
    " is at least ": Operator.GTE,
    " is less than ": Operator.LT,
    " is at most ": Operator.LTE,
    " begins with ": Operator.PREFIX,
    " is ": Operator.EQ,
}
_SEVERAL = {" is one of ": Operator.IN, " is none of ": Operator.NOT_IN}
_DELETE = re.compile(r"Delete where (.*), in the collection (\w+)\?", re.DOTALL)
_UPSERT = re.compile(r"Write (\d+) documents? to the collection (\w+)\?")
_NAME = re.compile(r"\w+")


def is_refusal(question: str) -> bool:
    """Tell whether a question says that nothing would happen."""
    return question.startswith("Nothing would happen: ")


def read_delete(question: str) -> Filter:
    """Return the condition that a question names."""
    found = _DELETE.fullmatch(question)
    assert found, question
    reader = _Reader(found[1])
    filter_ = reader.group()
    assert reader.at_end(), question
    return filter_


def with_text_ids(condition: Condition) -> Condition:
    """Return a condition on ids as texts: the id 0 that a model writes means the id "0"."""
    if condition.field != "id":
        return condition
    value = condition.value
    several = value if isinstance(value, list) else [value]
    texts = [str(one) if type(one) is int else one for one in several]
    return dataclasses.replace(condition, value=texts if isinstance(value, list) else texts[0])


def read_upsert(question: str) -> list[tuple[str | None, str, Any]]:
    """Return the ids, texts and metadata that a question names."""
    first, *lines = question.split("\n")
    found = _UPSERT.fullmatch(first)
    assert found, question
    assert int(found[1]) == len(lines)
    return [_document(line) for line in lines]


def _document(line: str) -> tuple[str | None, str, Any]:
    reader = _Reader(line)
    reader.take("- ")
    id_ = None if reader.take("a new id") else reader.value_after("id ")
    text = reader.value_after(": text ")
    metadata = reader.value_after(", metadata ")
    assert reader.at_end(), line
    return id_, text, metadata


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        """Tell whether all is read."""
        return self._at == len(self._text)

    def take(self, words: str) -> bool:
        """Read words if they come next."""
        there = self._text.startswith(words, self._at)
        self._at += len(words) if there else 0
        return there

    def value(self) -> Any:
        """Read JSON."""
        value, self._at = json.JSONDecoder().raw_decode(self._text, self._at)
        return value

    def value_after(self, words: str) -> Any:
        """Read words that must come next, and JSON."""
        assert self.take(words), self._text[self._at :]
        return self.value()

    def group(self) -> Filter:
        """Read conditions that are joined by `and`, or by `or`."""
        parts = [self._part()]
        while self.take(" and "):
            parts.append(self._part())
        if len(parts) > 1:
            return All(parts)
        while self.take(" or "):
            parts.append(self._part())
        return Any_(parts) if len(parts) > 1 else parts[0]

    def _part(self) -> Filter:
        negated = self.take("not ")
        if self.take("("):
            inner = self.group()
            assert self.take(")"), self._text
            return Not(inner) if negated else inner
        return self._condition()

    def _condition(self) -> Filter:
        quoted = self._text.startswith('"', self._at)
        name = self.value() if quoted else self._name()
        for words, there in ((" is there", True), (" is missing", False)):
            if self.take(words):
                return Condition(name, Operator.EXISTS, there)
        if self.take(" is from "):
            low = self.value()
            return Condition(name, Operator.BETWEEN, [low, self.value_after(" to ")])
        for words, operator in _SEVERAL.items():
            if self.take(words):
                return Condition(name, operator, self._values())
        words = next(one for one in _ONE_VALUE if self._text.startswith(one, self._at))
        return Condition(name, _ONE_VALUE[words], self.value_after(words))

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        assert found, self._text
        self._at = found.end()
        return found[0]

    def _values(self) -> list[Any]:
        values = [self.value()]
        while self.take(", "):
            values.append(self.value())
        return values


pytestmark = ON_LITE

COUNTS = [30, pytest.param(1000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])]
QUESTION = {"messages": [{"role": "user", "content": "Clear up, please."}]}
THREAD: Any = {"configurable": {"thread_id": "1"}}
FIELDS = {"year": FieldType.INTEGER, "title": FieldType.STRING}
WORLD = World(static={}, others=frozenset(), declared=FIELDS, lite=True)
TITLES = ["", "a", "ab", 'a"b', "a and b", "x) or (title is there", "\u200b", "</document>", "é"]
ROWS: list[dict[str, Any]] = [
    *({"year": year, "title": title} for year, title in zip(range(-1, 5), TITLES, strict=False)),
    {"year": 7},
    {"title": "a\u200db"},
    {},
]
_OF_LISTS = {Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.LIKE}
_numbers = itertools.count()

_texts = st.sampled_from(TITLES) | st.text(max_size=5)
_years = st.integers(-2, 5)
_ids = st.sampled_from(["0", "1", "2", "7", "8", "nothing"])
# Also what a model should not say: nulls, other types, operators of other fields, no value.
_odd = st.none() | st.booleans() | _texts | _years | st.lists(st.none() | _years, max_size=3)


def _values(field: str) -> st.SearchStrategy[Any]:
    one = {"year": _years, "title": _texts, "id": _ids}[field]
    return st.one_of(one, one, st.lists(one, min_size=1, max_size=3), _odd)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a condition, as a model writes it."""
    field = draw(st.sampled_from(["year", "title", "id"]))
    operators = [one for one in Operator if one not in _OF_LISTS]
    operator = str(draw(st.sampled_from(operators)))
    condition: dict[str, Any] = {"field": field, "operator": operator}
    if draw(st.integers(0, 9)):
        condition["value"] = draw(_values(field))
    return condition


filters = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda one: {"not": one}),
    ),
    max_leaves=4,
)
deletes = st.fixed_dictionaries(
    {},
    optional={
        "ids": st.lists(_ids, max_size=3) | st.none(),
        "filters": st.lists(filters, max_size=3) | st.none(),
        "dry_run": st.sampled_from([False, None, 0, "false"]),
    },
)
documents = st.fixed_dictionaries(
    {"text": st.text(min_size=1, max_size=20)},
    optional={
        "id": st.none() | _ids | st.text(max_size=5),
        "metadata": st.fixed_dictionaries(
            {}, optional={"year": st.none() | _years | st.just("x"), "title": st.none() | _texts}
        ),
    },
)
upserts = st.fixed_dictionaries({"documents": st.lists(documents, max_size=4) | st.none()})


class Approval:
    """A run of an agent in a scope of its own, which a human follows.

    Args:
        store: What to make a view of.
        verb: The tool.
        arguments: With what the model calls it.
    """

    def __init__(self, store: MilvusStore, verb: str, arguments: dict[str, Any]) -> None:
        case = {"case": f"approval {next(_numbers)}"}
        self.view: ScopedMilvusStore = store.scoped(case, scoped_ids=True)
        self.kit: MilvusToolkit = toolkit(self.view, filter_fields=FIELDS, nested_filters=True)
        self._tool = f"milvus_{verb}"
        middleware: Any = HumanInTheLoopMiddleware(interrupt_on=self.kit.interrupt_on())
        self._agent: Any = create_agent(
            ScriptedModel.saying([calls(self._tool, **arguments)], "Done."),
            self.kit.get_tools(),
            middleware=[middleware],
            checkpointer=InMemorySaver(),
        )

    def start(self) -> str:
        """Run it until the human is asked, and return the question."""
        state = self._agent.invoke(QUESTION, THREAD)
        return str(state["__interrupt__"][0].value["action_requests"][0]["description"])

    def question_of(self, arguments: dict[str, Any]) -> str:
        """Return what the human would be asked of other arguments."""
        description = self.kit.interrupt_on()[self._tool]["description"]
        return str(description({"args": arguments}, None, None))

    def decide(self, edited: dict[str, Any] | None) -> ToolMessage:
        """Approve the call, or another one in its place, and return what the tool answers."""
        decision: dict[str, Any] = {"type": "approve"}
        if edited is not None:
            decision = {"type": "edit", "edited_action": {"name": self._tool, "args": edited}}
        state = self._agent.invoke(Command(resume={"decisions": [decision]}), THREAD)
        return told(state["messages"])[-1]

    def given(self, edited: dict[str, Any] | None) -> tuple[str, ToolMessage]:
        """Approve the call, or another one in its place; return the question and the answer."""
        asked = self.start()
        question = asked if edited is None else self.question_of(edited)
        return question, self.decide(edited)

    def left(self) -> dict[str, Document]:
        """Return the Documents that are there, by id."""
        found = self.view.search_by_metadata(limit=100, consistency_level="Strong")
        return {str(one.id): one for one in found}


def for_calls(
    arguments: st.SearchStrategy[dict[str, Any]], count: int
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Give a check that many calls, and what a human makes of each: another one, or nothing."""
    given_ = given(called=arguments, edited=st.none() | arguments)
    steady = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    return lambda check: steady(given_(check))


@pytest.mark.parametrize("count", COUNTS)
def test_r01_what_is_approved_is_what_is_deleted(shared: MilvusStore, count: int) -> None:
    """The question's words, read by their meaning, name exactly the rows that are gone then."""
    rows = {str(number): row for number, row in enumerate(ROWS)}

    @for_calls(deletes, count)
    def check(called: dict[str, Any], edited: dict[str, Any] | None) -> None:
        approval = Approval(shared, "delete", called)
        approval.view.add_texts(["text"] * len(rows), list(rows.values()), ids=list(rows))
        question, answer = approval.given(edited)
        gone = rows.keys() - approval.left().keys()
        if is_refusal(question) or answer.status == "error":
            assert (answer.status, gone) == ("error", set())
            return
        approved = map_conditions(read_delete(question), with_text_ids)
        assert gone == {
            key for key, row in rows.items() if holds(approved, {**row, "id": key}, WORLD)
        }

    check()


@pytest.mark.parametrize("count", COUNTS)
def test_r01_what_is_approved_is_what_is_written(shared: MilvusStore, count: int) -> None:
    """The question shows the ids, texts and metadata that are there then, and no others."""

    @for_calls(upserts, count)
    def check(called: dict[str, Any], edited: dict[str, Any] | None) -> None:
        approval = Approval(shared, "upsert", called)
        question, answer = approval.given(edited)
        left = approval.left()
        if is_refusal(question) or answer.status == "error":
            assert (answer.status, left) == ("error", {})
            return
        approved = read_upsert(question)
        assert len(approved) == len(left)
        new = [one for key, one in left.items() if key not in {id_ for id_, _, _ in approved}]
        for id_, text, metadata in approved:
            written = left[id_] if id_ is not None else _take(new, text, metadata)
            assert _content(written) == (text, _without_nulls(metadata))

    check()


def _take(documents: list[Document], text: str, metadata: dict[str, Any]) -> Document:
    """Take a Document with that content out of those whose ids are new."""
    contents = list(map(_content, documents))
    return documents.pop(contents.index((text, _without_nulls(metadata))))


def _content(document: Document) -> tuple[str, dict[str, Any]]:
    metadata = {name: value for name, value in document.metadata.items() if name != "case"}
    return document.page_content, _without_nulls(metadata)


def _without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value is not None}
