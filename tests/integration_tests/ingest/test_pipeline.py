"""Loading: any input, bounded, overlapping, and honest about what was written."""

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from milvus_tools import MilvusStore
from milvus_tools._io.iterables import THREAD_NAME
from milvus_tools.errors import EmbeddingError, InvalidInputError, PartialWriteError
from milvus_tools.ingest import IngestProgress, aingest, content_id, ingest
from tests.helpers.support import DIM, ON_LITE, CountingEmbeddings, embeddings, texts_of
from tests.helpers.threads import BOUND, happens, run_python

MakeStore = Callable[..., MilvusStore]
BAD = "bad"


class Gated(Embeddings):
    """Embeds documents when the test lets it, and counts how many requests are under way.

    Attributes:
        asked: Released at each request.
        most: The most requests that were under way at once.
        seen: The texts.
    """

    def __init__(self, *, is_open: bool = True, slow: str = "") -> None:
        """Be open or not.

        Args:
            is_open: Whether requests are answered before `let_go`.
            slow: A text whose request waits for `let_go` in any case.
        """
        self._model = embeddings()
        self._slow = slow
        self._gate = threading.Event()
        self._is_open = is_open
        self.asked = threading.Semaphore(0)
        self.now = self.most = 0
        self.seen: list[str] = []

    def let_go(self) -> None:
        """Answer what waits, and what comes."""
        self._gate.set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        """Embed."""
        return self._model.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed, or fail at a bad text."""
        self.seen += texts
        self.now += 1
        self.most = max(self.most, self.now)
        self.asked.release()
        try:
            if not self._is_open or self._slow in texts:
                assert await happens(self._gate)
        finally:
            self.now -= 1
        if BAD in texts:
            raise ValueError("The model does not like a text.")
        return self._model.embed_documents(texts)


class Source:
    """An input of Documents that tells how far it was read and whether it was closed."""

    def __init__(self, documents: Iterable[Document]) -> None:
        """Have been read not at all."""
        self._documents = documents
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[Document]:
        """Read it."""
        try:
            for document in self._documents:
                self.read += 1
                yield document
        finally:
            self.closed = True

    async def awaited(self) -> AsyncIterator[Document]:
        """Read it on the event loop."""
        try:
            for document in self._documents:
                await asyncio.sleep(0)
                self.read += 1
                yield document
        finally:
            self.closed = True


def documents(prefix: str, count: int, *, ids: bool = True) -> Iterator[Document]:
    """Yield Documents that differ."""
    for number in range(count):
        yield Document(
            f"{prefix} {number}",
            id=f"{prefix}-{number:04}" if ids else None,
            metadata={"n": number},
        )


@pytest.mark.parametrize("kind", ["list", "generator", "async"])
async def test_any_input_is_loaded_whole(shared: MilvusStore, kind: str) -> None:
    """A list, a generator and an async one end up in the collection, with progress on the way."""
    prefix = f"load-{kind}"
    source = documents(prefix, 25)
    given = {"list": list, "generator": iter, "async": lambda one: Source(one).awaited()}
    told: list[IngestProgress] = []
    result = await aingest(shared, given[kind](source), batch_size=10, on_progress=told.append)
    assert (result.written, result.skipped, result.batches) == (25, 0, 3)
    assert sorted(one.batches for one in told) == [1, 2, 3]
    assert told[-1].written == 25
    ids = [f"{prefix}-{number:04}" for number in range(25)]
    found = await shared.aget_by_ids(ids)
    assert [(one.id, one.metadata["n"]) for one in found] == list(zip(ids, range(25), strict=True))


async def test_the_sync_load_works_beside_a_running_loop(shared: MilvusStore) -> None:
    """It waits in the caller's thread; the input is read in another, not on the I/O loop."""
    threads: set[str] = set()

    def read() -> Iterator[Document]:
        for document in documents("sync", 5):
            threads.add(threading.current_thread().name)
            yield document

    assert ingest(shared, read(), batch_size=2).written == 5
    assert len(threads) == 1
    assert await texts_of(shared, "sync-0000", "sync-0004") == ["sync 0", "sync 4"]
    assert threads.isdisjoint({"milvus-tools", threading.current_thread().name})


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_t51_no_more_is_read_than_is_under_way(
    make_store: MakeStore, shared: MilvusStore, kind: str
) -> None:
    """With three batches in flight all three are embedded at once, and nothing is read ahead."""
    model = Gated(is_open=False)
    store = make_store(model, collection_name=shared.collection_name, batching=False)
    source = Source(documents(f"ahead-{kind}", 200))
    given = source if kind == "sync" else source.awaited()
    load = asyncio.create_task(aingest(store, given, batch_size=10, max_in_flight=3))
    for _ in range(3):
        assert await asyncio.to_thread(model.asked.acquire, timeout=BOUND)
    assert source.read == 30
    model.let_go()
    result = await load
    assert (result.written, model.most) == (200, 3)
    assert source.closed


async def test_t51_batches_of_one_big_write_are_embedded_while_others_are_written(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Eight at once; ids come back in the order given, and of one id the last row stays."""
    model = Gated(is_open=False)
    store = make_store(model, collection_name=shared.collection_name, batching=False)
    many = [*documents("big", 58), Document("first, again", id="big-0000"), Document("unnamed")]
    write = asyncio.create_task(store.aadd_documents(many, batch_size=6))
    for _ in range(8):
        assert await asyncio.to_thread(model.asked.acquire, timeout=BOUND)
    model.let_go()
    ids = await write
    assert model.most == 8
    assert ids[:-1] == [*(f"big-{number:04}" for number in range(58)), "big-0000"]
    assert await texts_of(shared, *ids[:2], ids[-1]) == ["first, again", "big 1", "unnamed"]


async def test_a_bad_document_late_in_a_big_write_prevents_it_all(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Every Document is checked before the first is embedded."""
    model = Gated()
    store = make_store(model, collection_name=shared.collection_name)
    await shared.aadd_texts(["old"], ids=["late-old"])  # makes the collection, if need be
    many = [*documents("late", 30), Document("worse", id="late-x", metadata={"set": {1}})]
    with pytest.raises(InvalidInputError, match="set"):
        await store.aadd_documents(many, batch_size=4)
    assert not model.seen
    assert await shared.acount('pk like "late-0%"') == 0


async def test_a_big_write_that_fails_says_which_ids_it_wrote(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """In the order given, and exactly those that are there."""
    store = make_store(Gated(), collection_name=shared.collection_name)
    many = list(documents("half", 40))
    many[33] = Document(BAD, id="half-0033")
    with pytest.raises(PartialWriteError, match="of 40 entities were written") as caught:
        await store.aadd_documents(many, batch_size=4)
    assert isinstance(caught.value.__cause__, EmbeddingError)
    written = caught.value.written
    assert written == sorted(written)
    assert await shared.aexisting_ids([f"half-{number:04}" for number in range(40)]) == {*written}


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_load_that_fails_is_completed_by_a_second_run(
    make_store: MakeStore, shared: MilvusStore, kind: str
) -> None:
    """The error has the ids that are there, no more is read, and the rest alone is embedded."""
    view = shared.scoped(test=f"again-{kind}")
    made = [*documents(f"again {kind}", 60, ids=False)]
    source = Source([*made[:25], Document(BAD), *made[25:]])
    model = Gated()
    store = make_store(model, collection_name=shared.collection_name)
    failing = store.scoped(test=f"again-{kind}")
    given = source if kind == "sync" else source.awaited()
    with pytest.raises(PartialWriteError, match="were written before an error") as caught:
        await aingest(failing, given, batch_size=5, max_in_flight=2)
    assert isinstance(caught.value.__cause__, EmbeddingError)
    assert source.closed
    assert source.read < 50
    there = set(caught.value.written)
    assert there == set(await view.aget_pks("n >= 0"))
    model.seen.clear()
    result = await aingest(failing, made, batch_size=5, skip_existing=True)
    assert (result.written, result.skipped) == (60 - len(there), len(there))
    assert len(model.seen) == 60 - len(there)
    assert await view.acount() == 60
    assert (await aingest(failing, made)).written == 60
    assert await view.acount() == 60


async def test_a_callback_that_fails_ends_the_load(shared: MilvusStore) -> None:
    """Its error is the cause, and the ids are there all the same."""
    source = Source(documents("callback", 50))

    def fail(progress: IngestProgress) -> None:
        raise ZeroDivisionError(progress.written)

    with pytest.raises(PartialWriteError, match="ZeroDivisionError") as caught:
        await aingest(shared, source, batch_size=5, max_in_flight=2, on_progress=fail)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert source.closed
    assert source.read <= 15
    assert await shared.aexisting_ids(caught.value.written) == set(caught.value.written)
    assert caught.value.written


async def test_an_input_that_fails_ends_the_load(shared: MilvusStore) -> None:
    """Documents read before are written; with none written its error comes unchanged."""

    def broken(count: int) -> Iterator[Document]:
        yield from documents("broken", count)
        raise ZeroDivisionError

    with pytest.raises(PartialWriteError, match=r"4 entities .*ZeroDivisionError") as caught:
        await aingest(shared, broken(5), batch_size=2)
    assert caught.value.written == [f"broken-{number:04}" for number in range(4)]
    with pytest.raises(ZeroDivisionError):
        await aingest(shared, broken(1), batch_size=2)


async def test_a_later_document_of_the_same_id_wins(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Though the embedding of the earlier one takes longer than that of the later."""
    model = Gated(slow="earlier")
    store = make_store(model, collection_name=shared.collection_name, batching=False)
    given = [
        Document("earlier", id="twice-1"),
        Document("other", id="twice-2"),
        Document("later", id="twice-1"),
    ]
    load = asyncio.create_task(aingest(store, given, batch_size=1))
    for _ in range(2):
        assert await asyncio.to_thread(model.asked.acquire, timeout=BOUND)
    model.let_go()
    assert (await load).written == 3
    assert model.seen[-1] == "later"
    assert await texts_of(shared, "twice-1", "twice-2") == ["later", "other"]


async def test_cancelling_ends_the_load(make_store: MakeStore, shared: MilvusStore) -> None:
    """Nothing is left of it: no request, task or thread, and the input is closed."""
    model = Gated(is_open=False)
    store = make_store(model, collection_name=shared.collection_name)
    source = Source(documents("cancelled", 100))
    await store.acount()
    tasks = asyncio.all_tasks()
    load = asyncio.create_task(aingest(store, source, batch_size=10))
    assert await asyncio.to_thread(model.asked.acquire, timeout=BOUND)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert source.closed
    assert asyncio.all_tasks() == tasks
    for thread in threading.enumerate():
        if thread.name.startswith(THREAD_NAME):
            thread.join(BOUND)
            assert not thread.is_alive()
    model.let_go()
    assert await shared.acount('pk like "cancelled-%"') == 0


async def test_what_two_scopes_hold_has_two_ids(shared: MilvusStore) -> None:
    """Each tenant loads the same Document, and neither takes it from the other."""
    views = [shared.scoped(load_tenant=name) for name in ("a", "b")]
    for view in views:
        assert (await aingest(view, [Document("the same for all")] * 2)).written == 2
        assert await view.acount() == 1
    (found,) = await views[0].asearch_by_metadata()
    assert found.id == content_id(Document("the same for all"), {"load_tenant": "a"})


async def test_a_collection_that_makes_its_ids_gets_inserts(make_store: MakeStore) -> None:
    """No ids are made for it, equal Documents are kept, and nothing can be skipped."""
    store = make_store(auto_id=True)
    with pytest.raises(InvalidInputError, match="auto_id"):
        await aingest(store, [Document("one")], skip_existing=True)
    assert (await aingest(store, [Document("one")] * 5, batch_size=2)).written == 5
    assert (await aingest(store, [Document("one")] * 5, batch_size=2)).written == 5
    assert await store.acount(consistency_level="Strong") == 10


async def test_what_is_no_document_is_refused(shared: MilvusStore) -> None:
    """And so are an input that is none, and bounds that can't be meant."""
    with pytest.raises(InvalidInputError, match="str"):
        await aingest(shared, ["a text"])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="int"):
        await aingest(shared, 3)  # type: ignore[arg-type]
    for bound in ({"batch_size": 0}, {"max_in_flight": 0}):
        with pytest.raises(InvalidInputError, match=next(iter(bound))):
            await aingest(shared, [], **bound)


async def test_an_existing_id_is_one_of_the_scope(shared: MilvusStore) -> None:
    """Ids of other scopes, unknown ones and none at all."""
    ours, theirs = shared.scoped(exist="a"), shared.scoped(exist="b")
    await ours.aadd_texts(["one"], ids=["exist-1"])
    assert await ours.aexisting_ids(["exist-1", "exist-2"]) == {"exist-1"}
    assert await theirs.aexisting_ids(["exist-1"]) == set()
    assert await ours.aexisting_ids([]) == set()


async def test_an_empty_input_makes_nothing(store: MilvusStore) -> None:
    """Not even the collection."""
    result = await aingest(store, iter([]))
    assert (result.written, result.batches) == (0, 0)
    assert await store.aschema() is None


async def awaited_progress(_: object) -> None:
    """Be a callback that is not awaited."""


def flushed(uri: str) -> int:
    """Return how many files of flushed entities a Milvus Lite file has."""
    return len(list(pathlib.Path(uri).rglob("data_*.parquet")))


@ON_LITE
async def test_t48_what_was_loaded_is_flushed(make_store: MakeStore, own_uri: str) -> None:
    """When the load returns; a small write alone is not worth it."""
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_documents(list(documents("few", 3)))
    assert flushed(own_uri) == 0
    await aingest(store, documents("load", 30), batch_size=10)
    assert flushed(own_uri) == 1
    assert await store.acount() == 33


@ON_LITE
@pytest.mark.parametrize("batching", [True, False])
async def test_t48_single_writes_are_flushed_when_enough_came(
    make_store: MakeStore, own_uri: str, *, batching: bool
) -> None:
    """In the background, and before the store is closed; a read in between sees all."""
    store = make_store(connection_args={"uri": own_uri}, batching=batching)
    vectors = [[float(number)] + [1.0] * (DIM - 1) for number in range(1_000)]
    texts = [str(number) for number in range(1_000)]
    await store.aadd_embeddings(texts[:-1], vectors[:-1], ids=texts[:-1])
    assert flushed(own_uri) == 0
    await store.aadd_embeddings(texts[-1:], vectors[-1:], ids=texts[-1:])
    assert await store.acount() == 1_000
    await store.aflush()
    assert flushed(own_uri) >= 1
    assert len(await store.aget_by_ids(texts)) == 1_000


@ON_LITE
async def test_t48_searches_bring_about_a_flush(make_store: MakeStore, own_uri: str) -> None:
    """A few hundred entities that are searched again and again."""
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_documents(list(documents("searched", 250)))
    for _ in range(11):
        await store.asimilarity_search("kite", k=1)
    assert flushed(own_uri) == 0
    await store.asimilarity_search("kite", k=1)  # the flush that it begins is not its own time
    await store.aclose()  # waits while it flushes
    assert flushed(own_uri) == 1


@ON_LITE
async def test_t48_reads_writes_and_deletes_go_on_beside_flushes(
    make_store: MakeStore, own_uri: str
) -> None:
    """Each read sees all that was written before it, and nothing that was deleted."""
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["kept"], ids=["kept"])
    ended = asyncio.Event()

    async def write() -> None:
        for number in range(15):
            ids = [f"{number}-{one}" for one in range(20)]
            await store.aadd_texts(ids, ids=ids)
            assert await store.aexisting_ids(ids) == set(ids)
            assert (await store.adelete(ids=ids[:10])).count == 10
            assert await store.aexisting_ids(ids) == set(ids[10:])
        ended.set()

    async def flush() -> None:
        while not ended.is_set():
            await store.aflush()

    async def read() -> None:
        while not ended.is_set():
            assert await texts_of(store, "kept") == ["kept"]
            assert "kept" in {one.id for one in await store.asimilarity_search("kept", k=500)}

    await asyncio.gather(write(), flush(), read(), read())
    assert await store.acount() == 151


LOSE = """
import pathlib, sys
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from milvus_tools import MilvusStore, MilvusToolsError
from milvus_tools.ingest import ingest

def load():
    return ingest(store, (Document(str(n), id=str(n)) for n in range(5))).written

model = DeterministicFakeEmbedding(size=8)
with MilvusStore(model, "lossy", connection_args={"uri": sys.argv[1]}) as store:
    store.add_texts(["one"], ids=["one"])
    in_the_way = pathlib.Path(sys.argv[1], "collections", "lossy", "partitions")
    in_the_way.write_text("no folder")
    try:
        load()
    except MilvusToolsError as error:
        print(error)
    in_the_way.unlink()
    print(load(), store.count())
"""


def test_t48_a_flush_that_fails_is_no_success(tmp_path: pathlib.Path) -> None:
    """Milvus Lite loses what it fails to flush: the caller is told to write again.

    It also leaves a file open, so a process of its own does this.
    """
    said, counts = run_python(LOSE, str(tmp_path / "lossy.db")).splitlines()
    assert "write that again" in said
    assert counts == "5 5"


async def test_models_may_answer_with_an_array(make_store: MakeStore) -> None:
    """The same rows are written as for lists of floats, in batches of any size."""

    class Arrays(CountingEmbeddings):
        """Answers with arrays, as models do that are no LangChain's."""

        def embed_documents(self, texts: list[str]) -> Any:
            return np.array(super().embed_documents(texts))

    store = make_store(Arrays())
    await asyncio.gather(
        *(store.aadd_documents(list(documents(f"array-{one}", 5)), batch_size=2) for one in "ab")
    )
    exact = embeddings().embed_documents(["array-a 3"])[0]
    ((found, distance),) = await store.asimilarity_search_with_score_by_vector(exact, k=1)
    assert found.id == "array-a-0003"
    assert distance == pytest.approx(1.0, abs=1e-5)


@ON_LITE
async def test_a_load_makes_a_collection_anew_that_somebody_dropped(
    make_store: MakeStore, own_uri: str
) -> None:
    """As any write does; and nothing of it is there already."""
    store = make_store(connection_args={"uri": own_uri})
    other = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["before"])
    await other.adrop()
    result = await aingest(store, documents("after", 3), skip_existing=True)
    assert (result.written, result.skipped) == (3, 0)
    assert await store.acount() == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"documents": Document("one")}, "an iterable of Documents"),
        ({"documents": [], "on_progress": awaited_progress}, "plain function"),
    ],
)
async def test_what_a_load_can_not_do_is_refused_at_once(
    arguments: dict[str, Any], said: str
) -> None:
    """Before anything is opened."""
    store = MilvusStore(embeddings(), connection_args={"uri": "nowhere/at_all.db"})
    with pytest.raises(InvalidInputError, match=said):
        await aingest(store, **arguments)
