"""What a human approves is what runs, for whatever a model calls."""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from milvus_tools import MilvusStore, MilvusToolkit, ScopedMilvusStore
from milvus_tools.filters import FieldType, Operator
from tests.helpers.agents import ScriptedModel, calls, told
from tests.helpers.filter_oracle import World, holds
from tests.helpers.questions import is_refusal, read_delete, read_upsert
from tests.helpers.support import ON_LITE
from tests.helpers.tools import toolkit

pytestmark = ON_LITE

FEW = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
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

    def left(self) -> dict[str, Document]:
        """Return the Documents that are there, by id."""
        found = self.view.search_by_metadata(limit=100, consistency_level="Strong")
        return {str(one.id): one for one in found}


@FEW
@given(called=deletes, edited=st.none() | deletes)
def test_r01_what_is_approved_is_what_is_deleted(
    shared: MilvusStore, called: dict[str, Any], edited: dict[str, Any] | None
) -> None:
    """The question's words, read by their meaning, name exactly the rows that are gone then."""
    approval = Approval(shared, "delete", called)
    rows = {str(number): row for number, row in enumerate(ROWS)}
    approval.view.add_texts(["text"] * len(rows), list(rows.values()), ids=list(rows))
    asked = approval.start()
    question = asked if edited is None else approval.question_of(edited)
    answer = approval.decide(edited)
    gone = rows.keys() - approval.left().keys()
    if is_refusal(question) or answer.status == "error":
        assert (answer.status, gone) == ("error", set())
        return
    approved = read_delete(question)
    assert gone == {key for key, row in rows.items() if holds(approved, {**row, "id": key}, WORLD)}


@FEW
@given(called=upserts, edited=st.none() | upserts)
def test_r01_what_is_approved_is_what_is_written(
    shared: MilvusStore, called: dict[str, Any], edited: dict[str, Any] | None
) -> None:
    """The question shows the ids, texts and metadata that are there then, and no others."""
    approval = Approval(shared, "upsert", called)
    asked = approval.start()
    question = asked if edited is None else approval.question_of(edited)
    answer = approval.decide(edited)
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


def _take(documents: list[Document], text: str, metadata: dict[str, Any]) -> Document:
    """Take a Document with that content out of those whose ids are new."""
    contents = list(map(_content, documents))
    return documents.pop(contents.index((text, _without_nulls(metadata))))


def _content(document: Document) -> tuple[str, dict[str, Any]]:
    metadata = {name: value for name, value in document.metadata.items() if name != "case"}
    return document.page_content, _without_nulls(metadata)


def _without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value is not None}
