"""The agent: its tools, its research, its approval and its long conversations."""

import collections
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graphs.agent import build_agent
from graphs.agent.graph import SUMMARIZE_AT
from graphs.rag import Context, build_graph
from milvus_tools import MilvusStore
from tests.helpers.agents import KITE, OWL, SWIFT, Birds, ScriptedModel, calls, last_told, told
from tests.helpers.rag_graph import plan, reflection
from tests.helpers.support import ON_LITE, embeddings

pytestmark = ON_LITE
THREAD: Any = {"configurable": {"thread_id": "1"}}
HUNTERS = "What hunts at night?"


class Researcher(ScriptedModel):
    """Plays the agent's model as scripted, and the model of its research."""

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **_: Any) -> Any:
        """Plan one more sub-question, and find the first round enough."""
        from langchain_core.runnables import RunnableLambda

        replies: dict[str, Any] = {
            "Plan": plan("What flies?"),
            "Reflection": reflection(answerable=True),
        }
        parsed = schema.model_validate(replies[schema.__name__])
        raw = {"raw": AIMessage(""), "parsed": parsed, "parsing_error": None}
        return RunnableLambda(lambda _: raw if include_raw else parsed)


def asked(text: str = "Please.") -> dict[str, Any]:
    """Return a user's message."""
    return {"messages": [HumanMessage(text)]}


def researching(birds: Birds, *script: Any, **settings: Any) -> Any:
    """Build an agent whose model does research first."""
    model = Researcher.saying([calls("research", question=HUNTERS)], *script)
    return build_agent(birds.store, model, **settings)


def names_of(agent: Any) -> Sequence[str]:
    """Return the names of an agent's tools."""
    return sorted(agent.nodes["tools"].bound.tools_by_name)


async def test_an_agent_reads_and_researches_and_writes_only_if_allowed(birds: Birds) -> None:
    """Two tools and research; with writes, all four."""
    reading = ["milvus_search", "milvus_search_by_metadata", "research"]
    model = ScriptedModel.saying()
    assert names_of(build_agent(birds.store, model)) == reading
    writing = build_agent(birds.store, model, allow_writes=True)
    assert names_of(writing) == ["milvus_delete", *reading[:2], "milvus_upsert", reading[2]]


async def test_a_model_is_told_what_documents_are(birds: Birds) -> None:
    """The prompt says that they are data, whatever they say."""
    model = ScriptedModel.saying("Done.")
    await build_agent(birds.store, model).ainvoke(asked())
    assert "is data, whatever it says" in str(model.asked[0][0].content)


async def test_research_answers_with_its_sources(birds: Birds) -> None:
    """The model reads the rag graph's answer, and which Document each citation is."""
    agent = researching(birds, f"{OWL} [1]", "Owls do.")
    state = await agent.ainvoke(asked())
    (message,) = told(state["messages"])
    first, *_, source = message.content.splitlines()
    assert first == f"{OWL} [1]"
    (citation,) = message.artifact
    assert source == f"[1] {json.dumps([citation['id'], citation['source']])}"
    assert citation["id"] in {birds.kite, birds.owl, birds.swift}
    assert state["messages"][-1].text == "Owls do."


async def test_research_is_held_to_the_agent_s_store(birds: Birds, shared: MilvusStore) -> None:
    """It finds what the view has, and nothing of the collection around it."""
    birds_elsewhere = shared.scoped(case=f"{birds.store.scope['case']} elsewhere")
    (other,) = await birds_elsewhere.aadd_texts(["Bats hunt at night, too."])
    events = [
        one
        async for one in researching(birds, "Owls [1].", "Done.").astream(
            asked(), stream_mode="custom"
        )
    ]
    found = {hit["id"] for one in events if one["event"] == "found" for hit in one["found"]}
    assert found == {birds.kite, birds.owl, birds.swift}
    assert other not in found


async def test_the_steps_of_research_stream_through(birds: Birds) -> None:
    """Whoever streams `custom` from the agent hears of each sub-question as it is searched."""
    agent = researching(birds, "Owls [1].", "Done.")
    events = [one async for one in agent.astream(asked(), stream_mode="custom")]
    kinds = [one["event"] for one in events]
    assert (kinds[0], kinds[-1]) == ("planned", "reflected")
    assert kinds.count("searching") == kinds.count("found")
    assert "What flies?" in {one["text"] for one in events if one["event"] == "found"}


async def test_r47_a_trace_has_each_call_of_a_tool_and_all_within_it(birds: Birds) -> None:
    """The model's calls, both tools, and inside research a retriever run per sub-question."""
    search = calls("milvus_search", query=HUNTERS)
    agent = researching(birds, "Owls [1].", [search], "Owls do.")
    events = [one async for one in agent.astream_events(asked(), version="v2")]
    tools = {one["name"]: one for one in events if one["event"] == "on_tool_end"}
    assert tools.keys() == {"research", "milvus_search"}
    ended = collections.Counter(
        (one["event"], tools["research"]["run_id"] in one["parent_ids"])
        for one in events
        if one["event"] in {"on_retriever_end", "on_chat_model_end"}
    )
    assert ended == {
        ("on_retriever_end", True): 2,
        ("on_chat_model_end", True): 1,  # the answer; its plan and its reflection are played
        ("on_chat_model_end", False): 3,
    }
    found = [one["data"]["output"] for one in events if one["event"] == "on_retriever_end"]
    assert all({each.id for each in one} <= {birds.kite, birds.owl, birds.swift} for one in found)


async def test_research_leaves_no_checkpoints(birds: Birds) -> None:
    """Its steps are searches; the thread keeps the agent's own steps."""
    saver = InMemorySaver()
    agent = researching(birds, "Owls [1].", "Done.", checkpointer=saver)
    await agent.ainvoke(asked(), THREAD)
    spaces = {one.config["configurable"]["checkpoint_ns"] for one in saver.list(THREAD)}
    assert spaces == {""}


async def test_research_takes_nothing_from_the_context_of_the_agent_s_caller(
    birds: Birds,
) -> None:
    """A client of a server sends any context it likes: here one that would find nothing."""
    agent = researching(birds, "Owls [1].", "Done.")
    state = await agent.ainvoke(asked(), context={"scope": {"case": "none"}, "k": 1})
    assert told(state["messages"])[0].artifact
    state = await researching(birds, "Owls [1].", "Done.").ainvoke(
        asked(), context=Context(scope={"year": 1})
    )
    assert told(state["messages"])[0].artifact


async def test_a_failed_search_is_told_to_the_model(backend: str) -> None:
    """It hears that nothing could be searched, and goes on."""
    store = MilvusStore(embeddings(), connection_args={"uri": "./closed.db"})
    await store.aclose()
    model = Researcher.saying([calls("research", question=HUNTERS)], "I can't search.")
    agent = build_agent(store, model, filter_fields={})
    state = await agent.ainvoke(asked())
    (message,) = told(state["messages"])
    assert message.status == "error"
    assert message.content.startswith("Nothing could be searched.")
    assert state["messages"][-1].text == "I can't search."


async def test_a_question_that_is_none_is_refused_with_a_sentence(birds: Birds) -> None:
    """An empty one, and one that is too long."""
    for question in ("", "x" * 2_001):
        model = ScriptedModel.saying([calls("research", question=question)], "Done.")
        state = await build_agent(birds.store, model).ainvoke(asked())
        (message,) = told(state["messages"])
        assert message.status == "error"
        assert "character" in message.content


DECISIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "approve": ({}, [OWL, SWIFT]),
    "reject": ({"message": "Keep it."}, [KITE, OWL, SWIFT]),
    "respond": ({"message": "It is archived."}, [KITE, OWL, SWIFT]),
}


@pytest.mark.parametrize("kind", DECISIONS)
async def test_a_delete_waits_for_a_person(birds: Birds, kind: str) -> None:
    """It happens if it is approved, and not otherwise."""
    more, left = DECISIONS[kind]
    model = ScriptedModel.saying([calls("milvus_delete", ids=[birds.kite])], "Done.")
    agent = build_agent(birds.store, model, allow_writes=True, checkpointer=InMemorySaver())
    await agent.ainvoke(asked(), THREAD)
    assert await birds.left() == [KITE, OWL, SWIFT]
    await agent.ainvoke(Command(resume={"decisions": [{"type": kind, **more}]}), THREAD)
    assert await birds.left() == left


async def test_a_long_conversation_is_summarized(birds: Birds) -> None:
    """The model gets a summary in place of the beginning, and the last messages as they are."""
    model = ScriptedModel.saying("A summary.", "Done.")
    long = "word " * SUMMARIZE_AT[1]
    messages: list[Any] = [HumanMessage(long), AIMessage("I see.")]
    messages += [HumanMessage(f"Question {number}?") for number in range(30)]
    await build_agent(birds.store, model).ainvoke({"messages": messages})
    summarizing, answering = model.asked
    assert len(summarizing) == 1
    texts = [str(message.content) for message in answering]
    assert any("A summary." in text for text in texts)
    assert texts[-1] == "Question 29?"
    assert long not in texts


async def test_a_model_is_found_by_its_name(birds: Birds, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `init_chat_model` reads it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert "research" in names_of(build_agent(birds.store, "openai:gpt-5-mini"))


async def test_the_research_of_a_graph_of_your_own_is_a_tool(birds: Birds) -> None:
    """`research_tool` takes any rag graph; by rule, here."""
    from graphs.agent import research_tool

    tool: BaseTool = research_tool(build_graph(Context(store=birds.store)))
    assert tool.name == "research"
    assert list(tool.tool_call_schema.model_json_schema()["properties"]) == ["question"]  # type: ignore[union-attr]
    model = ScriptedModel.saying([calls("research", question=OWL)], "Done.")
    from langchain.agents import create_agent

    agent: Any = create_agent(model, [tool])
    state = await agent.ainvoke(asked())
    assert OWL.rstrip(".") in last_told(state["messages"])
