"""Loading: Documents into a store, in a pipeline, from an input of any length.

Batches are read, embedded and written at the same time, a few of each. What is in memory is
bounded by them, not by the input; of what is written only the ids are kept, some 40 bytes each,
to report them if the load fails.
"""

import contextlib
import dataclasses
import hashlib
import inspect
import itertools
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from typing import Any

import numpy as np
from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._io.iterables import batches_of, closing
from milvus_tools._io.loop import run_sync
from milvus_tools._io.tasks import run_pipeline
from milvus_tools.errors import (
    CollectionNotFoundError,
    DeadlineError,
    InvalidInputError,
    MilvusToolsError,
    PartialWriteError,
)
from milvus_tools.store import MilvusStore, ScopedMilvusStore
from milvus_tools.store.options import check_limit

Store = MilvusStore | ScopedMilvusStore
Batch = list[Document]
Documents = Iterable[Document] | AsyncIterable[Document]

BATCH_SIZE = 1_000
MAX_IN_FLIGHT = 8  # four that are embedded, four that are written
_ID_DIGITS = 32


@dataclasses.dataclass(frozen=True)
class IngestProgress:
    """How far a load has come.

    Attributes:
        written: How many Documents were written; of those with one id each counts.
        skipped: How many were left out, because their ids were there already.
        batches: In how many batches they came.
        seconds: Since the load began.
    """

    written: int = 0
    skipped: int = 0
    batches: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class IngestResult(IngestProgress):
    """What a load did, when all of it is done."""


OnProgress = Callable[[IngestProgress], object]


async def aingest(
    store: Store,
    documents: Documents,
    *,
    batch_size: int = BATCH_SIZE,
    max_in_flight: int = MAX_IN_FLIGHT,
    skip_existing: bool = False,
    on_progress: OnProgress | None = None,
    timeout: float | None = None,
) -> IngestResult:
    """Write Documents into a store, however many there are.

    A Document without id gets `content_id`, so that a second run replaces what the first one
    wrote, and doubles nothing. Of Documents with one id the last is kept. In a collection that
    makes its ids itself (`auto_id`) all Documents are inserted, and a second run doubles them.

    When all is written, Milvus Lite flushes it, so that it is fast to search.

    Example:
        ```python
        result = await aingest(store, loader.alazy_load(), on_progress=print)
        ```

    Args:
        store: The store, or a view of it.
        documents: The Documents. An async iterable is read on the caller's event loop, any other
            in a thread of its own; a generator runs in one task, or thread, from its beginning to
            its end. They are read as they are needed, and a generator that was begun is closed in
            any case: if it blocks just then, by its thread, when it goes on.
        batch_size: How many Documents are embedded and written together.
        max_in_flight: The most batches that are read and not yet written.
        skip_existing: Whether Documents whose ids the collection has already are left out, and
            not embedded, and so those whose id an earlier batch had. Content ids then tell what
            is unchanged; ids of your own don't.
        on_progress: A function, not an async one, that is called on the event loop after each
            batch. What it raises ends the load.
        timeout: Seconds for each batch; `None` for the store's.

    Returns:
        What was done.

    Raises:
        PartialWriteError: If the load failed after something was written. It has all ids that
            Milvus confirmed; whether a batch was written whose answer did not come is unknown.
            Its cause is the first failure. After it nothing more is read or begun.
        MilvusToolsError: If it failed before, or Milvus Lite failed to flush, which may lose
            what was written.
        Exception: What `documents` or `on_progress` raised, if nothing was written before.
    """
    check_limit(batch_size, name="batch_size")
    check_limit(max_in_flight, name="max_in_flight")
    if isinstance(documents, Document):
        raise InvalidInputError("Documents must be an iterable of them, not one.")
    if inspect.iscoroutinefunction(on_progress):
        raise InvalidInputError("on_progress must be a plain function: nobody would await it.")
    load = _Load(store, skip_existing=skip_existing, on_progress=on_progress, timeout=timeout)
    await load.prepare()
    async with closing(batches_of(documents, batch_size, load.named)) as read:
        await load.run(read, max_in_flight)
    return load.result


def ingest(
    store: Store,
    documents: Documents,
    *,
    batch_size: int = BATCH_SIZE,
    max_in_flight: int = MAX_IN_FLIGHT,
    skip_existing: bool = False,
    on_progress: OnProgress | None = None,
    timeout: float | None = None,
) -> IngestResult:
    """The blocking version of `aingest`.

    It all happens on the store's I/O loop: `on_progress` must not block it, nor call a sync
    method of a store.
    """
    return run_sync(
        aingest(
            store,
            documents,
            batch_size=batch_size,
            max_in_flight=max_in_flight,
            skip_existing=skip_existing,
            on_progress=on_progress,
            timeout=timeout,
        )
    )


def content_id(document: Document, scope: Any = None) -> str:
    """Return an id that is made of what a Document holds, and changes when that does.

    Args:
        document: The Document.
        scope: The scope of the store that it is written into: what two scopes hold can be the
            same, and must not have the same id.

    Returns:
        The first 32 digits of the SHA-256 of its text and its metadata, which include the scope.
    """
    held = [document.page_content, {**document.metadata, **(scope or {})}]
    try:
        text = json.dumps(held, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        text = ascii(held)  # the store refuses it, and says why
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


class _Load:
    """One load."""

    def __init__(
        self,
        store: Store,
        *,
        skip_existing: bool,
        on_progress: OnProgress | None,
        timeout: float | None,
    ) -> None:
        self._store = store
        self._scope = store.scope
        self._skips = skip_existing
        self._on_progress = on_progress
        self._timeout = timeout
        self._names = False
        self._start = time.monotonic()
        self._progress = IngestProgress()
        self._written: dict[int, bytes] = {}

    @property
    def result(self) -> IngestResult:
        """What was done so far."""
        return IngestResult(**dataclasses.asdict(self._now()))

    async def prepare(self) -> None:
        """See whether the collection takes ids, and which."""
        try:
            schema = await self._store.aschema(self._timeout)
        except CollectionNotFoundError:
            schema = None  # the first write makes it anew
        auto_id = self._store.auto_id if schema is None else schema.primary.auto_id
        if auto_id and self._skips:
            raise InvalidInputError(
                "Milvus makes this collection's ids itself (auto_id): skip_existing can't tell "
                "which Documents are there."
            )
        strings = schema is None or schema.primary.type == DataType.VARCHAR
        self._names = strings and not auto_id

    def named(self, document: Document) -> Document:
        """Give a Document its id, if it has none; what is no Document the store refuses."""
        if not self._names or not isinstance(document, Document) or document.id is not None:
            return document
        return document.model_copy(update={"id": content_id(document, self._scope)})

    async def run(self, batches: AsyncIterator[Batch], max_in_flight: int) -> None:
        """Write batches, and say what was written if one fails."""
        try:
            await run_pipeline(batches, self._write, max_in_flight=max_in_flight, keys=_ids)
        except Exception as error:
            if not self._written:
                raise
            raise self._partial(error) from error
        with contextlib.suppress(DeadlineError):  # it goes on, and nothing depends on its end
            await self._store.aflush(self._timeout)

    async def _write(self, number: int, batch: Batch) -> None:
        """Write a batch, and tell of it."""
        wanted = await self._missing(batch) if self._skips else batch
        try:
            ids = await self._store.aupsert(
                documents=wanted, batch_size=len(batch), timeout=self._timeout
            )
        except PartialWriteError as error:
            self._note(number, error.written)
            raise
        self._note(number, ids)
        self._progress = dataclasses.replace(
            self._now(),
            written=self._progress.written + len(ids),
            skipped=self._progress.skipped + len(batch) - len(wanted),
            batches=self._progress.batches + 1,
        )
        if self._on_progress is not None:
            self._on_progress(self._progress)

    async def _missing(self, batch: Batch) -> Batch:
        """Return the Documents whose ids are not there."""
        ids = [document.id for document in batch if document.id is not None]
        try:
            there = await self._store.aexisting_ids(ids, self._timeout)
        except CollectionNotFoundError:
            return batch
        return [document for document in batch if document.id not in there]

    def _note(self, number: int, ids: list[str]) -> None:
        if ids:
            self._written[number] = json.dumps(ids).encode()

    def _now(self) -> IngestProgress:
        return dataclasses.replace(self._progress, seconds=time.monotonic() - self._start)

    def _partial(self, error: Exception) -> PartialWriteError:
        batches = (json.loads(self._written[number]) for number in sorted(self._written))
        ids = list(dict.fromkeys(itertools.chain.from_iterable(batches)))
        ours = isinstance(error, MilvusToolsError)
        reason = str(error) if ours else f"documents or on_progress raised {type(error).__name__}."
        return PartialWriteError(
            f"{len(ids)} entities were written before an error: {reason}", ids
        )


def _ids(batch: Batch) -> Collection[str]:
    """Return the ids in which a later batch must not overtake this one."""
    return {str(document.id) for document in batch if getattr(document, "id", None) is not None}
