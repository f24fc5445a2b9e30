"""A pipeline that loads Documents into a store, from an input of any length.

A few batches at a time are read, embedded and written. They bound the memory, whatever the length
of the input. Of written Documents the load keeps only the ids, about 40 bytes each, to report
them if it fails.
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
MAX_IN_FLIGHT = 8  # enough to embed four batches and to write four
_ID_DIGITS = 32  # 128 bits, in which no two contents meet by chance


@dataclasses.dataclass(frozen=True)
class IngestProgress:
    """The progress of a load.

    Attributes:
        written: The number of Documents written. Documents with the same id count each.
        skipped: The number of Documents left out because their ids existed.
        batches: The number of batches done.
        seconds: The seconds since the load began.
    """

    written: int = 0
    skipped: int = 0
    batches: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class IngestResult(IngestProgress):
    """The result of a complete load."""


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
    """Write any number of Documents into a store.

    A Document without an id gets its `content_id`, so that a second run replaces the Documents of
    the first and duplicates none. Of Documents with the same id the last is kept. In a collection
    with `auto_id`, Milvus makes the ids: all Documents are inserted, and a second run duplicates
    them.

    At the end, the load flushes Milvus Lite, which searches rows slowly before that (T48).

    Example:
        ```python
        result = await aingest(store, loader.alazy_load(), on_progress=print)
        ```

    Args:
        store: The store, or a scoped view of it.
        documents: The Documents. An async iterable is read on the caller's event loop, and a sync
            one in a separate thread. A generator runs in the same task or thread from its
            beginning to its end. Documents are read as they are needed. A generator is closed in
            any case; if it is blocked at that time, its thread closes it when it continues.
        batch_size: The number of Documents that are embedded and written together.
        max_in_flight: The most batches that are read and not yet written.
        skip_existing: Whether Documents whose ids exist, in the collection or in an earlier batch,
            are left out, and not embedded. Content ids then tell which Documents are unchanged;
            other ids can't.
        on_progress: A plain function, not an async one, that is called on the event loop after
            each batch. An error that it raises ends the load.
        timeout: The seconds for each batch; `None` for the store's timeout.

    Returns:
        The numbers of Documents written and skipped.

    Raises:
        PartialWriteError: If the load failed after Documents were written. The error has all ids
            that Milvus confirmed. A batch without an answer may or may not have been written. The
            cause is the first failure, after which no batch is read or begun.
        MilvusToolsError: If the load failed before that, or if the flush of Milvus Lite failed,
            which may lose Documents.
        Exception: An error of `documents` or `on_progress`, if nothing was written before.
    """
    check_limit(batch_size, name="batch_size")
    check_limit(max_in_flight, name="max_in_flight")
    if isinstance(documents, Document):
        raise InvalidInputError("documents must be an iterable of Documents, not one Document.")
    if inspect.iscoroutinefunction(on_progress):
        raise InvalidInputError("on_progress must be a plain function; it is not awaited.")
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

    The load runs on the store's I/O loop: `on_progress` must not block, and must not call a
    blocking method of a store.
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
    """Return an id that depends only on a Document's content.

    Args:
        document: The Document.
        scope: The scope of the store that the Document is for. With it, equal Documents in two
            scopes have different ids.

    Returns:
        The first 32 digits of the SHA-256 of the text, the metadata and the scope.
    """
    held = [document.page_content, {**document.metadata, **(scope or {})}]
    try:
        # Sorted, because the order of metadata says nothing.
        text = json.dumps(held, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        text = ascii(held)  # the store refuses such metadata with a clear error
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def _plain(value: object) -> object:
    # As the store writes it: NumPy's 1 and Python's 1 are the same content.
    return value.item() if isinstance(value, np.generic) else str(value)


class _Load:
    """The state of one load."""

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
        """The result so far."""
        return IngestResult(**dataclasses.asdict(self._now()))

    async def prepare(self) -> None:
        """Find out whether the collection takes ids, and of which type."""
        try:
            schema = await self._store.aschema(self._timeout)
        except CollectionNotFoundError:
            schema = None  # the first write creates it again
        auto_id = self._store.auto_id if schema is None else schema.primary.auto_id
        if auto_id and self._skips:
            raise InvalidInputError(
                "Milvus makes the ids of this collection (auto_id), so skip_existing can't tell "
                "which Documents exist."
            )
        # A content id is text: Documents for integer keys bring their ids, or are refused.
        strings = schema is None or schema.primary.type == DataType.VARCHAR
        self._names = strings and not auto_id

    def named(self, document: Document) -> Document:
        """Return a Document with an id. The store refuses what is not a Document."""
        if not self._names or not isinstance(document, Document) or document.id is not None:
            return document
        # A copy, because the Document is the caller's.
        return document.model_copy(update={"id": content_id(document, self._scope)})

    async def run(self, batches: AsyncIterator[Batch], max_in_flight: int) -> None:
        """Write batches, and report the written ids if one fails."""
        try:
            # Keys keep two batches with one id in order: the later Document must win.
            await run_pipeline(batches, self._write, max_in_flight=max_in_flight, keys=_ids)
        except Exception as error:
            if not self._written:
                raise
            raise self._partial(error) from error
        # A flush that is late goes on in Milvus Lite, and the load does not depend on its end.
        with contextlib.suppress(DeadlineError):
            await self._store.aflush(self._timeout)

    async def _write(self, number: int, batch: Batch) -> None:
        wanted = await self._missing(batch) if self._skips else batch
        try:
            # The pipeline made the batches: the store must not split them again.
            ids = await self._store.aupsert(
                documents=wanted, batch_size=len(batch), timeout=self._timeout
            )
        except PartialWriteError as error:
            # The confirmed part of the batch belongs in the report, too.
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
        ids = [document.id for document in batch if document.id is not None]
        try:
            there = await self._store.aexisting_ids(ids, self._timeout)
        except CollectionNotFoundError:
            return batch
        return [document for document in batch if document.id not in there]

    def _note(self, number: int, ids: list[str]) -> None:
        # As JSON, which takes less memory than a list of strings.
        if ids:
            self._written[number] = json.dumps(ids).encode()

    def _now(self) -> IngestProgress:
        return dataclasses.replace(self._progress, seconds=time.monotonic() - self._start)

    def _partial(self, error: Exception) -> PartialWriteError:
        # In the order of the input, whichever batch was written first.
        batches = (json.loads(self._written[number]) for number in sorted(self._written))
        ids = list(dict.fromkeys(itertools.chain.from_iterable(batches)))
        # The message of a foreign error can hold addresses, so only its name is told.
        ours = isinstance(error, MilvusToolsError)
        reason = str(error) if ours else f"documents or on_progress raised {type(error).__name__}."
        return PartialWriteError(
            f"{len(ids)} entities were written before an error: {reason}", ids
        )


def _ids(batch: Batch) -> Collection[str]:
    """Return the ids of a batch; a later batch with one of them must wait for this batch."""
    return {str(document.id) for document in batch if getattr(document, "id", None) is not None}
