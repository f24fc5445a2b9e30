"""The graph: `plan → retrieve, at the same time → merge → reflect ⟲ → answer`."""

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graphs.rag.context import Context
from graphs.rag.nodes import Nodes, send
from graphs.rag.state import InputState, OutputState, State, Subquestion
from graphs.rag.wikipedia import wikipedia_store

RagGraph = CompiledStateGraph[State, Context, InputState, OutputState]


def build_graph(default: Context | None = None) -> RagGraph:
    """Build the graph; no checkpointer is compiled in.

    Args:
        default: The context of runs that bring none. A run that brings one takes from here what
            its own leaves open, and is held to this model, this scope and the numbers that are
            given here: it can lower them, not pass them.

    Returns:
        The graph, to be run with `ainvoke` or `astream`. Tokens that it streams are the model's as
        they come: the answer's citations are mended, its notes added, and thoughts between tags
        left out, in the output alone.
    """
    nodes = Nodes(default or Context(store=wikipedia_store))
    builder = StateGraph(
        State, input_schema=InputState, output_schema=OutputState, context_schema=Context
    )
    builder.add_node("plan", nodes.plan)
    builder.add_node("retrieve", nodes.retrieve, input_schema=Subquestion)
    builder.add_node("merge", nodes.merge)
    builder.add_node("reflect", nodes.reflect)
    builder.add_node("answer", nodes.answer)

    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", send, ["retrieve", "answer"])
    builder.add_edge("retrieve", "merge")
    builder.add_edge("merge", "reflect")
    builder.add_conditional_edges("reflect", send, ["retrieve", "answer"])
    builder.add_edge("answer", END)
    return builder.compile(name="rag")


graph = build_graph()
