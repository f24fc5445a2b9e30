"""LangChain's `index` and `aindex` over the store: what langchain-core's own suite covers."""

import asyncio
import dataclasses
import pathlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest
from langchain_classic.indexes import SQLRecordManager
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, RecordManager, aindex, index

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import UnavailableError
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import Deadline, DeleteRequest
from tests.helpers.transports import Recording

CLEANUPS = [None, "incremental", "full", "scoped_full"]


class Loader(BaseLoader):
    """Loads the same Documents each time."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents

    def lazy_load(self) -> Iterator[Document]:
        yield from self.documents


def documents(**sources: str) -> list[Document]:
    """Return a Document per text, with its source."""
    return [Document(text, metadata={"source": source}) for text, source in sources.items()]


@dataclasses.dataclass
class Indexed:
    """A scope of the shared collection, and the records of what is in it."""

    view: Any
    records: RecordManager
    face: str

    async def index(
        self, source: Iterable[Document] | AsyncIterator[Document] | BaseLoader, **arguments: Any
    ) -> dict[str, int]:
        """Index, async or sync, and return the numbers that are not 0."""
        arguments = {"key_encoder": "sha256", "source_id_key": "source", **arguments}
        if self.face == "async":
            told = await aindex(source, self.records, self.view, **arguments)
        else:
            told = await asyncio.to_thread(index, source, self.records, self.view, **arguments)
        return {name.removeprefix("num_"): number for name, number in told.items() if number}

    async def texts(self) -> list[str]:
        """Return the texts that are there."""
        found = await self.view.asearch_by_metadata(limit=1000)
        return sorted(one.page_content for one in found)


@pytest.fixture(params=["async", "sync"])
def face(request: pytest.FixtureRequest) -> str:
    """Use `aindex` with records in memory, and `index` with records in a database."""
    return str(request.param)


@pytest.fixture
def records(face: str, tmp_path: pathlib.Path) -> Iterator[RecordManager]:
    """Records of nothing."""
    if face == "async":
        yield InMemoryRecordManager("test")
        return
    made = SQLRecordManager("test", db_url=f"sqlite:///{tmp_path / 'records.sqlite'}")
    made.create_schema()
    yield made
    made.engine.dispose()


@pytest.fixture
def indexed(
    shared: MilvusStore, records: RecordManager, face: str, request: pytest.FixtureRequest
) -> Indexed:
    """A scope of the test's own, empty."""
    view: ScopedMilvusStore = shared.scoped(indexing=request.node.name, scoped_ids=True)
    return Indexed(view, records, face)


@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_what_is_indexed_is_skipped(indexed: Indexed, cleanup: str | None) -> None:
    """A loader's Documents are written once, and one that is there twice is one."""
    loader = Loader([*documents(a="1", b="2"), *documents(a="1")])
    assert await indexed.index(loader, cleanup=cleanup) == {"added": 2, "skipped": 1}
    assert await indexed.index(loader, cleanup=cleanup) == {"skipped": 3}
    assert await indexed.texts() == ["a", "b"]


@pytest.mark.parametrize(
    ("cleanup", "told", "left"),
    [
        (None, {"added": 1, "skipped": 1}, ["a", "b", "c", "new"]),
        ("incremental", {"added": 1, "skipped": 1, "deleted": 1}, ["b", "c", "new"]),
        ("scoped_full", {"added": 1, "skipped": 1, "deleted": 1}, ["b", "c", "new"]),
        ("full", {"added": 1, "skipped": 1, "deleted": 2}, ["b", "new"]),
    ],
)
async def test_each_clean_up_deletes_what_it_is_to(
    indexed: Indexed, cleanup: str | None, told: dict[str, int], left: list[str]
) -> None:
    """Source 1 changes, 2 stays, and 3 is not loaded again."""
    await indexed.index(documents(a="1", b="2", c="3"))
    changed = documents(new="1", b="2")
    assert await indexed.index(changed, cleanup=cleanup) == told
    assert await indexed.texts() == left
    assert await indexed.index(changed, cleanup=cleanup) == {"skipped": 2}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("cleanup", ["incremental", "scoped_full"])
async def test_a_source_may_take_several_batches(
    indexed: Indexed, cleanup: str, batch_size: int
) -> None:
    """What is the source's is deleted, whichever batch has its Documents.

    With `incremental`, the first batch deletes what the next ones have, and they write it again.
    """
    old, new = documents(a="1", b="1", c="1", d="1"), documents(w="1", x="1", y="1", z="1")
    sizes = {"cleanup": cleanup, "batch_size": batch_size, "cleanup_batch_size": 3}
    assert await indexed.index(old, **sizes) == {"added": 4}
    again = await indexed.index(old, **sizes)
    assert again.get("added", 0) == again.get("deleted", 0)
    assert again == {"skipped": 4} or cleanup == "incremental"
    assert await indexed.texts() == ["a", "b", "c", "d"]
    assert await indexed.index(new, **sizes) == {"added": 4, "deleted": 4}
    assert await indexed.texts() == ["w", "x", "y", "z"]


async def test_a_clean_up_takes_as_many_batches_as_it_needs(indexed: Indexed) -> None:
    """Of 17 Documents each, while 50 others are written."""
    old, new = (
        [Document(f"{kind} {number}", metadata={"source": "1"}) for number in range(50)]
        for kind in ("old", "new")
    )
    assert await indexed.index(old, cleanup="full") == {"added": 50}
    told = await indexed.index(new, cleanup="full", cleanup_batch_size=17)
    assert told == {"added": 50, "deleted": 50}
    assert await indexed.texts() == sorted(one.page_content for one in new)


async def test_an_update_can_be_forced(indexed: Indexed) -> None:
    """Each Document is written again under its key, so that none is there twice."""
    given = documents(a="1", b="2")
    await indexed.index(given, cleanup="full")
    (first,) = await indexed.view.asearch_by_metadata(expr="source == '1'")
    assert first.id is not None
    await indexed.view.aadd_texts(["changed"], [{"source": "1"}], ids=[first.id])
    assert await indexed.index(given, cleanup="full", force_update=True) == {"updated": 2}
    assert await indexed.texts() == ["a", "b"]


@pytest.mark.parametrize("cleanup", ["incremental", "scoped_full"])
async def test_without_sources_nothing_is_written(indexed: Indexed, cleanup: str) -> None:
    """Neither a key that is missing nor a Document without a source."""
    with pytest.raises(ValueError, match="Source id key is required"):
        await indexed.index(documents(a="1"), cleanup=cleanup, source_id_key=None)
    unsourced = Document("b", metadata={"source": None})
    with pytest.raises(ValueError, match="Source IDs are required"):
        await indexed.index([*documents(a="1"), unsourced], cleanup=cleanup)
    assert await indexed.texts() == []


async def test_a_source_may_be_told_by_a_function(indexed: Indexed) -> None:
    """What it returns is the group that is cleaned up."""

    def source(document: Document) -> str:
        return document.page_content[0]

    by_letter = {"cleanup": "incremental", "source_id_key": source}
    assert await indexed.index([Document("a1"), Document("b1")], **by_letter) == {"added": 2}
    assert await indexed.index([Document("a2")], **by_letter) == {"added": 1, "deleted": 1}
    assert await indexed.texts() == ["a2", "b1"]


@pytest.mark.parametrize(("cleanup", "deleted"), [("full", 1), ("scoped_full", 0), (None, 0)])
async def test_no_documents_clean_up_all_sources_or_none(
    indexed: Indexed, cleanup: str | None, deleted: int
) -> None:
    """Before the first write, too, when the collection need not exist."""
    assert await indexed.index(Loader([]), cleanup=cleanup) == {}
    await indexed.index(documents(a="1"))
    told = await indexed.index(Loader([]), cleanup=cleanup)
    assert told.get("deleted", 0) == deleted
    assert len(await indexed.texts()) == 1 - deleted


async def test_an_async_iterator_can_be_indexed(shared: MilvusStore) -> None:
    """By `aindex`."""

    async def loaded() -> AsyncIterator[Document]:
        for document in documents(a="1", b="2"):
            yield document

    view = shared.scoped(indexing="async iterator", scoped_ids=True)
    indexed = Indexed(view, InMemoryRecordManager("test"), "async")
    assert await indexed.index(loaded(), cleanup="full") == {"added": 2}
    assert await indexed.texts() == ["a", "b"]


async def test_the_batch_size_and_further_arguments_reach_the_store(
    make_store: Callable[..., MilvusStore], shared: MilvusStore, face: str, records: RecordManager
) -> None:
    """A batch of LangChain's is one request, with the call's own `timeout`."""
    made: list[Recording] = []

    def transport(connection: Any) -> Recording:
        made.append(Recording(connection))
        return made[-1]

    store = make_store(collection_name=shared.collection_name, transport=transport)
    await shared.aadd_texts(["there before"], ids=[f"index batches {face}"])
    view = store.scoped(indexing=f"batches {face}", scoped_ids=True)
    options = {"batch_size": 2, "upsert_kwargs": {"timeout": 200}}
    assert await Indexed(view, records, face).index(documents(a="1", b="1", c="1"), **options) == {
        "added": 3
    }
    sent = [len(one.rows) for one in made[0].sent if hasattr(one, "rows")]
    assert sent == [2, 1]
    late = [
        deadline.remaining
        for one, deadline in zip(made[0].sent, made[0].deadlines, strict=True)
        if hasattr(one, "rows")
    ]
    assert all(seconds > 30 for seconds in late)


class _FailingDeletes(DirectTransport):
    """Refuses the first delete."""

    failed = False

    async def delete(self, request: DeleteRequest, deadline: Deadline) -> int:
        """Delete, from the second time on."""
        if not self.failed:
            self.failed = True
            raise UnavailableError("refused")
        return await super().delete(request, deadline)


async def test_a_clean_up_that_failed_is_made_up_for(
    make_store: Callable[..., MilvusStore], shared: MilvusStore, face: str, records: RecordManager
) -> None:
    """The error reaches the caller, no record is lost, and the next run deletes."""
    store = make_store(collection_name=shared.collection_name, transport=_FailingDeletes)
    view = store.scoped(indexing=f"failing {face}", scoped_ids=True)
    indexed = Indexed(view, records, face)
    await indexed.index(documents(a="1", b="1"), cleanup="full")
    with pytest.raises(UnavailableError, match="refused"):
        await indexed.index(documents(a="1"), cleanup="full")
    assert await indexed.index(documents(a="1"), cleanup="full") == {"skipped": 1, "deleted": 1}
    assert await indexed.texts() == ["a"]
