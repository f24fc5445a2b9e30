"""The tools without `create_agent`: in a graph with `ToolNode`, and in a loop written by hand."""

import dataclasses
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.helpers.agents import KITE, OWL, SWIFT, Birds, Reply, ScriptedModel, calls, told
from tests.helpers.support import texts
from tests.helpers.tools import toolkit

BOTH_FACES = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
MISSPELT = {"field": "yaer", "operator": "gte", "value": 2000}


@dataclasses.dataclass(frozen=True)
class User:
    """Who runs the graph."""

    case: str


def graph_of(birds: Birds, model: ScriptedModel, **settings: Any) -> Any:
    """Compile the graph that many write: a model, a `ToolNode`, and back."""
    tools = toolkit(birds.store, **settings).get_tools()
    bound = model.bind_tools(tools)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph = StateGraph(MessagesState, context_schema=User)
    graph.add_node("model", ask)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


async def run(graph: Any, *, sync: bool, context: Any = None) -> list[BaseMessage]:
    """Run a graph, and return the messages."""
    given = {"messages": [HumanMessage("What do you know of birds?")]}
    if sync:
        state = graph.invoke(given, context=context)
    else:
        state = await graph.ainvoke(given, context=context)
    messages: list[BaseMessage] = state["messages"]
    return messages


@BOTH_FACES
async def test_a_tool_node_runs_the_tools(birds: Birds, sync: bool) -> None:
    """Several calls of a message, a mistake that is corrected, and a write."""
    model = ScriptedModel.saying(
        [calls("milvus_search", query=OWL, k=1), calls("milvus_search", query=SWIFT, k=1)],
        [calls("milvus_delete", filters=[MISSPELT])],
        [calls("milvus_delete", filters=[{**MISSPELT, "field": "year"}])],
        "Done.",
    )
    *found, wrong, deleted = told(await run(graph_of(birds, model), sync=sync))
    assert [texts(answer.artifact) for answer in found] == [[OWL], [SWIFT]]
    assert wrong.status == "error"
    assert "Did you mean 'year'?" in wrong.content
    assert deleted.artifact["deleted"] == 2
    assert await birds.left() == [KITE]


@BOTH_FACES
async def test_a_tool_node_hands_on_the_context(birds: Birds, sync: bool) -> None:
    """The graph's context is the tools' scope, whatever the model says of it."""
    spoofed = {"context": {"case": "another"}}
    for context, status in ((User("mine"), "success"), (None, "error")):
        model = ScriptedModel.saying(
            [calls("milvus_upsert", documents=[{"text": "Herons wait."}], runtime=spoofed)],
            "Done.",
        )
        graph = graph_of(birds, model, scope_from={"owner": "case"})
        (answer,) = told(await run(graph, sync=sync, context=context))
        assert answer.status == status
    found = await birds.store.scoped(owner="mine").asearch_by_metadata()
    assert texts(found) == ["Herons wait."]
    assert await birds.left() == sorted(["Herons wait.", KITE, OWL, SWIFT])


async def converse(model: ScriptedModel, birds: Birds, **settings: Any) -> list[Any]:
    """Do what an agent does, in a loop of ten lines."""
    tools = {tool.name: tool for tool in toolkit(birds.store, **settings).get_tools()}
    bound = model.bind_tools(list(tools.values()))
    messages: list[Any] = [HumanMessage("What do you know of birds?")]
    while True:
        reply: AIMessage = await bound.ainvoke(messages)
        messages.append(reply)
        if not reply.tool_calls:
            return messages
        messages += [await tools[call["name"]].ainvoke(call) for call in reply.tool_calls]


async def test_a_loop_by_hand_is_an_agent_too(birds: Birds) -> None:
    """Errors come back as messages there, too; nothing needs a graph."""

    def mended(messages: list[BaseMessage]) -> Reply:
        assert "Did you mean 'year'?" in str(messages[-1].content)
        return [calls("milvus_search_by_metadata", filters=[{**MISSPELT, "field": "year"}])]

    model = ScriptedModel.saying(
        [calls("milvus_search_by_metadata", filters=[MISSPELT])], mended, "Two."
    )
    messages = await converse(model, birds)
    wrong, right = told(messages)
    assert (wrong.status, right.status) == ("error", "success")
    assert sorted(texts(right.artifact)) == [OWL, SWIFT]
    assert messages[-1].content == "Two."


async def test_a_runtime_that_a_model_made_up_is_refused_by_hand(birds: Birds) -> None:
    """It is left in the arguments there, and has no effect."""
    spoofed = {"context": {"case": "another"}, "state": {}, "config": {}, "store": None}
    model = ScriptedModel.saying(
        [
            calls("milvus_search", query=OWL, runtime=spoofed),
            calls("milvus_search_by_metadata", runtime=spoofed),
            calls("milvus_upsert", documents=[{"text": "Spam"}], runtime=spoofed),
            calls("milvus_delete", ids=[birds.kite], runtime=spoofed),
        ],
        "Done.",
    )
    answers = told(await converse(model, birds, scope_from={"owner": "case"}))
    assert [answer.status for answer in answers] == ["error"] * 4
    assert all("does not say whose data" in answer.content for answer in answers)
    assert await birds.left() == [KITE, OWL, SWIFT]
