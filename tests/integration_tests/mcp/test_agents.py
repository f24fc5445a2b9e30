"""An agent that has the tools by LangChain's adapters, over both transports."""

import contextlib
import json
import os
import pathlib
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_mcp_adapters.sessions import Connection, create_session
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession

from milvus_tools import MilvusStore
from tests.helpers.agents import ScriptedModel, calls, told
from tests.helpers.mcp_clients import ROOT, served

TOKEN = "t" * 16


def configured(folder: pathlib.Path) -> Connection:
    """Return the connection that the README's block describes, in a folder of the test's own."""
    page = (ROOT / "README.md").read_text(encoding="utf-8").replace("/home/ann", str(folder))
    block = re.search(r"<!-- mcp client -->\n```json\n(.*?)```", page, re.DOTALL)
    assert block is not None
    server: dict[str, Any] = json.loads(block[1])["mcpServers"]["notes"]
    outside = {"PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    python = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    variables = outside | python | {"MILVUS_TOOLS_ALLOW_WRITES": "true"}
    return {
        "transport": "stdio",
        "command": server["command"],
        "args": server["args"],
        "env": variables,
        "cwd": str(folder),
    }


def require_only_the_file(folder: pathlib.Path) -> None:
    """Demand that the server has written where its client said, and nowhere else."""
    assert [path.name for path in folder.iterdir()] == ["notes.db"]


@contextlib.asynccontextmanager
async def over_stdio(folder: pathlib.Path, _: MilvusStore) -> AsyncIterator[ClientSession]:
    """Open a session with the command of the README."""
    async with create_session(configured(folder)) as session:
        yield session
    require_only_the_file(folder)


@contextlib.asynccontextmanager
async def over_http(_: pathlib.Path, store: MilvusStore) -> AsyncIterator[ClientSession]:
    """Open a session by HTTP, with a token."""
    tokens = {TOKEN: {"tenant": "acme"}}
    async with served(store, tokens=tokens, allow_writes=True, allow_dynamic=True) as url:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connection: Connection = {"transport": "streamable_http", "url": url, "headers": headers}
        async with create_session(connection) as session:
            yield session


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
@pytest.mark.parametrize("connect", [over_stdio, over_http])
async def test_an_agent_works_with_the_tools(
    connect: Any, store: MilvusStore, tmp_path: pathlib.Path
) -> None:
    """It lists and calls them; structured content and errors arrive."""
    owl = {"id": "owl", "text": "Owls hunt at night.", "metadata": '{"year": 2003}'}
    late = {"field": "year", "operator": "gt", "value": 2000}
    model = ScriptedModel.saying(
        [calls("milvus_upsert", documents=[owl])],
        [calls("milvus_search", query="owls", filters=[late])],
        [calls("milvus_search", query="owls", top_k=1)],
        "At night.",
    )
    async with connect(tmp_path, store) as session:
        await session.initialize()
        agent: Any = create_agent(model, tools=await load_mcp_tools(session))
        ended = await agent.ainvoke({"messages": [("user", "When do owls hunt?")]})
    assert [one["function"]["name"] for one in model.bound] == [
        "milvus_search",
        "milvus_search_by_metadata",
        "milvus_upsert",
        "milvus_delete",
    ]
    wrote, found, refused = told(ended["messages"])
    assert content_of(wrote) == {"new": ["owl"], "replaced": [], "left_out": 0}
    (document,) = content_of(found)["documents"]
    assert document["text"] == "Owls hunt at night."
    assert document["metadata"] == {"year": 2003}
    assert "<document" in found.text
    assert refused.status == "error"
    assert "unknown name 'top_k'" in refused.text
    assert ended["messages"][-1].text == "At night."


def content_of(message: ToolMessage) -> dict[str, Any]:
    """Return the structured content of a tool's answer."""
    assert message.status == "success", message.text
    content: dict[str, Any] = message.artifact["structured_content"]
    return content
