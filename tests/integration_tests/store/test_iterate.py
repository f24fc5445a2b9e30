"""Iterations over all Documents that match: each once, in bounded memory, with an end."""

import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore
from milvus_tools.errors import AnswerTooLargeError, FilterError, InvalidInputError
from milvus_tools.transport.requests import Deadline, QueryRequest, Row
from tests.helpers.support import texts
from tests.helpers.transports import Made, Recording

MakeStore = Callable[..., MilvusStore]
PAGE = 4


class Small(Recording):
    """Sends no more than three texts in an answer."""

    async def query(self, request: QueryRequest, deadline: Deadline) -> list[Row]:
        """Query, and fail as Milvus does."""
        rows = await super().query(request, deadline)
        if "text" in request.output_fields and len(rows) > 3:
            raise AnswerTooLargeError("The answer has more bytes than Milvus sends.")
        return rows


async def listed(documents: AsyncIterator[Document]) -> list[Document]:
    """Read them all."""
    return [document async for document in documents]


async def test_r32_every_document_is_yielded_once(
    make_store: MakeStore, shared: MilvusStore, backend: str
) -> None:
    """Async and blocking, within filters and the scope, whatever the keys; page by page."""
    made = Made(Recording)
    store = make_store(transport=made, collection_name=shared.collection_name)
    mine, other = store.scoped(r32="mine"), store.scoped(r32="other")
    ids = [f"r32 {odd}{n}" for n in range(3) for odd in ('"', "\\", "ü", "\U0001f989")]
    await mine.aadd_texts(ids, [{"n": n} for n in range(len(ids))], ids=ids)
    await other.aadd_texts(["other"], [{"n": 1}], ids=["r32 other"])
    made.one.sent.clear()
    found = await listed(mine.aiterate(batch_size=PAGE))
    assert sorted(texts(found)) == sorted(ids)
    asked = [one for one in made.one.sent if "text" in one.output_fields]
    if backend == "server":
        assert texts(found) == sorted(ids)
        assert {one.options["limit"] for one in asked} == {PAGE}
    else:
        assert [len(one.keys.values) for one in asked] == [PAGE] * 3
    assert [one.id for one in mine.iterate(batch_size=PAGE)] == [one.id for one in found]
    some = mine.iterate("n < 9", filter={"field": "n", "operator": "gt", "value": 6})
    assert sorted(texts(list(some))) == sorted(ids[7:9])
    assert list(mine.iterate("n < 0")) == []


async def test_r32_an_iteration_has_an_end_whatever_is_written_meanwhile(
    shared: MilvusStore,
) -> None:
    """The loop writes and deletes: none comes twice, and what stays comes."""
    ids = [f"r32 loop {n:02}" for n in range(10)]
    await shared.aadd_texts(ids, ids=ids)
    numbers = itertools.count()
    seen: list[str] = []
    async for document in shared.aiterate('pk like "r32 loop%"', batch_size=PAGE):
        seen.append(document.page_content)
        new = [f"r32 loop 9 {next(numbers):02}", f"r32 loop 0 {next(numbers):02}"]
        await shared.aadd_texts(["new"] * 2, ids=new)
        if document.id == ids[3]:
            await shared.adelete([ids[0], ids[5]])
    assert len(seen) < 30
    old = [text for text in seen if text != "new"]
    assert sorted(old) == [one for one in ids if one != ids[5]]


async def test_r36_answers_that_are_too_large_are_read_in_parts(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Pages and keys are halved until the answer can be sent, and fail no one who shares them."""
    store = make_store(transport=Made(Small), collection_name=shared.collection_name)
    view = store.scoped(r32="small")
    ids = [f"r32 small {n}" for n in range(7)]
    await view.aadd_texts(ids, ids=ids)
    assert texts(await view.aget_by_ids(ids)) == ids
    assert sorted(texts(await listed(view.aiterate(batch_size=7)))) == ids
    with pytest.raises(AnswerTooLargeError):
        await view.asearch_by_metadata()


async def test_r32_wrong_arguments_are_refused(shared: MilvusStore) -> None:
    """As those of other reads."""
    with pytest.raises(InvalidInputError, match="batch_size"):
        next(shared.iterate(batch_size=0))
    with pytest.raises(InvalidInputError, match="limit"):
        await anext(shared.aiterate(limit=3))
    with pytest.raises(FilterError):
        await anext(shared.aiterate("n == 1) or (n == 2"))
