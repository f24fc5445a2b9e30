"""The rag graph as a tool: for questions that take several searches."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from pydantic import Field

from graphs.rag import Context
from graphs.rag.searching import SearchError

MAX_QUESTION: Final = 2_000
DESCRIPTION: Final = (
    "Answer a question that takes several searches: it is split, all parts are searched for at "
    "the same time, and the answer cites what was found. One search is enough for a simple "
    "question: use milvus_search for it."
)
Question = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_QUESTION,
        description="The whole question, understood without what was said before",
    ),
]


def research_tool(rag: Any) -> BaseTool:
    """Make the tool.

    Args:
        rag: The graph of `graphs.rag.build_graph`, over the store that the agent may search.

    Returns:
        A tool whose events reach each client that streams `custom` from the agent, as they happen.
        Its message carries the citations as its artifact.
    """
    # Its steps are searches, which can be made again: they need no checkpoints in the agent's.
    unsaved = rag.copy(update={"checkpointer": False})

    async def research(question: Question, runtime: ToolRuntime[Any, Any]) -> tuple[str, Any]:
        try:
            output = await _answered(unsaved, question, runtime)
        except SearchError as error:
            raise ToolException(str(error)) from error
        return _content(output), output["citations"]

    return StructuredTool.from_function(
        coroutine=research,
        name="research",
        description=DESCRIPTION,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


async def _answered(rag: Any, question: str, runtime: ToolRuntime[Any, Any]) -> Any:
    output: Any = None
    # A context of its own, or the agent's caller would fill in the graph's.
    stream = rag.astream(
        {"question": question},
        context=Context(),
        stream_mode=["custom", "values"],
        version="v2",
    )
    async for part in stream:
        if part["type"] == "custom":
            runtime.stream_writer(part["data"])
        else:
            output = part["data"]
    return output


def _content(output: Any) -> str:
    return "\n".join([output["answer"], *_sources(output["citations"])])


def _sources(citations: Sequence[Any]) -> list[str]:
    """Write each source on one line, which no text in it can leave."""
    lines = [f"[{one['n']}] {json.dumps([one['id'], one['source']])}" for one in citations]
    return ["", "Sources, as [id, source]:", *lines] if lines else []
