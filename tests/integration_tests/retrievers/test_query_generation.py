"""Queries made by `ChatOpenAI`, whose service says what small models say, and fails at times."""

import asyncio
from typing import Any

import openai
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import ConfigurableField

from milvus_tools import MilvusMultiQueryRetriever
from tests.helpers.agents import KITE, OWL, SWIFT, Birds
from tests.helpers.openai_answers import Reply, Scripted
from tests.helpers.openai_clients import Clients
from tests.helpers.openai_service import CHAT, DROP, OpenAIService
from tests.helpers.retrievers import found_by
from tests.helpers.support import texts

MADE = {"queries": [OWL, SWIFT]}


async def asked(birds: Birds, reply: Scripted, **settings: Any) -> set[str]:
    """Return the queries that are asked when the model makes this of a question."""
    with OpenAIService([reply]) as service:
        async with Clients(service) as clients:
            retriever = MilvusMultiQueryRetriever(birds.store, clients.chat(), **settings)
            found = await retriever.ainvoke(KITE, k=3)
    return {query for document in found for query in found_by(document)}


@pytest.mark.parametrize(
    "reply",
    [
        MADE,
        {"queries": [OWL, OWL.upper(), f" {OWL} ", KITE, SWIFT, ""]},
        {"queries": f"1. {OWL}\n2. {SWIFT}"},
        f"Here are 2 versions:\n1. {OWL}\n2. {SWIFT}",
        f"- {OWL}\n- {SWIFT}\n\nI hope this helps!",
        f'["{OWL}", "{SWIFT}"]',
        f'Sure!\n```json\n{{"queries": ["{OWL}", "{SWIFT}"]}}\n```',
        Reply(f'{{"queries": ["{OWL}", "{SWIFT}", "{SWIFT}", "Swi', finish_reason="length"),
    ],
)
async def test_what_the_model_says_is_read(birds: Birds, reply: Scripted) -> None:
    """Whatever form it has, and though structured output was asked for."""
    assert await asked(birds, reply) == {KITE, OWL, SWIFT}


@pytest.mark.parametrize(
    "reply", [{"queries": []}, "", Reply(refusal="I can't."), {"queries": [KITE, "z" * 2000]}]
)
async def test_a_model_that_makes_none_leaves_the_question(birds: Birds, reply: Scripted) -> None:
    """It is asked alone, even if it was to be left out."""
    assert await asked(birds, reply, include_original=False) == {KITE}


async def test_a_model_that_makes_too_many_is_cut(birds: Birds) -> None:
    """And the prompt told it how many there may be."""
    many = {"queries": [OWL, SWIFT, *(f"bird {n}" for n in range(90))]}
    assert await asked(birds, many, max_queries=2) == {KITE, OWL, SWIFT}
    with OpenAIService([MADE]) as service:
        async with Clients(service) as clients:
            retriever = MilvusMultiQueryRetriever(birds.store, clients.chat(), max_queries=2)
            await retriever.ainvoke(KITE)
        (request,) = service.chat_requests
    assert "at most 2 search queries" in request["messages"][0]["content"]
    assert request["messages"][1]["content"] == KITE
    assert request["response_format"]["type"] == "json_schema"


async def test_a_service_that_is_busy_or_breaks_is_asked_again(birds: Birds) -> None:
    """The client's own retries hold; the answer is what it would have been."""
    for status in (429, 500, DROP):
        with OpenAIService([MADE]) as service:
            service.fail_next(1, status, path=CHAT)
            async with Clients(service) as clients:
                retriever = MilvusMultiQueryRetriever(birds.store, clients.chat(max_retries=2))
                assert sorted(texts(await retriever.ainvoke(KITE))) == sorted([KITE, OWL, SWIFT])


async def test_a_service_that_fails_is_loud_or_skipped(birds: Birds) -> None:
    """Skipped, the question is asked alone, and no address or key is told."""
    with OpenAIService() as service:
        service.fail_next(9, 500, path=CHAT)
        async with Clients(service) as clients:
            model = clients.chat(max_retries=0)
            with pytest.raises(openai.InternalServerError):
                await MilvusMultiQueryRetriever(birds.store, model).ainvoke(KITE)
            retriever = MilvusMultiQueryRetriever(birds.store, model, on_error="skip", k=1)
            (found,) = await retriever.ainvoke(KITE)
    assert found.page_content == KITE
    (failed,) = found.metadata["retrieval"]["failed"]
    assert failed["query"] == "(making the queries)"
    assert failed["error"].isidentifier()  # the error's kind alone


async def test_many_questions_at_once_are_many_chats_at_once(birds: Birds) -> None:
    """The service answers none before it has all ten: they overlap, in both faces."""
    with OpenAIService(lambda _: MADE) as service:
        async with Clients(service) as clients:
            retriever = MilvusMultiQueryRetriever(birds.store, clients.chat(), k=1)
            service.meet(10)
            await asyncio.gather(*(retriever.ainvoke(f"{KITE} {n}") for n in range(10)))
            service.meet(4)
            questions = [f"{OWL} {n}" for n in range(4)]
            config: Any = {"max_concurrency": 4}
            found = await asyncio.to_thread(retriever.batch, questions, config)
            service.meet(None)
    assert [len(one) for one in found] == [1] * 4
    assert service.requests[CHAT] == 14


class Told(AsyncCallbackHandler):
    """Counts the calls of chat models."""

    calls = 0

    async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.calls += 1


def wrapped(chat: Any, told: Told) -> dict[str, Any]:
    """Return a model in each of LangChain's wrappers, and in several."""
    bound = chat.bind(temperature=0.1, seed=7)
    return {
        "bind": bound,
        "with_config": bound.with_config(callbacks=[told]),
        "with_retry": bound.with_retry(stop_after_attempt=2),
        "with_fallbacks": chat.bind(seed=1).with_fallbacks([bound]),
        "configurable": chat.configurable_fields(temperature=ConfigurableField("temperature"))
        .with_config(configurable={"temperature": 0.1})
        .bind(seed=7),
        "several": bound.with_config(callbacks=[told]).with_retry().with_fallbacks([bound]),
    }


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    "wrapper", ["bind", "with_config", "with_retry", "with_fallbacks", "configurable", "several"]
)
async def test_r45_what_wraps_the_retriever_s_model_holds(
    birds: Birds, wrapper: str, blocking: bool
) -> None:
    """Bound arguments, callbacks, a further attempt and the other model; both faces."""
    told = Told()
    fails = wrapper in {"with_retry", "with_fallbacks", "several"}
    with OpenAIService([MADE]) as service:
        async with Clients(service) as clients:
            llm = wrapped(clients.chat(max_retries=0), told)[wrapper]
            if fails:
                service.fail_next(1, 500, path=CHAT)
            retriever = MilvusMultiQueryRetriever(birds.store, llm)
            found = (
                await asyncio.to_thread(retriever.invoke, KITE)
                if blocking
                else await retriever.ainvoke(KITE)
            )
        requests = service.chat_requests
    assert {query for document in found for query in found_by(document)} == {KITE, OWL, SWIFT}
    assert requests
    assert (requests[-1]["temperature"], requests[-1]["seed"]) == (0.1, 7)
    assert requests[-1]["response_format"]["type"] == "json_schema"
    if wrapper in {"with_config", "several"}:
        assert told.calls == 1 + fails


@pytest.mark.parametrize(
    "reply",
    [
        f"- {OWL}\n- {SWIFT}",
        Reply(f'{{"queries": ["{OWL}", "{SWIFT}", "S', finish_reason="length"),
    ],
)
async def test_r45_what_a_bound_model_says_is_read(birds: Birds, reply: Scripted) -> None:
    """Though it breaks the schema, or did not end."""
    with OpenAIService([reply]) as service:
        async with Clients(service) as clients:
            llm = clients.chat().bind(seed=7)
            found = await MilvusMultiQueryRetriever(birds.store, llm).ainvoke(KITE, k=3)
    assert {query for document in found for query in found_by(document)} == {KITE, OWL, SWIFT}
