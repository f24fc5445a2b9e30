"""Toolkits, for the tests of tools."""

from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from milvus_tools import FilterField, MilvusStore, MilvusToolkit
from milvus_tools.tools.settings import AnyStore
from tests.helpers.support import embeddings

FIELDS = {"year": FilterField("integer", "year of publication"), "title": "string"}
VERBS = ("search", "search_by_metadata", "upsert", "delete")


def unopened() -> MilvusStore:
    """Return a store that no test opens."""
    return MilvusStore(embeddings(), connection_args={"uri": "./never_opened.db"})


def toolkit(store: AnyStore | None = None, **settings: Any) -> MilvusToolkit:
    """Return a toolkit with two declared fields that may write."""
    given = {"filter_fields": FIELDS, "allow_writes": True, **settings}
    return MilvusToolkit(unopened() if store is None else store, **given)


def tools_of(kit: MilvusToolkit) -> dict[str, BaseTool]:
    """Return a toolkit's tools by verb."""
    names = {kit.name(verb): verb for verb in VERBS}
    return {names[tool.name]: tool for tool in kit.get_tools()}


async def call(tool: BaseTool, **arguments: Any) -> ToolMessage:
    """Call a tool as an agent does."""
    message = await tool.ainvoke(
        {"name": tool.name, "args": arguments, "id": "1", "type": "tool_call"}
    )
    assert isinstance(message, ToolMessage)
    return message
