"""`BatchingEmbeddings` round LangChain's OpenAI client, against the scripted service."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import openai
import pytest

from milvus_tools import BatchingEmbeddings, MilvusStore
from milvus_tools._io.loop import THREAD_NAME, run_sync
from milvus_tools.embeddings.source import Vector
from milvus_tools.errors import DimensionError
from tests.helpers.fake_embeddings import outcomes
from tests.helpers.openai_answers import unit_vector
from tests.helpers.openai_clients import Clients
from tests.helpers.openai_service import DROP, EMBEDDINGS, OpenAIService
from tests.helpers.support import DIM, ON_LITE, texts
from tests.helpers.threads import BOUND, in_threads, run_python

MANY = 100
TEXTS = [f"text {number}" for number in range(MANY)]
Make = Callable[..., BatchingEmbeddings]


@pytest.fixture
def service() -> Iterator[OpenAIService]:
    """A service that embeds."""
    with OpenAIService(dim=DIM) as service:
        yield service


@pytest.fixture
def clients(service: OpenAIService) -> Iterator[Clients]:
    """Clients of the service, which are used and closed on the I/O loop."""
    clients = Clients(service)
    yield clients
    run_sync(clients.__aexit__())


@pytest.fixture
def make(clients: Clients) -> Iterator[Make]:
    """Make embeddings round a client that has, or has not, retries of its own."""
    made: list[BatchingEmbeddings] = []

    def one(max_retries: int = 2, base_url: str = "", **arguments: Any) -> BatchingEmbeddings:
        there = {"base_url": base_url} if base_url else {}
        model = clients.embeddings(max_retries=max_retries, **there)
        made.append(BatchingEmbeddings(model, **arguments))
        return made[-1]

    yield one
    for embeddings in made:
        embeddings.close()
    for thread in threading.enumerate():
        if thread.name.startswith(THREAD_NAME):
            thread.join(BOUND)
            assert not thread.is_alive()


def require_vectors(vectors: Sequence[Vector], embedded: list[str]) -> None:
    """Demand the vectors that the service makes of the texts."""
    assert len(vectors) == len(embedded)
    for vector, text in zip(vectors, embedded, strict=True):
        assert np.array_equal(np.asarray(vector, np.float32), unit_vector(text, DIM))


async def queries(embeddings: BatchingEmbeddings, asked: list[str]) -> list[list[float]]:
    """Embed queries at the same time."""
    return await asyncio.gather(*map(embeddings.aembed_query, asked))


# Sharing.


async def test_a_hundred_queries_are_one_request(service: OpenAIService, make: Make) -> None:
    """Each gets the vector that it would have got alone."""
    embeddings = make()
    require_vectors(await queries(embeddings, TEXTS), TEXTS)
    assert service.embedding_inputs == [TEXTS]
    assert embeddings.stats.batches == 1


def test_t58_one_wrapped_client_outlives_the_loops_that_call_it(
    service: OpenAIService, make: Make
) -> None:
    """Three `asyncio.run` in a row, and a sync call, through connections that are kept."""
    embeddings = make()
    for _ in range(3):
        require_vectors(asyncio.run(queries(embeddings, TEXTS)), TEXTS)
    require_vectors([embeddings.embed_query("sync")], ["sync"])
    assert service.requests[EMBEDDINGS] == 4


def test_threads_share_one_client(service: OpenAIService, make: Make) -> None:
    """Eight threads, half of them with loops of their own; no call fails."""
    embeddings = make()

    def sync(name: str) -> None:
        for text in TEXTS[:10]:
            require_vectors([embeddings.embed_query(name + text)], [name + text])

    def with_loop(name: str) -> None:
        asked = [name + text for text in TEXTS]
        require_vectors(asyncio.run(queries(embeddings, asked)), asked)

    calls = [sync, with_loop] * 4
    in_threads(*(lambda call=call, at=at: call(f"{at} ") for at, call in enumerate(calls)))
    assert embeddings.stats.calls == 4 * 10 + 4 * MANY
    assert service.requests[EMBEDDINGS] <= 4 * 10 + 4


FORKED = """
import os, asyncio
from milvus_tools import BatchingEmbeddings
from tests.helpers.fake_embeddings import FakeModel

model = BatchingEmbeddings(FakeModel())
before = model.embed_query("text")
child = os.fork()
same = model.embed_query("text") == before == asyncio.run(model.aembed_query("text"))
model.close()
if child:
    same = same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(same)
else:
    os._exit(not same)
"""


def test_a_child_can_use_embeddings_that_were_forked_in_use() -> None:
    """It gets an I/O loop of its own; the parent goes on with the one it had."""
    assert run_python(FORKED).split() == ["True"]


# A busy service.


async def test_a_service_that_takes_eight_at_a_time_refuses_none(
    service: OpenAIService, make: Make
) -> None:
    """Queries and documents together stay within their bounds."""
    service.max_concurrent = 8
    service.refuse_when_full = True
    embeddings = make(0, max_batch_size=3, max_in_flight=4, retries=0)
    loaded, asked = await asyncio.gather(
        embeddings.aembed_documents(TEXTS), queries(embeddings, TEXTS)
    )
    require_vectors([*loaded, *asked], TEXTS * 2)
    assert service.requests[EMBEDDINGS] == 2 * 34
    assert service.most_in_flight <= 8


async def test_slots_overlap_in_the_service(service: OpenAIService, make: Make) -> None:
    """Four requests really are under way together."""
    service.meet(4)
    require_vectors(await make(max_batch_size=25).aembed_documents(TEXTS), TEXTS)
    assert service.most_at_work == 4


@pytest.mark.parametrize("max_retries", [2, 0])
async def test_a_429_is_waited_out(service: OpenAIService, make: Make, max_retries: int) -> None:
    """As long as the service asks, by the client or by us: one more request for each refusal."""
    service.fail_next(2)
    require_vectors(await queries(make(max_retries), TEXTS), TEXTS)
    assert service.embedding_inputs == [TEXTS] * 3


@pytest.mark.parametrize(
    ("max_retries", "retries", "requests"), [(2, None, 3), (0, None, 5), (1, 1, 4), (0, 0, 1)]
)
async def test_retries_are_not_multiplied(
    service: OpenAIService, make: Make, max_retries: int, retries: int | None, requests: int
) -> None:
    """The client's own count alone, or ours alone, or both if the caller says so."""
    service.fail_next(99)
    for error in await outcomes(*map(make(max_retries, retries=retries).aembed_query, "abc")):
        assert isinstance(error, openai.RateLimitError)
    assert service.requests[EMBEDDINGS] == requests


@pytest.mark.parametrize("status", [DROP, 500])
async def test_what_broke_is_sent_again(service: OpenAIService, make: Make, status: int) -> None:
    """A dropped connection, or a failure: after a random time, which grows."""
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    service.fail_next(2, status)
    require_vectors(await queries(make(0, sleep=sleep), TEXTS), TEXTS)
    assert service.embedding_inputs == [TEXTS] * 3
    assert [seconds <= bound for seconds, bound in zip(waits, [1, 2], strict=True)] == [True] * 2


async def test_a_service_that_is_gone_is_said_to_be(make: Make) -> None:
    """The client's error reaches every caller as it is."""
    with OpenAIService() as gone:
        address = gone.base_url
    embeddings = make(0, retries=0, base_url=address)
    for error in await outcomes(*map(embeddings.aembed_query, "abc")):
        assert isinstance(error, openai.APIConnectionError)
        assert type(error.__cause__).__name__ == "ConnectError"


# A bad text.


async def test_a_text_that_the_service_refuses_fails_alone(
    service: OpenAIService, make: Make
) -> None:
    """An empty one is a 400 for its whole batch, which is sent one by one, once."""
    first, bad, last = await outcomes(*map(make().aembed_query, ["a", "", "c"]))
    require_vectors([first, last], ["a", "c"])
    assert isinstance(bad, openai.BadRequestError)
    assert service.embedding_inputs[0] == ["a", "", "c"]
    assert sorted(service.embedding_inputs[1:]) == [[""], ["a"], ["c"]]


async def test_a_text_that_can_not_be_sent_fails_alone(service: OpenAIService, make: Make) -> None:
    """Half a surrogate pair is no Unicode, so the client refuses the whole batch."""
    first, bad, last = await outcomes(*map(make().aembed_query, ["a", "\ud83d", "c"]))
    require_vectors([first, last], ["a", "c"])
    assert isinstance(bad, UnicodeEncodeError)
    assert sorted(service.embedding_inputs) == [["a"], ["c"]]


# What comes back.


@pytest.mark.parametrize("numbers_only", [False, True])
async def test_lists_for_langchain_and_arrays_for_the_store(
    service: OpenAIService, make: Make, *, numbers_only: bool
) -> None:
    """The same float32 values, whether the service sends base64, as it is asked to, or numbers."""
    service.numbers_only = numbers_only
    embeddings = make()
    for vectors in (
        await embeddings.aembed_documents(TEXTS),
        [await embeddings.aembed_query(TEXTS[0])],
        await asyncio.to_thread(embeddings.embed_documents, TEXTS),
        [await asyncio.to_thread(embeddings.embed_query, TEXTS[0])],
    ):
        require_vectors(vectors, TEXTS[: len(vectors)])
        assert all(type(value) is float for value in vectors[0])
    for query in (False, True):
        arrays = await embeddings.avectors(TEXTS, query=query)
        require_vectors(arrays, TEXTS)
        if not numbers_only:
            assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


async def test_a_model_is_asked_as_it_was_set_up(service: OpenAIService, clients: Clients) -> None:
    """Its dimensions, its chunk size and its further arguments count."""
    options = {"dimensions": 3, "chunk_size": 2, "model_kwargs": {"user": "tests"}}
    plain = clients.embeddings(**options)
    embeddings = BatchingEmbeddings(plain)
    vectors = await embeddings.aembed_documents(["a", "b", "c"])
    assert vectors == await asyncio.to_thread(plain.embed_documents, ["a", "b", "c"])
    assert service.embedding_inputs == [["a", "b"], ["c"]] * 2
    await embeddings.aclose()


async def test_an_answer_without_vectors_is_an_error(service: OpenAIService, make: Make) -> None:
    """Some services answer 200 with an error in it."""
    service.empty = True
    with pytest.raises(DimensionError, match="0 vectors of 1 text"):
        await make().aembed_documents(["a"])


# A store's model.


@ON_LITE
async def test_a_store_can_have_it_as_its_model(
    service: OpenAIService, make: Make, make_store: Callable[..., MilvusStore]
) -> None:
    """It writes and finds by it, with sync calls too, and closing the store leaves it open."""
    embeddings = make()
    store = make_store(embeddings)
    await store.aadd_texts(TEXTS, ids=TEXTS)
    found = await asyncio.gather(*(store.asimilarity_search(text, k=1) for text in TEXTS))
    assert [texts(documents) for documents in found] == [[text] for text in TEXTS]
    assert texts(await asyncio.to_thread(store.similarity_search, "text 7", k=1)) == ["text 7"]
    assert embeddings.stats.calls == MANY + 1
    assert service.requests[EMBEDDINGS] == 1 + embeddings.stats.batches
    await store.aclose()
    require_vectors([await embeddings.aembed_query("still")], ["still"])
