"""Agents with the tools: what the model asks for, what it hears, and what happens to Milvus."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from milvus_tools import MilvusStore
from tests.helpers.agents import (
    KITE,
    OWL,
    SWIFT,
    YEARS,
    Birds,
    Reply,
    ScriptedModel,
    birds_of,
    calls,
    last_told,
    told,
)
from tests.helpers.fake_embeddings import AsyncModel
from tests.helpers.proxy import proxy_of
from tests.helpers.support import ON_SERVER, texts
from tests.helpers.threads import BOUND
from tests.helpers.tools import toolkit

MakeStore = Callable[..., MilvusStore]
BOTH_FACES = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
QUESTION = {"messages": [{"role": "user", "content": "What do you know of birds?"}]}


def agent_on(birds: Birds, model: ScriptedModel, **settings: Any) -> Any:
    """Make an agent with the four tools."""
    return create_agent(model, toolkit(birds.store, **settings).get_tools())


async def run(agent: Any, *, sync: bool = False) -> list[BaseMessage]:
    """Ask an agent, and return the messages."""
    answer = agent.invoke(QUESTION) if sync else await agent.ainvoke(QUESTION)
    messages: list[BaseMessage] = answer["messages"]
    return messages


def quote_best(messages: Sequence[BaseMessage]) -> str:
    """Answer with the text of the first document that the last search found."""
    found = re.search(r'<document n="1" [^>]*>\n.*\n(.*)\n</document>', last_told(messages))
    assert found is not None, last_told(messages)
    return f"I read: {found[1]}"


@BOTH_FACES
async def test_an_agent_searches_and_answers_from_what_it_found(birds: Birds, sync: bool) -> None:
    """The model sees the tools, calls one, reads its answer; a program gets the Documents."""
    model = ScriptedModel.saying([calls("milvus_search", query=OWL, k=2)], quote_best)
    messages = await run(agent_on(birds, model), sync=sync)

    assert messages[-1].content == f"I read: {OWL}"
    (answer,) = told(messages)
    assert answer.status == "success"
    assert answer.artifact[0].id == birds.owl
    assert str(answer.content).startswith("2 results.")
    assert "case" not in str(answer.content), "The scope is not the model's business."
    assert [tool["function"]["name"] for tool in model.bound] == [
        "milvus_search",
        "milvus_search_by_metadata",
        "milvus_upsert",
        "milvus_delete",
    ]


@BOTH_FACES
async def test_t43_tools_work_in_an_agent_that_is_called_without_await(
    birds: Birds, sync: bool
) -> None:
    """Each tool has both faces, and they do the same."""
    new = {"text": "Herons wait.", "metadata": {"year": 2020, "title": "Herons"}}
    model = ScriptedModel.saying(
        [calls("milvus_upsert", documents=[new])],
        [calls("milvus_search", query="Herons wait.", k=1)],
        [calls("milvus_delete", filters=[{"field": "year", "operator": "lt", "value": 2000}])],
        [calls("milvus_search_by_metadata", order_by="year", descending=True)],
        "Done.",
    )
    messages = await run(agent_on(birds, model), sync=sync)

    upserted, found, deleted, listed = told(messages)
    assert upserted.artifact["new"] == [found.artifact[0].id]
    assert deleted.artifact == {"ids": [birds.kite], "deleted": 1, "dry_run": False}
    assert texts(listed.artifact) == ["Herons wait.", SWIFT, OWL]
    assert await birds.left() == sorted(["Herons wait.", SWIFT, OWL])


SINCE_2000 = {"field": "year", "operator": "gte", "value": 2000}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "field": ({"filters": [{**SINCE_2000, "field": "yaer"}]}, "Did you mean 'year'?"),
    "operator": ({"filters": [{**SINCE_2000, "operator": "=>"}]}, "there are eq, ne, gt, gte"),
    "value": ({"filters": [{**SINCE_2000, "value": "the year 2000"}]}, "compared with an integer"),
    "bound": ({"k": 1_000}, "less than or equal to 20"),
    "unknown": ({"top_k": 3}, "the names are query, queries, k, filters"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_model_mends_its_mistake_on_the_second_try(birds: Birds, mistake: str) -> None:
    """The first answer is an error that says what would be right, the second has the result."""
    wrong, said = MISTAKES[mistake]
    right = {"query": KITE, "filters": [SINCE_2000]}

    def mended(messages: list[BaseMessage]) -> Reply:
        assert said in last_told(messages)
        return [calls("milvus_search", **right)]

    model = ScriptedModel.saying(
        [calls("milvus_search", **{"query": KITE, **wrong})], mended, quote_best
    )
    messages = await run(agent_on(birds, model))
    assert [answer.status for answer in told(messages)] == ["error", "success"]
    assert set(texts(told(messages)[-1].artifact)) == {OWL, SWIFT}


class Meeting(AsyncModel):
    """Embeds queries only when as many as are to meet have been asked for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._barrier = asyncio.Barrier(count)

    async def aembed_query(self, text: str) -> list[float]:
        async with asyncio.timeout(BOUND):
            await self._barrier.wait()
        return await super().aembed_query(text)


@BOTH_FACES
async def test_tool_calls_of_one_message_run_together(
    make_store: MakeStore, birds: Birds, shared: MilvusStore, sync: bool
) -> None:
    """None of three searches could be answered if the others were not under way, too."""
    store = make_store(Meeting(3), collection_name=shared.collection_name)
    view = store.scoped(dict(birds.store.scope))
    model = ScriptedModel.saying(
        [calls("milvus_search", query=text, k=1) for text in YEARS], "Done."
    )
    messages = await run(create_agent(model, toolkit(view).get_tools()), sync=sync)
    answers = told(messages)
    assert [answer.status for answer in answers] == ["success"] * 3, answers
    assert [texts(answer.artifact) for answer in answers] == [[text] for text in YEARS]


async def test_queries_of_one_call_run_together(
    make_store: MakeStore, birds: Birds, shared: MilvusStore
) -> None:
    """One call with three queries searches for all of them at once, and fuses what it finds."""
    store = make_store(Meeting(3), collection_name=shared.collection_name)
    view = store.scoped(dict(birds.store.scope))
    model = ScriptedModel.saying(
        [calls("milvus_search", query=KITE, queries=[OWL, SWIFT], k=3)], "Done."
    )
    (answer,) = told(await run(create_agent(model, toolkit(view).get_tools())))
    assert answer.status == "success", answer
    assert set(texts(answer.artifact)) == {KITE, OWL, SWIFT}


class Breaking(AsyncModel):
    """Fails while it is told to, as a service that is down, with a message full of secrets."""

    SECRET = "http://10.0.0.7:8000 refused the token s3cr3t"

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def aembed_query(self, text: str) -> list[float]:
        if self.broken:
            raise ValueError(self.SECRET)
        return await super().aembed_query(text)


@BOTH_FACES
async def test_t42_what_fails_inside_a_tool_reaches_the_model_and_not_the_caller(
    make_store: MakeStore, birds: Birds, shared: MilvusStore, sync: bool
) -> None:
    """The run goes on after a model's fault, Milvus's refusal and any other exception."""
    embedding = Breaking()
    store = make_store(embedding, collection_name=shared.collection_name)
    view = store.scoped(dict(birds.store.scope))

    def broken(_: list[BaseMessage]) -> Reply:
        embedding.broken = True
        return [calls("milvus_search", query=OWL)]

    def mended(_: list[BaseMessage]) -> Reply:
        embedding.broken = False
        return [calls("milvus_search", query=OWL, k=1)]

    model = ScriptedModel.saying(
        [calls("milvus_search", query=OWL, expr="(year")],
        [calls("milvus_search", query=OWL, expr="no_such_function(year)")],
        broken,
        mended,
        quote_best,
    )
    agent = create_agent(model, toolkit(view, allow_raw_filter=True).get_tools())
    messages = await run(agent, sync=sync)

    *errors, _ = told(messages)
    assert [error.status for error in errors] == ["error"] * 3
    unsafe, refused, failed = (str(error.content) for error in errors)
    assert "leaves a '(' open" in unsafe
    assert "MilvusException" not in refused
    assert "Milvus refused the request" in refused
    assert not any(secret in failed for secret in ("10.0.0.7", "s3cr3t", "ValueError"))
    assert messages[-1].content == f"I read: {OWL}"


@ON_SERVER
@BOTH_FACES
async def test_an_agent_outlives_the_server_that_dies_in_mid_run(
    make_store: MakeStore, shared: MilvusStore, request: pytest.FixtureRequest, sync: bool
) -> None:
    """While it is gone each tool tells the model so; when it is back all of them go on."""
    new = {"text": "Herons wait.", "metadata": {"year": 2020}}
    with proxy_of(shared._connection_args["uri"]) as proxy:
        arguments = {"uri": proxy.uri}
        store = make_store(
            collection_name=shared.collection_name, connection_args=arguments, timeout=10
        )
        birds = birds_of(store, request.node.nodeid)
        every_tool = [
            calls("milvus_search", query=OWL, k=1),
            calls("milvus_search_by_metadata", limit=1),
            calls("milvus_upsert", documents=[new]),
            calls("milvus_delete", ids=[birds.kite]),
        ]

        def dies(_: list[BaseMessage]) -> Reply:
            proxy.cut()
            return every_tool

        def is_back(_: list[BaseMessage]) -> Reply:
            proxy.restore()
            return every_tool

        model = ScriptedModel.saying(
            [calls("milvus_search", query=SWIFT, k=1)], dies, is_back, "Done."
        )
        messages = await run(agent_on(birds, model), sync=sync)

        first, *others = told(messages)
        assert texts(first.artifact) == [SWIFT]
        for error in others[:4]:
            assert error.status == "error"
            assert re.search("unavailable|did not answer", str(error.content))
            assert "127.0.0.1" not in str(error.content)
        assert [answer.status for answer in others[4:]] == ["success"] * 4
        assert messages[-1].content == "Done."
        assert await birds.left() == sorted(["Herons wait.", OWL, SWIFT])


async def test_a_run_can_be_followed_step_by_step_and_word_by_word(birds: Birds) -> None:
    """`updates` come after each step, `messages` while the model speaks."""
    model = ScriptedModel.saying([calls("milvus_search", query=OWL, k=1)], quote_best)
    agent = agent_on(birds, model)
    steps: list[str] = []
    spoken: list[BaseMessage] = []
    async for mode, part in agent.astream(QUESTION, stream_mode=["updates", "messages"]):
        if mode == "updates":
            steps += part
        else:
            spoken.append(part[0])

    assert steps == ["model", "tools", "model"]
    words = [str(part.content) for part in spoken if isinstance(part, AIMessageChunk)]
    assert "".join(words) == f"I read: {OWL}"
    assert len(words) > 4
    (answer,) = [part for part in spoken if isinstance(part, ToolMessage)]
    assert texts(answer.artifact) == [OWL]


def test_a_run_can_be_followed_without_await(birds: Birds) -> None:
    """The same steps come from `stream`."""
    model = ScriptedModel.saying([calls("milvus_search", query=OWL, k=1)], quote_best)
    parts = list(agent_on(birds, model).stream(QUESTION, stream_mode="updates"))
    assert [next(iter(part)) for part in parts] == ["model", "tools", "model"]
    (last,) = parts[-1]["model"]["messages"]
    assert isinstance(last, AIMessage)
    assert last.content == f"I read: {OWL}"
