"""Reads and deletes by the value of one field: many share a request, and each gets its own."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import MilvusToolsError
from milvus_tools.filters import Condition, Operator
from milvus_tools.transport.batching import BatchedTransport
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, Hit, QueryRequest, SearchRequest
from tests.helpers.support import embeddings

MakeStore = Callable[..., MilvusStore]
# Some of which are equal to Milvus alone, or to Python alone.
VALUES: list[Any] = [*("a", "b", 'q"x', "", "2"), *(2, 2.0, 0, 1, True, False, -7, [2], {"a": 2})]
ASKED = [*("'a'", '"b"', "'q\"x'", '""', '"2"', '"none"'), *("2", "0", "1", "-7", "9")]


@pytest.fixture
def view(shared: MilvusStore, request: pytest.FixtureRequest) -> ScopedMilvusStore:
    """A scope of the test's own."""
    return shared.scoped({"case": request.node.nodeid}, scoped_ids=True)


def documents(*values: object, prefix: str = "") -> list[Document]:
    """Return a Document for each value."""
    return [
        Document(id=f"{prefix}{number}", page_content="text", metadata={"value": value})
        for number, value in enumerate(values)
    ]


def ids_of(found: list[Document]) -> set[str | None]:
    """Return the ids of Documents."""
    return {one.id for one in found}


async def test_shared_reads_equal_lone_ones(view: ScopedMilvusStore) -> None:
    """By strings, numbers, and ids; values that are equal to Milvus are found as it finds them."""
    await view.aadd_documents(documents(*VALUES, None))
    expressions = [f"value == {one}" for one in ASKED] * 2
    alone = [ids_of(await view.asearch_by_metadata(one)) for one in expressions]
    at_once = await asyncio.gather(*(view.asearch_by_metadata(one) for one in expressions))
    assert list(map(ids_of, at_once)) == alone
    keys = await asyncio.gather(*(view.aget_pks(one) for one in expressions))
    assert list(map(set, keys)) == alone
    typed = await asyncio.gather(
        *(
            view.asearch_by_metadata(filter=Condition("value", Operator.EQ, one))
            for one in ("a", "b", "none")
        )
    )
    assert list(map(ids_of, typed)) == [{"0"}, {"1"}, set()]
    assert [one.metadata["value"] for one in at_once[0]] == ["a"]


async def test_reads_by_value_share_a_request(
    shared: MilvusStore, view: ScopedMilvusStore
) -> None:
    """A hundred at once are a few requests, also if a page has an offset, which goes alone."""
    await view.aadd_documents(documents("a", "b", "b"))
    before = shared.stats.by_value
    calls = [view.asearch_by_metadata(f'value == "{one}"') for one in "ab" * 50]
    page = view.asearch_by_metadata('value == "b"', limit=2, offset=1)
    *found, second = await asyncio.gather(*calls, page)
    assert list(map(len, found)) == [1, 2] * 50
    assert len(second) == 1
    assert shared.stats.by_value.calls - before.calls == 100
    assert shared.stats.by_value.batches - before.batches <= 25


async def test_many_rows_of_one_value_hide_no_others(view: ScopedMilvusStore) -> None:
    """Each read finds as many rows as its limit lets it, whatever the others find."""
    await view.aadd_documents(documents(*["often"] * 30, "once", "twice", "twice"))
    limits = {"often": 3, "once": 1, "twice": 2}
    found = await asyncio.gather(
        *(
            view.asearch_by_metadata(f'value == "{one}"', limit=limit)
            for one, limit in limits.items()
        )
    )
    assert [[one.metadata["value"] for one in some] for some in found] == [
        [value] * limit for value, limit in limits.items()
    ]


async def test_scopes_share_no_reads_by_value(view: ScopedMilvusStore) -> None:
    """Each finds and deletes its own rows, though their values are the same."""
    tenants = [view.scoped({"tenant": one}) for one in ("a", "b")]
    for one, tenant in enumerate(tenants, 1):
        await tenant.aadd_documents(documents(*["same"] * one, prefix="ab"[one - 1]))
    found = await asyncio.gather(*(one.asearch_by_metadata('value == "same"') for one in tenants))
    assert list(map(ids_of, found)) == [{"a0"}, {"b0", "b1"}]
    assert [r.count for r in await _deleted(tenants, ['value == "same"'])] == [1, 2]


async def test_overlapping_deletes_at_once_count_each_row_once(view: ScopedMilvusStore) -> None:
    """Each counts rows that its own filter matched, and the counts add up to the rows."""
    values = [f"v{number % 5}" for number in range(20)]
    await view.aadd_documents(documents(*values))
    expressions = [
        *(f'value == "v{number}"' for number in range(4)),
        *('value == "v0"', 'value == "v9"', 'value in ["v1", "v2"]'),
    ]
    counts = [result.count for result in await _deleted([view], expressions)]
    v0, v1, v2, v3, v0_too, v9, v1_or_v2 = counts
    assert (v0 + v0_too, v3, v9) == (4, 4, 0)
    assert v1 + v2 + v1_or_v2 == 8
    assert max(v1, v2) <= 4
    left = await view.asearch_by_metadata(limit=100, consistency_level="Strong")
    assert {one.metadata["value"] for one in left} == {"v4"}
    assert len(left) == 4


async def test_a_failing_filter_fails_its_caller_alone(view: ScopedMilvusStore) -> None:
    """Reads and deletes that are made with it go on."""
    await view.aadd_documents(documents("a", "b"))
    expressions = ['value == "a"', 'value == "b', 'value === "b"', 'value == "b"']
    for call, sizes in ((view.asearch_by_metadata, len), (view.adelete, lambda one: one.count)):
        results = await asyncio.gather(
            *(call(expr=one) for one in expressions), return_exceptions=True
        )
        first, *wrong, last = results
        assert [sizes(first), sizes(last)] == [1, 1]  # type: ignore[operator]
        assert all(isinstance(one, MilvusToolsError) for one in wrong)


async def test_a_cancelled_read_does_not_harm_those_that_share_its_request(
    make_store: MakeStore, shared: MilvusStore, view: ScopedMilvusStore
) -> None:
    """They are answered; if all are cancelled, so is the request."""
    begun, gate = asyncio.Event(), asyncio.Event()
    cancelled: list[QueryRequest] = []

    class Gated(DirectTransport):
        async def query(self, request: QueryRequest, deadline: Deadline) -> list[Any]:
            if request.equality is not None:
                begun.set()
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    cancelled.append(request)
                    raise
            return await super().query(request, deadline)

    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: BatchedTransport(Gated(connection), lite=True),
    )
    await view.aadd_documents(documents("a", "b"))
    gated = store.scoped(view.scope, scoped_ids=True)

    async def story() -> set[str | None]:
        calls = [gated.asearch_by_metadata(f'value == "{one}"') for one in "abab"]
        a, b, *both = map(asyncio.create_task, calls)
        await begun.wait()
        a.cancel()
        await asyncio.wait([a])
        gate.set()
        found = ids_of(await b)
        await asyncio.gather(*both)
        begun.clear()
        gate.clear()
        some = [asyncio.create_task(gated.asearch_by_metadata('value == "a"')) for _ in range(3)]
        await begun.wait()
        for one in some:
            one.cancel()
        await asyncio.wait(some)
        return found

    assert await store._run(lambda _: story(), None) == {"1"}
    assert len(cancelled) == 1


async def test_vectors_of_hits_are_rows_of_one_array(
    make_store: MakeStore, shared: MilvusStore, view: ScopedMilvusStore
) -> None:
    """Each hit has its own vector, in whichever answer of a request it is."""
    answers: list[list[Hit]] = []

    class Kept(DirectTransport):
        async def search(self, requests: Sequence[SearchRequest], deadline: Deadline) -> Any:
            found = await super().search(requests, deadline)
            answers.extend(found)
            return found

    store = make_store(
        collection_name=shared.collection_name,
        transport=lambda connection: BatchedTransport(Kept(connection), lite=True),
    )
    kept = store.scoped(view.scope, scoped_ids=True)
    texts = ["owl", "kite", "merlin"]
    await view.aadd_texts(texts, ids=texts)
    await asyncio.gather(*(kept.amax_marginal_relevance_search(one, k=2) for one in texts))
    assert len(answers) == 3
    for row, _ in (hit for hits in answers for hit in hits):
        assert isinstance(row["vector"], np.ndarray)
        expected = embeddings().embed_documents([row["text"]])[0]
        np.testing.assert_allclose(row["vector"], expected, rtol=1e-5)
    assert all(len(hits) == 3 for hits in answers)


async def _deleted(views: list[ScopedMilvusStore], expressions: list[str]) -> list[Any]:
    return await asyncio.gather(*(view.adelete(expr=one) for view in views for one in expressions))
