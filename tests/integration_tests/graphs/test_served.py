"""`langgraph dev` serves our `langgraph.json` to two users of two tenants, on their collection.

The chat model is a service of the test's, named by the environment as any model is. What a client
can send with a run is sent here, and never says whose rows are meant.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient

from milvus_tools.tools import artifact_documents
from tests.helpers.agents import KITE, OWL, calls
from tests.helpers.forgeries import FORGERIES, asking, forged, told
from tests.helpers.langgraph_dev import ROOT, Connect, DevServer
from tests.helpers.openai_answers import Reply, ToolCall
from tests.helpers.openai_clients import KEY
from tests.helpers.openai_service import OpenAIService
from tests.helpers.rag_graph import PlayedModel, plan, reflection

CONFIG: dict[str, Any] = json.loads((ROOT / "langgraph.json").read_text())
TENANTS = {"ann": "acme", "gus": "globex"}
USERS = {
    user: {"token": f"{user} has a long token", "tenant": tenant}
    for user, tenant in TENANTS.items()
}
DOTENV = {
    "MILVUS_TOOLS_URI": "./own.db",
    "MILVUS_TOOLS_COLLECTION": "birds",
    "MILVUS_TOOLS_EMBEDDINGS": "local",
    "MILVUS_TOOLS_MODEL": "openai:scripted",
    "MILVUS_TOOLS_ALLOW_WRITES": "true",
    "MILVUS_TOOLS_USERS": json.dumps(USERS),
}
TEXTS = {"ann": KITE, "gus": OWL}
"""The one text of each user's tenant; its id is the user's name."""
OTHER = {"ann": "gus", "gus": "ann"}
FOLLOW_UP = "When does the bird hunt?"
"""A follow-up as the model makes it stand alone; it sends as much with each plan."""
EMPTY: Any = {"messages": [{"role": "user", "content": "[]"}]}

Of = Callable[[str], LangGraphClient]


class ObedientModel:
    """Makes the calls that the user's message lists as JSON, and plays the model of research."""

    def __init__(self) -> None:
        answers = PlayedModel(
            [plan("What flies?", question=FOLLOW_UP)],
            [reflection(answerable=True)],
            ["A bird does [1]."],
        )
        self._research = answers

    def __call__(self, request: Mapping[str, Any]) -> Any:
        """Reply to a request."""
        if not request.get("tools"):
            return self._research(request)
        last = request["messages"][-1]
        wanted = json.loads(last["content"]) if last["role"] == "user" else []
        tool_calls = [ToolCall(one["name"], one["args"]) for one in wanted]
        return Reply(tool_calls=tool_calls) if tool_calls else "Done."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The server, started once; each user has filled their tenant."""
    folder = tmp_path_factory.mktemp("served")
    (folder / ".env").write_text("\n".join(f"{name}='{text}'" for name, text in DOTENV.items()))
    server = DevServer(folder, CONFIG)
    with (
        OpenAIService(ObedientModel()) as service,
        server.running(
            OPENAI_BASE_URL=service.base_url,
            OPENAI_API_KEY=KEY,
            LANGGRAPH_STRICT_MSGPACK="true",
        ),
    ):
        for user, text in TEXTS.items():
            document = {"id": user, "page_content": text}
            with get_sync_client(url=server.url, headers=bearer(user)) as client:
                report: Any = client.runs.wait(None, "index", input={"documents": [document]})
            assert report == {"written": 1, "unchanged": 0, "failed": [], "ids": [user]}
        yield server


def bearer(user: str) -> dict[str, str]:
    """Return a user's header."""
    return {"Authorization": f"Bearer {USERS[user]['token']}"}


@pytest.fixture
async def connect(server: DevServer) -> AsyncIterator[Connect]:
    """Make clients that send headers."""
    async with server.connecting() as connect:
        yield connect


@pytest.fixture
def of(connect: Connect) -> Of:
    """Make the client of a user."""
    return lambda user: connect(**bearer(user))


async def run(client: LangGraphClient, graph: str, thread: Any = None, **sent: Any) -> Any:
    """Run a graph, and return the state in the end."""
    return await client.runs.wait(thread, graph, **sent)


async def indexed(client: LangGraphClient, *documents: Any) -> Any:
    """Write Documents, and return the report."""
    return await run(client, "index", input={"documents": list(documents)})


async def listed(client: LangGraphClient) -> set[str]:
    """Return the ids of all that a user can list."""
    state = await run(client, "agent", input=asking(calls("milvus_search_by_metadata", limit=50)))
    return {str(document.id) for document in artifact_documents(told(state)[0])}


def require_own_text(user: str, state: Any) -> None:
    """Demand that a search and a list found the user's text, and none of the other's."""
    answers = told(state)
    assert len(answers) == 2
    for answer in answers:
        assert answer["status"] == "success", answer
        assert TEXTS[user] in answer["content"]
        assert TEXTS[OTHER[user]] not in answer["content"]
        assert OTHER[user] not in {document.id for document in artifact_documents(answer)}


@pytest.mark.parametrize("user", OTHER)
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_r08_a_served_agent_reads_its_user_s_rows_whatever_the_client_sends(
    of: Of, user: str, forgery: str
) -> None:
    """The tenant is that of the token, with no context and with one that names the other's."""
    victim = OTHER[user]
    keys = forged(victim, {"identity": victim, "tenant": TENANTS[victim]})
    require_own_text(user, await run(of(user), "agent", **FORGERIES[forgery](keys)))


@pytest.mark.parametrize("given", ["context", "config"])
async def test_r08_no_scope_that_a_client_sends_to_rag_or_index_counts(of: Of, given: str) -> None:
    """`rag` refuses another tenant's scope, or does not see it; `index` writes into the user's."""
    keys = {"scope": {"tenant": "globex"}, "tenant": "globex"}
    sent: Any = {"context": keys} if given == "context" else {"config": {"configurable": keys}}
    ann = of("ann")
    stream = ann.runs.stream(None, "rag", input={"question": "What hunts at night?"}, **sent)
    assert OWL not in json.dumps([part.data async for part in stream])
    report = await run(
        ann, "index", input={"documents": [{"id": f"new {given}", "page_content": "Herons."}]},
        **sent,
    )  # fmt: skip
    assert report["written"] == 1
    assert f"new {given}" in await listed(ann)
    assert f"new {given}" not in await listed(of("gus"))


@pytest.mark.parametrize("user", OTHER)
async def test_each_user_asks_their_own_documents(of: Of, user: str) -> None:
    """`rag` answers with the model of the environment, from the user's tenant alone."""
    output = await run(of(user), "rag", input={"question": "What do birds do?"})
    assert output["answered_by"] == "model"
    found = {id_ for one in output["subquestions"] for id_ in one["found"]}
    assert user in found
    assert OTHER[user] not in found


@pytest.mark.parametrize("user", OTHER)
async def test_each_user_chats_with_their_own_documents(of: Of, user: str) -> None:
    """Two turns by messages on one thread; the second is a follow-up, and the other sees none."""
    client = of(user)
    thread = (await client.threads.create())["thread_id"]
    streamed: list[str] = []
    for text in ("Which bird hunts?", "and when does it?"):
        parts = [
            part
            async for part in client.runs.stream(
                thread,
                "rag",
                input={"messages": [{"role": "user", "content": text}]},
                stream_mode=["messages-tuple", "values"],
            )
        ]
        assert {part.event for part in parts} <= {"metadata", "messages", "values"}
        streamed.append(
            "".join(part.data[0]["content"] for part in parts if part.event == "messages")
        )
    output = parts[-1].data
    assert streamed == ["A bird does [1]."] * 2
    assert [one["type"] for one in output["messages"]] == ["human", "ai"] * 2
    assert output["standalone_question"] == FOLLOW_UP
    (document,) = output["documents"]
    assert document["page_content"] != TEXTS[OTHER[user]]
    found = {id_ for one in output["subquestions"] for id_ in one["found"]}
    assert user in found
    assert OTHER[user] not in found
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await of(OTHER[user]).threads.get_state(thread)
    assert refused.value.response.status_code == 404


async def test_a_report_tells_what_became_of_each_document(of: Of) -> None:
    """Written, unchanged or failed; another tenant's id is none to write."""
    swift = {"id": "swift", "page_content": "Swifts sleep in the air.", "metadata": {"year": 2010}}
    ann = of("ann")
    assert (await indexed(ann, swift))["written"] == 1
    report = await indexed(
        ann, swift, {"page_content": "Herons wait."}, {"text": "Owls"}, {**swift, "id": "gus"}
    )
    assert (report["written"], report["unchanged"]) == (1, 1)
    assert [one["number"] for one in report["failed"]] == [2, 3]
    assert "page_content: Field required" in report["failed"][0]["error"]
    assert "taken by an entity outside" in report["failed"][1]["error"]
    assert {"swift", report["ids"][1]} <= await listed(ann)


DECISIONS: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "approve": ({}, {"second"}, "Deleted 1 document"),
    "edit": (
        {"edited_action": {"name": "milvus_delete", "args": {"ids": ["second"]}}},
        {"first"},
        "Deleted 1 document",
    ),
    "reject": ({"message": "Keep it."}, {"first", "second"}, "Keep it."),
    "respond": ({"message": "It is archived."}, {"first", "second"}, "It is archived."),
}


@pytest.mark.parametrize("kind", DECISIONS)
async def test_a_delete_waits_for_the_user_s_decision(of: Of, kind: str) -> None:
    """The thread stops with the question; what the user decides over the SDK happens."""
    more, left, content = DECISIONS[kind]
    ann = of("ann")
    await indexed(
        ann, *({"id": one, "page_content": f"{one} text"} for one in ("first", "second"))
    )
    thread = (await ann.threads.create())["thread_id"]
    asked = await run(ann, "agent", thread, input=asking(calls("milvus_delete", ids=["first"])))
    (request,) = asked["__interrupt__"][0]["value"]["action_requests"]
    assert request["description"] == 'Delete where pk is one of "first", in the collection birds?'
    assert {"first", "second"} <= await listed(ann)

    decisions = {"resume": {"decisions": [{"type": kind, **more}]}}
    (answer,) = told(await run(ann, "agent", thread, command=decisions))
    assert content in answer["content"]
    assert await listed(ann) & {"first", "second"} == left


async def test_r08_a_thread_is_its_user_s(of: Of) -> None:
    """Another user can neither see it nor resume it, and nothing happens when they try."""
    ann, gus = of("ann"), of("gus")
    thread = (await ann.threads.create(metadata={"owner": "gus"}))["thread_id"]
    await run(ann, "agent", thread, input=asking(calls("milvus_delete", ids=["ann"])))
    assert thread not in {one["thread_id"] for one in await gus.threads.search(limit=100)}
    approve: Any = {"resume": {"decisions": [{"type": "approve"}]}}
    for call in (
        gus.threads.get(thread),
        gus.threads.get_state(thread),
        gus.threads.get_history(thread),
        gus.threads.update(thread, metadata={"owner": "gus"}),
        gus.threads.update_state(thread, {"messages": []}),
        gus.threads.delete(thread),
        gus.runs.list(thread),
        run(gus, "agent", thread, command=approve),
    ):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await call
        assert refused.value.response.status_code == 404
    assert "ann" in await listed(ann)
    assert (await ann.threads.get_state(thread))["next"]


async def test_a_user_configures_nothing_that_holds_for_others(of: Of) -> None:
    """The graphs are there to see; assistants, crons and the server's store are refused."""
    ann = of("ann")
    offered = {one["graph_id"]: one["assistant_id"] for one in await ann.assistants.search()}
    assert offered.keys() == {"rag", "agent", "index"}
    for call in (
        ann.assistants.create("agent"),
        ann.assistants.update(offered["agent"], context={"tenant": "globex"}),
        ann.assistants.delete(offered["agent"]),
        ann.crons.search(),
        ann.crons.create("agent", schedule="0 0 * * *", input=EMPTY),
        ann.store.put_item(("ann",), "key", {}),
        ann.store.search_items(("ann",)),
    ):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await call
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {USERS['ann']['token']}"},
        {"Authorization": USERS["ann"]["token"]},
        {"x-auth-scheme": "langsmith"},
    ],
)
async def test_r08_a_served_graph_runs_for_no_one_without_a_user_s_token(
    connect: Connect, headers: dict[str, str]
) -> None:
    """The server itself refuses, whichever graph it is; and who says to be its Studio, too."""
    for graph in CONFIG["graphs"]:
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await run(connect(**headers), graph, input=EMPTY)
        assert refused.value.response.status_code == 401


async def test_the_steps_of_research_reach_a_client(of: Of) -> None:
    """Over the SDK, too: what each sub-question found, and the answer with its sources."""
    sent = asking(calls("research", question="What do birds do?"))
    parts = [
        part
        async for part in of("gus").runs.stream(
            None, "agent", input=sent, stream_mode=["custom", "values"]
        )
    ]
    events = [part.data for part in parts if part.event == "custom"]
    assert "What flies?" in {one["text"] for one in events if one["event"] == "found"}
    assert {hit["id"] for one in events for hit in one.get("found", ())} == {"gus"}
    (answer,) = told(parts[-1].data)
    assert answer["content"].startswith("A bird does [1].")
    assert [one["id"] for one in answer["artifact"]] == ["gus"]


async def test_nothing_blocks_the_loop_and_strict_checkpoints_warn_of_nothing(
    of: Of, server: DevServer
) -> None:
    """All three graphs on threads of their own, which are read again."""
    ann = of("ann")
    inputs: dict[str, Any] = {
        "rag": {"question": "What do birds do?"},
        "agent": asking(
            calls("milvus_search", query="birds"), calls("research", question="What flies?")
        ),
        "index": {"documents": [{"id": "heron", "page_content": "Herons."}]},
    }
    for graph, given in inputs.items():
        thread = (await ann.threads.create())["thread_id"]
        await run(ann, graph, thread, input=given)
        assert (await ann.threads.get_state(thread))["values"]
        assert (await ann.threads.get(thread))["status"] == "idle"
    for assistant in await ann.assistants.search():
        assert await ann.assistants.get_schemas(assistant["assistant_id"])
        assert await ann.assistants.get_graph(assistant["assistant_id"])
    for said in ("BlockingError", "Blocking call", "unregistered type", "Blocked deserialization"):
        assert said not in server.log


async def test_no_secret_is_logged(of: Of, server: DevServer) -> None:
    """Neither a user's token nor the model's key."""
    await listed(of("ann"))
    for secret in (KEY, *(user["token"] for user in USERS.values())):
        assert secret not in server.log
