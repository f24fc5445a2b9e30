"""Whatever calls share requests, each caller gets what a lone call would have got."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from milvus_tools import BatchingEmbeddings
from tests.helpers.fake_embeddings import (
    BAD,
    FakeModel,
    QueriesModel,
    StatusError,
    document_vector,
    query_vector,
    too_many,
)

BOUND = 30.0  # seconds within which whatever ends at all has ended
TEXT = st.sampled_from(["a", "b", "c", "dd", "", BAD]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)


@dataclasses.dataclass(frozen=True)
class Call:
    """A query, or documents if there are several texts; `turns` of the loop after the others."""

    texts: str | tuple[str, ...]
    turns: int
    cancelled: bool

    async def make(self, embeddings: BatchingEmbeddings) -> Any:
        """Make it on a loop."""
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if isinstance(self.texts, str):
            return await embeddings.aembed_query(self.texts)
        return await embeddings.aembed_documents(list(self.texts))

    def make_and_wait(self, embeddings: BatchingEmbeddings) -> Any:
        """Make it in a thread; return what it raises."""
        try:
            if isinstance(self.texts, str):
                return embeddings.embed_query(self.texts)
            return embeddings.embed_documents(list(self.texts))
        except StatusError as error:
            return error

    def lone_answer(self, embed_query: Callable[[str], list[float]]) -> Any:
        """Return what it gets without company, or the status that it fails with."""
        if BAD in ([self.texts] if isinstance(self.texts, str) else self.texts):
            return 400
        if isinstance(self.texts, str):
            return embed_query(self.texts)
        return [document_vector(text) for text in self.texts]


CALLS = st.lists(
    st.builds(
        Call,
        texts=TEXT | st.lists(TEXT, max_size=12).map(tuple),
        turns=st.integers(0, 3),
        cancelled=st.booleans(),
    ),
    max_size=20,
)
MODELS = st.sampled_from(
    [
        (FakeModel, True, document_vector),
        (FakeModel, None, query_vector),
        (QueriesModel, None, query_vector),
    ]
)
LIMITS = st.fixed_dictionaries(
    {"max_batch_size": st.integers(1, 6), "max_in_flight": st.integers(1, 3)}
)


async def make_all(embeddings: BatchingEmbeddings, calls: Sequence[Call]) -> list[Any]:
    """Make calls at once, and cancel some of them on the way."""
    tasks = [asyncio.create_task(call.make(embeddings)) for call in calls]
    await asyncio.sleep(0)
    for call, task in zip(calls, tasks, strict=True):
        if call.cancelled:
            task.cancel()
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), BOUND)


def make_in_threads(embeddings: BatchingEmbeddings, calls: Sequence[Call]) -> list[Any]:
    """Make each call in a thread of its own."""
    results: list[Any] = [None] * len(calls)

    def make(number: int) -> None:
        results[number] = calls[number].make_and_wait(embeddings)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    return results


def told(outcome: Any) -> Any:
    """Return a vector or vectors, or the status of an error."""
    return outcome.response.status_code if isinstance(outcome, StatusError) else outcome


@settings(max_examples=150)
@given(calls=CALLS, kind=MODELS, limits=LIMITS, overloads=st.integers(0, 4))
def test_each_caller_gets_exactly_what_a_lone_call_gets(
    calls: list[Call], kind: Any, limits: dict[str, int], overloads: int
) -> None:
    """With bad texts, duplicates, cancelled callers and an overloaded service, in any order."""
    make_model, embeds_alike, embed_query = kind
    model = make_model(*[too_many() for _ in range(overloads)])
    embeddings = BatchingEmbeddings(model, embeds_alike=embeds_alike, **limits)
    outcomes = asyncio.run(make_all(embeddings, calls))
    embeddings.close()
    for call, outcome in zip(calls, outcomes, strict=True):
        if not isinstance(outcome, asyncio.CancelledError):
            assert told(outcome) == call.lone_answer(embed_query)
        else:
            assert call.cancelled
    assert model.at_work == 0
    assert model.most_at_work <= 2 * limits["max_in_flight"]


@settings(max_examples=30)
@given(calls=CALLS, kind=MODELS, limits=LIMITS, overloads=st.integers(0, 4))
def test_threads_get_exactly_what_lone_calls_get(
    calls: list[Call], kind: Any, limits: dict[str, int], overloads: int
) -> None:
    """The same by the sync methods."""
    make_model, embeds_alike, embed_query = kind
    model = make_model(*[too_many() for _ in range(overloads)])
    embeddings = BatchingEmbeddings(model, embeds_alike=embeds_alike, **limits)
    outcomes = make_in_threads(embeddings, calls)
    embeddings.close()
    for call, outcome in zip(calls, outcomes, strict=True):
        assert told(outcome) == call.lone_answer(embed_query)
    assert len(model.loops) <= 1
