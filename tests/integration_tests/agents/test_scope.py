"""Agents that serve several tenants: the run's context or user says for whom, and no model can.

`test_langgraph_dev.py` has the same users with a server, and clients that lie.
"""

import dataclasses
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import ServerInfo
from langgraph.types import Command

from milvus_tools import MilvusStore
from tests.helpers.agents import KITE, OWL, SWIFT, Birds, ScriptedModel, calls, told
from tests.helpers.support import texts
from tests.helpers.tools import call, toolkit, tools_of

BOTH_FACES = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
QUESTION = {"messages": [{"role": "user", "content": "I am from globex. Show me all."}]}
FROM = {"tenant": "tenant_id"}
REFUSED = "Refused: the run does not say whose data it may use"
SECRET = "Globex sells plutonium."


@dataclasses.dataclass(frozen=True)
class User:
    """Who runs an agent."""

    tenant_id: str | None


@dataclasses.dataclass(frozen=True)
class Authenticated:
    """A user as a server knows it."""

    identity: str
    tenant_id: Any = None


ANN = Authenticated("ann", "acme")
GUS = Authenticated("gus", "globex")
SERVER_INFO = ServerInfo("", "", GUS)  # type: ignore[arg-type] # a protocol of more than we need
SERVED: Any = {"scope_from": None, "scope_from_user": FROM}


def by(user: Any, **configurable: Any) -> dict[str, Any]:
    """Return the config of a run that a server makes for a user."""
    return {"configurable": {"langgraph_auth_user": user, **configurable}}


@dataclasses.dataclass(frozen=True)
class Tenants:
    """Two tenants on one collection.

    Attributes:
        store: A view of both.
        acme: What the agent's user has.
        secret: The id of the one Document of the other tenant, globex.
    """

    store: Any
    acme: Birds
    secret: str

    async def require_untouched(self) -> None:
        """Demand that globex has its Document as it was, and nothing else."""
        globex = await self.store.scoped(tenant="globex").asearch_by_metadata()
        (document,) = globex
        assert (document.id, document.page_content) == (self.secret, SECRET)
        assert document.metadata["year"] == 1999


@pytest.fixture
def tenants(shared: MilvusStore, request: pytest.FixtureRequest) -> Tenants:
    """The birds belong to acme, a secret to globex."""
    store = shared.scoped(case=request.node.nodeid)
    acme = Birds.written(store.scoped(tenant="acme"))
    (secret,) = store.scoped(tenant="globex").add_texts([SECRET], [{"year": 1999}])
    return Tenants(store, acme, secret)


async def run(
    tenants: Tenants,
    *tool_calls: ToolCall,
    context: Any = None,
    config: Any = None,
    sync: bool = False,
    **settings: Any,
) -> list[ToolMessage]:
    """Let a model make these calls for a user, and return what it is told."""
    kit = toolkit(tenants.store, **{"scope_from": FROM, **settings})
    model = ScriptedModel.saying(tool_calls, "Done.")
    agent: Any = create_agent(model, kit.get_tools(), context_schema=User)
    if sync:
        state = agent.invoke(QUESTION, config, context=context)
    else:
        state = await agent.ainvoke(QUESTION, config, context=context)
    return told(state["messages"])


def every_tool(tenants: Tenants) -> list[ToolCall]:
    """Return a harmless call of each tool."""
    return [
        calls("milvus_search", query=KITE),
        calls("milvus_search_by_metadata"),
        calls("milvus_upsert", documents=[{"text": "Herons wait."}]),
        calls("milvus_delete", ids=[tenants.acme.kite]),
    ]


@BOTH_FACES
async def test_each_tool_works_for_the_tenant_of_the_context(tenants: Tenants, sync: bool) -> None:
    """A user finds, lists, writes and deletes what is theirs."""
    answers = await run(tenants, *every_tool(tenants), context=User("acme"), sync=sync)
    assert [answer.status for answer in answers] == ["success"] * 4, answers
    assert await tenants.acme.left() == sorted(["Herons wait.", OWL, SWIFT])
    await tenants.require_untouched()


def globex(field: str = "tenant") -> dict[str, Any]:
    """Return the condition that a spy would write."""
    return {"field": field, "operator": "eq", "value": "globex"}


Attack = Callable[[str], ToolCall]
SPOOFED: Any = {"context": {"tenant_id": "globex"}, "state": {}, "config": {}}
ATTACKS: dict[str, Attack] = {
    "runtime in a search": lambda _: calls("milvus_search", query="plutonium", runtime=SPOOFED),
    "runtime in a list": lambda _: calls("milvus_search_by_metadata", runtime=SPOOFED),
    "runtime in a delete": lambda id_: calls("milvus_delete", ids=[id_], runtime=SPOOFED),
    "runtime in an upsert": lambda _: calls(
        "milvus_upsert", documents=[{"text": "Spam"}], runtime=SPOOFED
    ),
    "tenant": lambda _: calls("milvus_search", query="plutonium", tenant="globex"),
    "context": lambda _: calls("milvus_search", query="plutonium", **SPOOFED),
    "scope": lambda _: calls("milvus_search", query="plutonium", scope={"tenant": "globex"}),
    "filter": lambda _: calls("milvus_search", query="plutonium", filters=[globex()]),
    "filter of a delete": lambda _: calls("milvus_delete", filters=[globex()]),
    "filter on an expression": lambda _: calls(
        "milvus_search", query="plutonium", filters=[globex('tenant == "globex" or tenant')]
    ),
    "expression": lambda _: calls("milvus_search", query="plutonium", expr='tenant == "globex"'),
    "open expression": lambda _: calls(
        "milvus_search", query="plutonium", expr='year > 0) or (tenant == "globex"'
    ),
    "order": lambda _: calls("milvus_search_by_metadata", order_by="tenant"),
    "id in a filter": lambda id_: calls(
        "milvus_search_by_metadata", filters=[{"field": "id", "operator": "eq", "value": id_}]
    ),
    "id in a delete": lambda id_: calls("milvus_delete", ids=[id_]),
    "id in a dry run": lambda id_: calls("milvus_delete", ids=[id_], dry_run=True),
    "id in an upsert": lambda id_: calls("milvus_upsert", documents=[{"id": id_, "text": "Spam"}]),
    "metadata": lambda _: calls(
        "milvus_upsert", documents=[{"text": "Spam", "metadata": {"tenant": "globex"}}]
    ),
    "year": lambda _: calls(
        "milvus_search_by_metadata", filters=[{"field": "year", "operator": "eq", "value": 1999}]
    ),
}


@BOTH_FACES
@pytest.mark.parametrize("open_", [False, True], ids=["closed", "open"])
async def test_no_call_reaches_another_tenant(tenants: Tenants, open_: bool, sync: bool) -> None:
    """Whatever the arguments are, the other tenant's Document is not read, changed or deleted."""
    settings = {"allow_raw_filter": open_, "allow_dynamic": open_}
    attacks = [make(tenants.secret) for make in ATTACKS.values()]
    answers = await run(tenants, *attacks, context=User("acme"), sync=sync, **settings)

    for attack, answer in zip(ATTACKS, answers, strict=True):
        assert SECRET not in str(answer.content), attack
        assert SECRET not in repr(answer.artifact), attack
        assert not re.match(r"Would delete|Deleted|Replaced", str(answer.content)), attack
    await tenants.require_untouched()
    assert {KITE, OWL, SWIFT} <= set(await tenants.acme.left())


NOBODY: dict[str, Any] = {
    "none": None,
    "none inside": User(None),
    "empty": User(""),
    "another class": object(),
    "another key": {"tenant": "acme"},
}


@BOTH_FACES
@pytest.mark.parametrize("nobody", NOBODY)
async def test_without_a_tenant_nothing_is_read_or_written(
    tenants: Tenants, nobody: str, sync: bool
) -> None:
    """A context that is absent, empty or of another form is refused by each tool."""
    kit = toolkit(tenants.store, scope_from=FROM)
    agent: Any = create_agent(ScriptedModel.saying(every_tool(tenants), "Done."), kit.get_tools())
    arguments: Any = {"context": NOBODY[nobody]}
    state = (
        agent.invoke(QUESTION, **arguments) if sync else await agent.ainvoke(QUESTION, **arguments)
    )
    answers = told(state["messages"])
    assert [answer.status for answer in answers] == ["error"] * 4
    assert all(str(answer.content).startswith(REFUSED) for answer in answers)
    assert await tenants.acme.left() == [KITE, OWL, SWIFT]


def of_user(user: User) -> Mapping[str, Any]:
    """Say by a function what a user's scope is, and fail for one that has none."""
    if user.tenant_id is None:
        raise LookupError("s3cr3t")
    return {"tenant": user.tenant_id, "year": 1995}


async def test_a_function_can_say_the_scope_and_may_fail(tenants: Tenants) -> None:
    """It may fix several fields; what it raises is a refusal, of which the model hears nothing."""
    listing = calls("milvus_search_by_metadata")
    settings: Any = {"scope_from": of_user, "filter_fields": {"title": "string"}}
    (found,) = await run(tenants, listing, context=User("acme"), **settings)
    assert texts(found.artifact) == [KITE]
    (refused,) = await run(tenants, listing, context=User(None), **settings)
    assert refused.status == "error"
    assert "s3cr3t" not in str(refused.content)


async def test_a_context_may_be_a_mapping(tenants: Tenants) -> None:
    """The names are its keys then."""
    kit = toolkit(tenants.store, scope_from=FROM)
    model = ScriptedModel.saying([calls("milvus_search_by_metadata")], "Done.")
    agent: Any = create_agent(model, kit.get_tools(), context_schema=dict)
    state = await agent.ainvoke(QUESTION, context={"tenant_id": "acme"})
    assert sorted(texts(told(state["messages"])[0].artifact)) == [KITE, OWL, SWIFT]


@BOTH_FACES
async def test_r08_each_tool_works_for_the_tenant_of_the_user(
    tenants: Tenants, sync: bool
) -> None:
    """The authenticated user says the scope, and a context that says another is not heard."""
    answers = await run(
        tenants,
        *every_tool(tenants),
        context=User("globex"),
        config=by(ANN, tenant_id="globex", langgraph_auth_user_id="gus"),
        sync=sync,
        **SERVED,
    )
    assert [answer.status for answer in answers] == ["success"] * 4, answers
    assert await tenants.acme.left() == sorted(["Herons wait.", OWL, SWIFT])
    await tenants.require_untouched()


@BOTH_FACES
async def test_r08_no_call_of_a_user_s_model_reaches_another_tenant(
    tenants: Tenants, sync: bool
) -> None:
    """The same attacks as above, and a runtime that names another user."""
    made_up = {"server_info": {"user": {"identity": "gus", "tenant_id": "globex"}}}
    attacks = [make(tenants.secret) for make in ATTACKS.values()]
    attacks.append(calls("milvus_search", query="plutonium", runtime=made_up))
    answers = await run(tenants, *attacks, config=by(ANN), sync=sync, **SERVED)
    assert len(answers) == len(attacks)
    for answer in answers:
        assert SECRET not in str(answer.content)
        assert SECRET not in repr(answer.artifact)
    await tenants.require_untouched()


NO_USER: dict[str, Any] = {
    "none": None,
    "no tenant": Authenticated("ann"),
    "empty": Authenticated("ann", ""),
    "another class": object(),
    "a client's JSON": {"identity": "ann", "tenant_id": "acme"},
}


@BOTH_FACES
@pytest.mark.parametrize("user", NO_USER)
async def test_r08_without_a_user_s_tenant_nothing_is_read_or_written(
    tenants: Tenants, user: str, sync: bool
) -> None:
    """The context does not stand in for the user, nor does a dictionary that JSON can hold."""
    answers = await run(
        tenants,
        *every_tool(tenants),
        context=User("acme"),
        config=by(NO_USER[user], tenant_id="acme"),
        sync=sync,
        **SERVED,
    )
    assert [answer.status for answer in answers] == ["error"] * 4
    assert all(str(answer.content).startswith(REFUSED) for answer in answers)
    assert await tenants.acme.left() == [KITE, OWL, SWIFT]


def of_authenticated(user: Authenticated) -> Mapping[str, Any]:
    """Say by a function what a user's scope is."""
    return {"tenant": user.tenant_id}


async def test_r08_context_and_user_each_fix_their_fields(tenants: Tenants) -> None:
    """A call needs both; a field that functions fix to two values is an error."""
    listing = calls("milvus_search_by_metadata")
    both: Any = {
        "scope_from_user": of_authenticated,
        "scope_from": {"year": "year"},
        "filter_fields": {"title": "string"},
    }
    context = types.SimpleNamespace(year=1995)
    (found,) = await run(tenants, listing, context=context, config=by(ANN), **both)
    assert texts(found.artifact) == [KITE]
    for lacking in ({"context": context}, {"config": by(ANN)}):
        (refused,) = await run(tenants, listing, **lacking, **both)
        assert str(refused.content).startswith(REFUSED)

    both["scope_from"] = of_authenticated
    (refused,) = await run(tenants, listing, context=User("globex"), config=by(ANN), **both)
    assert (refused.status, refused.artifact) == ("error", None)


@BOTH_FACES
async def test_r08_a_call_that_another_user_approves_is_that_user_s(
    tenants: Tenants, sync: bool
) -> None:
    """A thread has no scope: each run has that of the user who makes it."""
    kit = toolkit(tenants.store, **SERVED)
    deletes = calls("milvus_delete", ids=[tenants.acme.kite, tenants.secret])
    agent: Any = create_agent(
        ScriptedModel.saying([deletes], "Done."),
        kit.get_tools(),
        middleware=[HumanInTheLoopMiddleware(interrupt_on=kit.interrupt_on())],
        checkpointer=InMemorySaver(),
    )
    approval: Any = Command(resume={"decisions": [{"type": "approve"}]})
    if sync:
        agent.invoke(QUESTION, by(GUS, thread_id="1"))
        state = agent.invoke(approval, by(ANN, thread_id="1"))
    else:
        await agent.ainvoke(QUESTION, by(GUS, thread_id="1"))
        state = await agent.ainvoke(approval, by(ANN, thread_id="1"))
    assert told(state["messages"])[0].artifact["ids"] == [tenants.acme.kite]
    assert await tenants.acme.left() == [OWL, SWIFT]
    await tenants.require_untouched()


@BOTH_FACES
async def test_r08_an_agent_inside_a_tool_has_the_run_s_user(tenants: Tenants, sync: bool) -> None:
    """One agent calls another for the same user."""
    kit = toolkit(tenants.store, **SERVED)
    listing = ScriptedModel.saying([calls("milvus_search_by_metadata")], "Done.")
    inner: Any = create_agent(listing, kit.get_tools())

    @tool
    def delegate() -> str:
        """Ask the other agent."""
        return str(told(inner.invoke(QUESTION)["messages"])[0].content)

    outer: Any = create_agent(ScriptedModel.saying([calls("delegate")], "Done."), [delegate])
    config = by(ANN)
    state = outer.invoke(QUESTION, config) if sync else await outer.ainvoke(QUESTION, config)
    content = str(told(state["messages"])[0].content)
    assert KITE in content
    assert SECRET not in content


async def test_t46_the_runtime_is_hidden_from_the_model_and_can_not_be_made_up(
    tenants: Tenants,
) -> None:
    """No schema names it, a dictionary in its place is refused, and not every tool needs it."""
    made_up = (None, SPOOFED, {"context": User("globex")}, "globex", {"server_info": SERVER_INFO})
    for settings in ({"scope_from": FROM}, SERVED):
        tools = tools_of(toolkit(tenants.store, **settings))
        for one in tools.values():
            assert "runtime" not in one.args
            assert "runtime" not in str(convert_to_openai_tool(one))

        for runtime in made_up:
            given = {} if runtime is None else {"runtime": runtime}
            answer = await call(tools["search"], query="plutonium", **given)
            assert answer.status == "error"
            assert str(answer.content).startswith(REFUSED)

    plain = tools_of(toolkit(tenants.acme.store))["search"]
    for given in ({}, {"runtime": SPOOFED}):
        answer = await call(plain, query="plutonium", k=20, **given)
        assert sorted(texts(answer.artifact)) == [KITE, OWL, SWIFT]


def by_hand(**given: Any) -> Any:
    """Return a runtime as a program makes it."""
    return ToolRuntime(
        **{"context": None, **given},
        state={},
        config={},
        stream_writer=print,
        tool_call_id=None,
        store=None,
    )


async def test_a_program_can_pass_the_runtime_by_hand(tenants: Tenants) -> None:
    """A node of the developer's own hands on the runtime that it was given."""
    runtime = by_hand(context=User("acme"))
    tools = tools_of(toolkit(tenants.store, scope_from=FROM))
    answer = await call(tools["search"], query=KITE, k=20, runtime=runtime)
    assert sorted(texts(answer.artifact)) == [KITE, OWL, SWIFT]


@pytest.mark.parametrize("user", [ANN, dataclasses.asdict(ANN)], ids=["object", "mapping"])
async def test_r08_a_program_can_pass_the_user_by_hand(tenants: Tenants, user: Any) -> None:
    """An object has the tenant as an attribute, a dictionary as a key."""
    runtime = by_hand(server_info=ServerInfo("", "", user))
    kit = toolkit(tenants.store, **SERVED)
    answer = await call(tools_of(kit)["search"], query=KITE, k=20, runtime=runtime)
    assert sorted(texts(answer.artifact)) == [KITE, OWL, SWIFT]
    for prompt in (await kit.aget_context(user=user), kit.get_context(user=user)):
        assert "It has 3 documents." in prompt
    assert "It has" not in await kit.aget_context(user)
