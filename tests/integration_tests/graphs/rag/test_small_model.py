"""The RAG graph with a real model, which is so small that its plans are poor."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from graphs.rag import Context, build_graph
from milvus_tools import MilvusStore, local_embeddings
from tests.helpers.openai_clients import Clients
from tests.helpers.rag_graph import DOCUMENTS, QUESTION
from tests.helpers.small_model import NAME, small_model
from tests.helpers.support import ON_LITE

pytestmark = [ON_LITE, pytest.mark.llm, pytest.mark.timeout(900)]
ROUNDS, SUBQUESTIONS = 2, 3


@pytest.fixture
def address() -> Iterator[str]:
    """The model's address, another for each test: LangChain keeps a client per address."""
    with small_model() as address:
        yield address


@pytest.fixture
async def chat(address: str) -> AsyncIterator[Any]:
    """The model, which is told to stop at some point: it may loop."""

    class Service:
        base_url = address

    async with Clients(Service()) as clients:  # type: ignore[arg-type]
        yield clients.chat(model=NAME, api_key=SecretStr("any"), temperature=0, max_tokens=96)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_a_real_model_runs_the_graph_end_to_end(
    chat: Any, make_store: Callable[..., MilvusStore], method: Any
) -> None:
    """Whatever it plans, the run is bounded, its tokens stream, and each `[n]` is a document."""
    store = make_store(local_embeddings)
    await store.aadd_documents(DOCUMENTS)
    graph = build_graph(
        Context(
            store=store,
            model=chat,
            structured_output=method,
            max_rounds=ROUNDS,
            max_subquestions=SUBQUESTIONS,
            model_timeout=600,
        )
    )
    tokens: list[str] = []
    output: Any = None
    async for mode, what in graph.astream(
        {"question": QUESTION}, stream_mode=["messages", "values"]
    ):
        if mode == "messages":
            tokens.append(what[0].text)
        else:
            output = what
    assert output["answered_by"] == "model"
    assert len([token for token in tokens if token]) > 1
    assert output["subquestions"][0]["text"] == QUESTION
    rounds = [one["round"] for one in output["subquestions"]]
    assert max(rounds) <= ROUNDS
    assert max(map(rounds.count, rounds)) <= SUBQUESTIONS
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", output["answer"])}
    assert cited == {one["n"] for one in output["citations"]}
    assert {one["id"] for one in output["citations"]} <= {one.id for one in DOCUMENTS}
