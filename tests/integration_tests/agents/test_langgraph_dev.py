"""An agent that `langgraph dev` serves to two tenants: what the server knows of a user counts.

What a client can send with a run is sent here, and never says whose rows are meant.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from milvus_tools import MilvusStore
from tests.helpers import forgeries
from tests.helpers.agents import KITE, OWL, calls
from tests.helpers.forgeries import FORGERIES, asking, reading, told
from tests.helpers.langgraph_dev import Connect, DevServer
from tests.helpers.served_agent import FILE
from tests.helpers.served_auth import USERS
from tests.helpers.support import embeddings

CONFIG = {
    "dependencies": ["."],
    "graphs": {"agent": "./tests/helpers/served_agent.py:graph"},
    "auth": {"path": "./tests/helpers/served_auth.py:auth"},
}
TEXTS = {"ann": KITE, "gus": OWL}
"""The one text of each user's tenant; its id is the user's name."""
OTHER = {"ann": "gus", "gus": "ann"}
REFUSED = "Refused: the run does not say whose data it may use"
APPROVE: Any = {"resume": {"decisions": [{"type": "approve"}]}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The server, started once, over a store that has a text of each tenant."""
    folder = tmp_path_factory.mktemp("dev")
    uri = str(folder / FILE)
    with MilvusStore(embeddings(), connection_args={"uri": uri}) as store:
        for user, text in TEXTS.items():
            store.scoped(tenant=USERS[user]["tenant_id"]).add_texts([text], ids=[user])
    with DevServer(folder, CONFIG).running() as server:
        yield server


@pytest.fixture
async def connect(server: DevServer) -> AsyncIterator[Connect]:
    """Make clients that send headers."""
    async with server.connecting() as connect:
        yield connect


@pytest.fixture
def of(connect: Connect) -> Callable[[str], LangGraphClient]:
    """Make the client of a user."""
    return lambda user: connect(Authorization=f"Bearer {user}")


def forged(victim: str) -> dict[str, Any]:
    """Return the keys that would make the run the victim's, if they were believed."""
    return forgeries.forged(victim, USERS[victim])


def require_own_text(user: str, state: Any) -> None:
    """Demand that a search and a list found the user's text, and no other."""
    answers = told(state)
    assert len(answers) == 2
    for answer in answers:
        assert answer["status"] == "success", answer
        assert [found["id"] for found in answer["artifact"]] == [user]
        assert TEXTS[user] in answer["content"]
        assert TEXTS[OTHER[user]] not in answer["content"]


@pytest.mark.parametrize("user", OTHER)
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_r08_a_user_reads_their_own_rows_whatever_the_client_sends(
    of: Callable[[str], LangGraphClient], user: str, forgery: str
) -> None:
    """The tenant is that of the token, with no context and with one that names the other's."""
    sent = FORGERIES[forgery](forged(OTHER[user]))
    require_own_text(user, await of(user).runs.wait(None, "agent", **sent))


@pytest.mark.parametrize("kept", ["context", "config"])
async def test_r08_an_assistant_that_another_user_configured_names_no_tenant(
    of: Callable[[str], LangGraphClient], kept: str
) -> None:
    """Settings kept for later runs come from the client, and count for nothing."""
    keys = forged("gus")
    given: Any = {"context": keys} if kept == "context" else {"config": {"configurable": keys}}
    assistant = await of("gus").assistants.create("agent", metadata=keys, **given)
    state = await of("ann").runs.wait(None, assistant["assistant_id"], input=reading())
    require_own_text("ann", state)


async def test_r08_a_user_writes_and_deletes_their_own_rows_alone(
    of: Callable[[str], LangGraphClient],
) -> None:
    """An approved write goes to the tenant of the token, and an approved delete no further."""
    ann, keys = of("ann"), forged("gus")
    for call, status, content in (
        (calls("milvus_upsert", documents=[{"id": "new", "text": "Herons."}]), "success", "Wrote"),
        (calls("milvus_upsert", documents=[{"id": "gus", "text": "Spam"}]), "error", "taken"),
        (calls("milvus_delete", ids=["gus"]), "success", "nothing was deleted"),
        (calls("milvus_delete", ids=["new"]), "success", "Deleted 1"),
    ):
        thread = (await ann.threads.create())["thread_id"]
        await ann.runs.wait(thread, "agent", input=asking(call), context=keys)
        state = await ann.runs.wait(thread, "agent", command=APPROVE, context=keys)
        (answer,) = told(state)
        assert (answer["status"], content in answer["content"]) == (status, True), answer
        require_own_text("gus", await of("gus").runs.wait(None, "agent", input=reading()))


async def test_r08_a_run_that_another_user_resumes_has_that_user_s_scope(
    of: Callable[[str], LangGraphClient],
) -> None:
    """Who approves a call makes it: it deletes nothing of the one who asked for it."""
    ann, gus = of("ann"), of("gus")
    thread = (await ann.threads.create())["thread_id"]
    await ann.runs.wait(thread, "agent", input=asking(calls("milvus_delete", ids=["ann"])))
    (answer,) = told(await gus.runs.wait(thread, "agent", command=APPROVE))
    assert "nothing was deleted" in answer["content"]
    for user in OTHER:
        require_own_text(user, await of(user).runs.wait(None, "agent", input=reading()))


@pytest.mark.parametrize("user", ["nil", "eve", "studio"])
async def test_r08_a_user_without_a_tenant_is_refused(connect: Connect, user: str) -> None:
    """Whose tenant is absent or empty, and the user that the server makes up for its Studio."""
    bearer = {"Authorization": f"Bearer {user}"}
    client = connect(**({"x-auth-scheme": "langsmith"} if user == "studio" else bearer))
    state = await client.runs.wait(None, "agent", input=reading(), context=forged("gus"))
    answers = told(state)
    assert [answer["status"] for answer in answers] == ["error", "error"]
    assert all(answer["content"].startswith(REFUSED) for answer in answers)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
async def test_r08_nobody_runs_an_agent_without_a_token(
    connect: Connect, headers: dict[str, str]
) -> None:
    """The server itself refuses."""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await connect(**headers).runs.wait(None, "agent", input=reading())
    assert refused.value.response.status_code == 401
