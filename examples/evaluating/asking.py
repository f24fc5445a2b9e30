"""A run of the graph, with the passages that it answers from."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from graphs.rag.graph import RagGraph
from graphs.rag.state import Passage


async def asked(graph: RagGraph, question: str) -> tuple[dict[str, Any], Mapping[str, Passage]]:
    """Ask the graph a question.

    Returns:
        Its output, and the passages that the answer is made from, by id, best first.
    """
    output: dict[str, Any] = {}
    passages: Mapping[str, Passage] = {}
    modes: Any = ["updates", "values"]  # with several, each part is a mode and its data
    run: AsyncIterator[Any] = graph.astream({"question": question}, stream_mode=modes)
    async for mode, data in run:
        if mode == "values":
            output = data
        else:
            # Each round ranks anew; the last ranking is the one that counts.
            passages = data.get("merge", {}).get("passages", passages)
    return output, passages
