"""Agents that ask a human before they write: what is asked, and what each decision does."""

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolCall
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from tests.helpers.agents import KITE, OWL, SWIFT, Birds, ScriptedModel, calls, told
from tests.helpers.support import ON_LITE
from tests.helpers.tools import toolkit

BOTH_FACES = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
QUESTION = {"messages": [{"role": "user", "content": "Clear up, please."}]}
THREAD: Any = {"configurable": {"thread_id": "1"}}
APPROVE = {"type": "approve"}
REJECT = {"type": "reject", "message": "Keep them."}


class Run:
    """An agent's run that a human follows.

    Args:
        birds: What the tools work on.
        tool_calls: What the model calls, in one message, before it is done.
        sync: Whether to run it without await.
        mode: How the middleware asks: all at once, or `per_call`.
        settings: The toolkit's.
    """

    def __init__(
        self,
        birds: Birds,
        *tool_calls: ToolCall,
        sync: bool = False,
        mode: Any = "batched",
        **settings: Any,
    ) -> None:
        kit = toolkit(birds.store, **settings)
        self.model = ScriptedModel.saying(tool_calls, "Done.")
        self._sync = sync
        self._agent: Any = create_agent(
            self.model,
            kit.get_tools(),
            middleware=[
                HumanInTheLoopMiddleware(interrupt_on=kit.interrupt_on(), interrupt_mode=mode)
            ],
            checkpointer=InMemorySaver(),
        )

    async def start(self) -> Any:
        """Ask the agent, and return what the human is asked, if anything."""
        return await self._go_on(QUESTION)

    async def decide(self, *decisions: Any) -> Any:
        """Answer the human's part, and return what tools have told the model in the end."""
        return await self._go_on(Command(resume={"decisions": list(decisions)}))

    async def answer(self, decision: Any) -> Any:
        """Answer the one question that was asked for a call of its own."""
        return await self._go_on(Command(resume=decision))

    async def _go_on(self, given: Any) -> Any:
        agent = self._agent
        state = agent.invoke(given, THREAD) if self._sync else await agent.ainvoke(given, THREAD)
        asked = state.get("__interrupt__")
        return asked[0].value if asked else told(state["messages"])


def questions(asked: Any) -> list[str]:
    """Return what the human reads."""
    return [request["description"] for request in asked["action_requests"]]


def edited(**arguments: Any) -> dict[str, Any]:
    """Return the decision to delete something else."""
    action = {"name": "milvus_delete", "args": arguments}
    return {"type": "edit", "edited_action": action}


def two_of(birds: Birds) -> ToolCall:
    """Return a call that deletes two of three Documents."""
    return calls("milvus_delete", ids=[birds.kite, birds.owl])


@BOTH_FACES
async def test_nothing_is_deleted_before_and_after_a_rejection(birds: Birds, sync: bool) -> None:
    """The run stops with a question; the model hears that the human said no, and why."""
    run = Run(birds, two_of(birds), sync=sync)
    asked = await run.start()
    (question,) = questions(asked)
    assert question == (
        f'Delete where id is one of "{birds.kite}", "{birds.owl}", '
        f"in the collection {birds.store.collection_name}?"
    )
    decisions = ["approve", "edit", "reject", "respond"]
    assert asked["review_configs"] == [
        {"action_name": "milvus_delete", "allowed_decisions": decisions}
    ]
    assert await birds.left() == [KITE, OWL, SWIFT]

    (answer,) = await run.decide(REJECT)
    assert answer.status == "error"
    assert "Keep them." in answer.content
    assert await birds.left() == [KITE, OWL, SWIFT]


@BOTH_FACES
async def test_an_approved_delete_happens(birds: Birds, sync: bool) -> None:
    """The rows that the question names are the rows that are deleted."""
    run = Run(birds, two_of(birds), sync=sync)
    await run.start()
    (answer,) = await run.decide(APPROVE)
    assert sorted(answer.artifact.pop("ids")) == sorted([birds.kite, birds.owl])
    assert answer.artifact == {"deleted": 2, "dry_run": False}
    assert await birds.left() == [SWIFT]


@BOTH_FACES
async def test_an_edited_delete_deletes_what_the_human_wrote(birds: Birds, sync: bool) -> None:
    """Only the edited ids are deleted, and the answer names them alone."""
    run = Run(birds, two_of(birds), sync=sync)
    await run.start()
    (answer,) = await run.decide(edited(ids=[birds.owl]))
    assert answer.artifact["ids"] == [birds.owl]
    assert f'Deleted 1 document: "{birds.owl}".' in answer.content
    assert await birds.left() == [KITE, SWIFT]


@BOTH_FACES
async def test_r42_a_response_takes_the_place_of_the_delete(birds: Birds, sync: bool) -> None:
    """Nothing is deleted, and the model reads the human's words as the tool's answer."""
    run = Run(birds, two_of(birds), sync=sync)
    await run.start()
    (answer,) = await run.decide({"type": "respond", "message": "They are archived already."})
    assert (answer.status, answer.content) == ("success", "They are archived already.")
    assert await birds.left() == [KITE, OWL, SWIFT]


async def test_an_edit_is_checked_as_a_model_s_call_is(birds: Birds) -> None:
    """A human's slip deletes nothing: neither without a condition nor with one that is wrong."""
    for slip in ({}, {"ids": "all"}, {"filters": [{"field": "yaer", "operator": "eq"}]}):
        run = Run(birds, two_of(birds))
        await run.start()
        (answer,) = await run.decide(edited(**slip))
        assert answer.status == "error", answer
        assert await birds.left() == [KITE, OWL, SWIFT]


async def test_each_of_several_writes_is_asked_for_and_reads_are_not(birds: Birds) -> None:
    """One may be approved and the other rejected; the search between them needs no approval."""
    new = {"text": "Herons wait.", "metadata": {"year": 2020}}
    run = Run(
        birds,
        calls("milvus_upsert", documents=[new]),
        calls("milvus_search", query=OWL, k=1),
        two_of(birds),
    )
    upsert, delete = questions(await run.start())
    assert upsert == (
        f"Write 1 document to the collection {birds.store.collection_name}?\n"
        '- a new id: text "Herons wait.", metadata {"year": 2020}'
    )
    assert delete.startswith("Delete where id is one of")
    assert await birds.left() == [KITE, OWL, SWIFT]

    answers = await run.decide(APPROVE, REJECT)
    assert sorted(answer.status for answer in answers) == ["error", "success", "success"]
    assert await birds.left() == sorted(["Herons wait.", KITE, OWL, SWIFT])


async def test_calls_can_be_asked_for_one_by_one(birds: Birds) -> None:
    """The middleware's other way to ask takes the same settings, and reads the tool's schema."""
    run = Run(birds, two_of(birds), mode="per_call")
    asked = await run.start()
    assert asked["description"].startswith(f'Delete where id is one of "{birds.kite}", ')
    (answer,) = await run.answer(edited(ids=[birds.kite]))
    assert answer.artifact["ids"] == [birds.kite]
    assert await birds.left() == [OWL, SWIFT]


BEFORE = {"field": "year", "operator": "lt", "value": 2000}
LYING = 'in the collection "test"? It is harmless.\nReally'
ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "ids": ({"ids": ["a", "b"]}, 'Delete where id is one of "a", "b"'),
    "filters": ({"filters": [BEFORE]}, "Delete where year is less than 2000"),
    "both": (
        {"ids": ["a"], "filters": [BEFORE, {"field": "title", "operator": "exists"}]},
        'Delete where year is less than 2000 and title is there and id is one of "a"',
    ),
    "expression": ({"expr": "year < 2000"}, "Delete where year < 2000"),
    "expression of several lines": (
        {"expr": "year ==\n\n2000"},
        "Delete where year ==\\n\\n2000",
    ),
    "expression and ids": (
        {"expr": "year < 2000 or year > 2020", "ids": ["a"]},
        'Delete where id is one of "a" and (year < 2000 or year > 2020)',
    ),
    "null": (
        {"filters": [{"field": "year", "operator": "exists", "value": None}]},
        "Delete where year is there",
    ),
    "a word for a flag": (
        {"filters": [BEFORE], "dry_run": "yes"},
        "Show what would be deleted where year is less than 2000",
    ),
    "dry run": (
        {"filters": [BEFORE], "dry_run": True},
        "Show what would be deleted where year is less than 2000",
    ),
    "a lie": (
        {"filters": [{"field": LYING, "operator": "eq", "value": LYING}]},
        f"Delete where {json.dumps(LYING)} is {json.dumps(LYING)}",
    ),
}


@ON_LITE
@pytest.mark.parametrize("case", ASKED)
async def test_the_question_says_what_will_happen(birds: Birds, case: str) -> None:
    """A human reads sentences: the condition, the collection, and no text that poses as them."""
    arguments, said = ASKED[case]
    run = Run(birds, calls("milvus_delete", **arguments), allow_raw_filter=True)
    (question,) = questions(await run.start())
    assert question == f"{said}, in the collection {birds.store.collection_name}?"


REFUSED: dict[str, dict[str, Any]] = {
    "no condition": {},
    "no condition but a dry run": {"dry_run": True},
    "no list": {"filters": {"anything": 1}},
    "an unknown operator": {"filters": [{"field": "year", "operator": "before", "value": 1}]},
    "no value": {"filters": [{"field": "year", "operator": "lt", "value": None}]},
    "an unknown argument": {"ids": ["a"], "where": "year < 2000"},
    "an expression that ends too early": {"expr": "year < 2000) or (year > 0"},
    "a line break in a string": {"expr": 'title == "\n\nIt is harmless."'},
}


@ON_LITE
@pytest.mark.parametrize("case", REFUSED)
async def test_the_question_says_what_will_be_refused(birds: Birds, case: str) -> None:
    """Where the tool would refuse the arguments, a human reads that, and why."""
    run = Run(birds, calls("milvus_delete", **REFUSED[case]), allow_raw_filter=True)
    (question,) = questions(await run.start())
    assert question.startswith("Nothing would happen: the call will be refused. ")
    (answer,) = await run.decide(APPROVE)
    assert answer.status == "error"
    assert await birds.left() == [KITE, OWL, SWIFT]
