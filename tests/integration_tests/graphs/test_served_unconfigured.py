"""`langgraph dev` serves our `langgraph.json` with nothing set, and with another `Auth`."""

import ast
import json
import re
import types
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from tests.helpers.langgraph_dev import ROOT, DevServer

CONFIG: dict[str, Any] = json.loads((ROOT / "langgraph.json").read_text())
PAGE = (ROOT / "graphs" / "README.md").read_text(encoding="utf-8")
INPUTS: dict[str, Any] = {
    "rag": {"question": "Who directed Maximum Overdrive?"},
    "agent": {"messages": [{"role": "user", "content": "Hello."}]},
    "index": {"documents": [{"page_content": "Herons wait."}]},
}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The server as it is after a clone."""
    with DevServer(tmp_path_factory.mktemp("open"), CONFIG).running() as server:
        yield server


@pytest.fixture(scope="module")
def foreign_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The server with an `Auth` whose users have no `tenant`, and with a model and writes."""
    config = {**CONFIG, "auth": {"path": "./tests/helpers/served_auth.py:auth"}}
    with DevServer(tmp_path_factory.mktemp("foreign"), config).running(
        MILVUS_TOOLS_URI="./own.db",
        MILVUS_TOOLS_MODEL="openai:scripted",
        MILVUS_TOOLS_ALLOW_WRITES="true",
        OPENAI_API_KEY="sk-test",
    ) as server:
        yield server


async def outcome(server: DevServer, graph: str, **headers: str) -> Any:
    """Run a graph, and return its last part: the state, or the error."""
    async with get_client(url=server.url, headers=headers) as client:
        stream = client.runs.stream(None, graph, input=INPUTS[graph])
        return [part.data async for part in stream][-1]


@pytest.mark.parametrize("headers", [{}, {"x-auth-scheme": "langsmith"}])
async def test_rag_answers_by_rule_from_the_wikipedia_paragraphs(
    open_server: DevServer, headers: dict[str, str]
) -> None:
    """For a client without a token, and for Studio."""
    output = await outcome(open_server, "rag", **headers)
    assert output["answered_by"] == "rule"
    assert "p0030" in {one["id"] for one in output["citations"]}


async def test_an_agent_without_a_model_names_the_variable(open_server: DevServer) -> None:
    """The client reads which one to set, and to what."""
    assert (await outcome(open_server, "agent"))["message"] == (
        "Set MILVUS_TOOLS_MODEL to a chat model: provider:model, such as openai:gpt-5-mini."
    )


async def test_index_writes_nothing_unless_it_is_allowed(open_server: DevServer) -> None:
    """The client reads which variable forbids it."""
    assert (await outcome(open_server, "index"))["message"] == (
        "Nothing is written: MILVUS_TOOLS_ALLOW_WRITES is not true."
    )


async def test_the_graphs_can_be_read_though_nothing_is_configured(
    open_server: DevServer,
) -> None:
    """Their schemas and their pictures, as Studio shows them; nothing blocks the loop."""
    async with get_client(url=open_server.url) as client:
        assistants = await client.assistants.search()
        assert {one["graph_id"] for one in assistants} == INPUTS.keys()
        for one in assistants:
            schemas: Any = await client.assistants.get_schemas(one["assistant_id"])
            assert INPUTS[one["graph_id"]].keys() <= schemas["input_schema"]["properties"].keys()
            assert (await client.assistants.get_graph(one["assistant_id"]))["nodes"]
    assert "BlockingError" not in open_server.log


async def test_the_page_s_client_chats_with_rag(
    open_server: DevServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block runs on the server's address; the follow-up has a name of the first answer."""
    (block,) = re.findall(r"<!-- chat over the SDK -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert "http://localhost:2024" in block
    block = block.replace("http://localhost:2024", open_server.url)
    code = compile(block, "graphs/README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await types.FunctionType(code, {})()
    printed = capsys.readouterr().out
    assert printed.startswith("Which films were shot around Leland, North Carolina?\n")
    (follow_up,) = re.findall(r"^.*who directed them\?$", printed, re.MULTILINE)
    assert follow_up.startswith("Leland, North Carolina, ")
    assert "directed by Stephen King" in printed.partition(follow_up)[2]


@pytest.mark.parametrize("graph", INPUTS)
@pytest.mark.parametrize("user", ["nil", "eve", "ann", "studio"])
async def test_r08_a_served_user_without_a_tenant_is_refused(
    foreign_server: DevServer, graph: str, user: str
) -> None:
    """Though no users are named: who was authenticated must have one, and Studio's user, too."""
    bearer = {"Authorization": f"Bearer {user}"}
    headers = {"x-auth-scheme": "langsmith"} if user == "studio" else bearer
    assert await outcome(foreign_server, graph, **headers) == {
        "error": "TenantError",
        "message": "The user has no tenant, so nothing may be read or written.",
    }


def test_a_server_with_wrong_users_does_not_start(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says what is wrong with them, without a token."""
    monkeypatch.setattr("tests.helpers.langgraph_dev.START_SECONDS", 30)
    server = DevServer(tmp_path, CONFIG)
    users = json.dumps({"ann": {"token": "short"}})
    with (
        pytest.raises(pytest.fail.Exception, match="langgraph dev did not start"),
        server.running(MILVUS_TOOLS_USERS=users),
    ):
        raise AssertionError("It runs.")
    assert "MILVUS_TOOLS_USERS is wrong: ann.token: Value should have at least 16" in server.log
    assert '"short"' not in server.log
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
