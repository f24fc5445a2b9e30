"""Loading of files and folders into a store, so that a second run writes only what changed.

The ids of a file's passages follow from its bytes, its source and how it is split. So a run can
tell whether all passages of a file are there without reading the file's format again.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Final, TypeVar

from langchain_core.documents import Document

from milvus_tools._io.tasks import cancel_and_wait
from milvus_tools.errors import CollectionNotFoundError
from milvus_tools.filters import FieldType, TypedFilter
from milvus_tools.filters.conditions import All, Any_, Condition, Filter, Operator
from milvus_tools.ingest.folders import HERE, Found, SourceFile
from milvus_tools.ingest.formats import UnreadableError
from milvus_tools.ingest.pipeline import Store, aingest
from milvus_tools.ingest.workers import Converted, Splitting, Workers, read_bytes

# A new number makes each file be read again, when its passages would be others.
_VERSION: Final = 1
_ID_DIGITS: Final = 32
_SECONDS: Final = 300.0  # for a batch: the reading of files may leave little to Milvus Lite
_BATCH: Final = 1_000
_PAGE: Final = 1_000  # passages that are read at once to be pruned
# The metadata that loaded files have, for filters.
FILE_FIELDS: Final[Mapping[str, FieldType]] = {
    "source": FieldType.STRING,
    "title": FieldType.STRING,
    "headings": FieldType.STRING,
    "page": FieldType.INTEGER,
    "position": FieldType.INTEGER,
    "passages": FieldType.INTEGER,
    "modified": FieldType.DATETIME,
}


@dataclasses.dataclass
class FilesProgress:
    """The progress of a load of files.

    Attributes:
        files: The files that were found, bad ones included.
        unchanged: The files whose passages were all there.
        converted: The files that were read and split.
        empty: The files without a text.
        bad: The sources of files that could not be read, with the reasons.
        written: The passages written.
        skipped: The passages that were there.
        pruned: The passages deleted.
    """

    files: int = 0
    unchanged: int = 0
    converted: int = 0
    empty: int = 0
    bad: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    written: int = 0
    skipped: int = 0
    pruned: int = 0

    @property
    def done(self) -> int:
        """The files that need no more reading."""
        return self.unchanged + self.converted + len(self.bad)


Item = TypeVar("Item")
OnProgress = Callable[[FilesProgress], object]


async def aingest_files(
    store: Store,
    found: Found,
    splitting: Splitting | None = None,
    *,
    prune: bool = False,
    workers: int | None = None,
    on_progress: OnProgress = lambda _: None,
) -> FilesProgress:
    """Load files into a store.

    Reading and splitting run in processes of their own, beside embedding and writing. Files whose
    passages are all there are not read; passages that are there are not written.

    A script that calls this needs `if __name__ == "__main__":`, because the processes import it.

    Args:
        store: The store, or a scoped view of it.
        found: The files, as `find` returns them.
        splitting: How to read and split them.
        prune: Whether to delete the passages that files in the found folders had before they
            changed or vanished. Nothing else is deleted: neither passages of files that exist but
            are not in `found`, nor those of files that can't be read.
        workers: The number of processes; by default one per processor, but at most 8.
        on_progress: Called on the event loop when there is progress.

    Returns:
        The final progress.

    Raises:
        MilvusToolsError: If Milvus or the embedding model failed; nothing is deleted then.
    """
    load = _FilesLoad(store, splitting or Splitting(), on_progress)
    await load.run(found, workers or min(os.cpu_count() or 1, 8))
    if prune:
        await load.prune(found)
    return load.progress


class _FilesLoad:
    """The state of one load of files."""

    def __init__(self, store: Store, splitting: Splitting, on_progress: OnProgress) -> None:
        self._store = store
        self._splitting = splitting
        self._told = on_progress
        self._current: dict[str, set[str]] = {}
        self.progress = FilesProgress()

    async def run(self, found: Found, workers: int) -> None:
        """Load the files that are not there as a whole."""
        self.progress.files = len(found.files) + len(found.bad)
        self.progress.bad += found.bad
        self._told(self.progress)
        missing = await self._missing(found.files)
        if not missing:
            return
        async with Workers.started(min(workers, len(missing)), self._splitting) as pool:
            documents = self._documents(missing, pool, ahead=2 * workers)
            async with contextlib.aclosing(documents):
                result = await aingest(
                    self._store,
                    documents,
                    skip_existing=True,
                    on_progress=self._note,
                    timeout=_SECONDS,
                )
        self._note(result)

    def _note(self, progress: Any) -> None:
        self.progress.written = progress.written
        self.progress.skipped = progress.skipped
        self._told(self.progress)

    async def _missing(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """Return the files of which a passage is missing, or whose state is not known."""
        missing: list[SourceFile] = []
        for some in _batches(files):
            missing += await self._missing_of(some)
        return missing

    async def _missing_of(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        keys = await asyncio.to_thread(self._keys, files)
        firsts = {passage_id(key, 0): source for source, key in keys.items()}
        counts = {
            firsts[document.id]: int(document.metadata["passages"])
            for document in await self._existing_documents(list(firsts))
            if document.id in firsts
        }
        ids = {source: _ids(keys[source], count) for source, count in counts.items()}
        there = await self._existing_ids([one for some in ids.values() for one in some])
        whole = {source: some for source, some in ids.items() if some <= there}
        self._current |= whole
        self.progress.unchanged += len(whole)
        self._told(self.progress)
        return [file for file in files if file.source not in whole]

    def _keys(self, files: Iterable[SourceFile]) -> dict[str, str]:
        keys = {}
        for file in files:
            # The workers report what can't be read.
            with contextlib.suppress(UnreadableError):
                content = read_bytes(file.path, self._splitting.max_bytes)
                keys[file.source] = self._key(file, hashlib.sha256(content).hexdigest())
        return keys

    def _key(self, file: SourceFile, digest: str) -> str:
        """Return the text from which the ids of a file's passages are made."""
        splitting = (self._splitting.size, self._splitting.overlap)
        held = [_VERSION, file.source, digest, splitting, sorted(self._scope.items())]
        return json.dumps(held)

    @property
    def _scope(self) -> Mapping[str, Any]:
        return self._store.scope or {}

    async def _existing_documents(self, ids: Sequence[str]) -> list[Document]:
        try:
            return await self._store.aget_by_ids(ids) if ids else []
        except CollectionNotFoundError:
            return []

    async def _existing_ids(self, ids: Sequence[str]) -> set[str]:
        there: set[str] = set()
        for some in _batches(ids):
            there |= await self._store.aexisting_ids(some)
        return there

    async def _documents(
        self, files: Sequence[SourceFile], pool: Workers, ahead: int
    ) -> AsyncGenerator[Document, None]:
        """Yield the passages of files, and read a few files ahead."""
        waiting = iter(files)
        tasks = {self._reading(pool, file) for file in itertools.islice(waiting, ahead)}
        try:
            while tasks:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                tasks |= {
                    self._reading(pool, file) for file in itertools.islice(waiting, len(done))
                }
                for task in done:
                    for document in task.result():
                        yield document
        finally:
            await cancel_and_wait(tasks)

    def _reading(self, pool: Workers, file: SourceFile) -> asyncio.Task[list[Document]]:
        return asyncio.ensure_future(self._read(pool, file))

    async def _read(self, pool: Workers, file: SourceFile) -> list[Document]:
        try:
            converted = await pool.convert(file.path)
        except UnreadableError as error:
            self.progress.bad.append((file.source, str(error)))
            self._told(self.progress)
            return []
        self.progress.converted += 1
        self.progress.empty += not converted.passages
        self._told(self.progress)
        documents = list(self._documents_of(file, converted))
        self._current[file.source] = {str(document.id) for document in documents}
        return documents

    def _documents_of(self, file: SourceFile, converted: Converted) -> Iterator[Document]:
        key = self._key(file, converted.digest)
        common = {
            "source": file.source,
            "title": converted.title or file.path.stem,
            "passages": len(converted.passages),
            "modified": file.modified,
        }
        for position, passage in enumerate(converted.passages):
            own = {"headings": passage.headings or None, "page": passage.page}
            held = {name: value for name, value in own.items() if value is not None}
            yield Document(
                passage.text,
                id=passage_id(key, position),
                metadata={**common, "position": position, **held},
            )

    async def prune(self, found: Found) -> None:
        """Delete the passages of what changed or vanished."""
        held = await held_passages(self._store, found)
        stale = await asyncio.to_thread(self._stale, held, found)
        for some in _batches(stale):
            result = await self._store.adelete(some)
            self.progress.pruned += result.count
            self._told(self.progress)

    def _stale(self, held: Mapping[str, str], found: Found) -> list[str]:
        """Return the ids of passages whose file has others now, or is gone.

        A file that exists and was not read keeps its passages.
        """
        gone = {
            source
            for source in set(held.values()) - self._current.keys()
            if not os.path.lexists(found.path_of(source))
        }
        return [
            id_
            for id_, source in held.items()
            if source in gone or id_ not in self._current.get(source, {id_})
        ]


async def held_passages(store: Store, found: Found) -> dict[str, str]:
    """Return the ids of the passages that a store holds of given paths, with their sources."""
    if await store.aschema() is None:
        return {}
    held: dict[str, str] = {}
    for root in found.roots:
        filter_ = TypedFilter(All([_of_files(), *_below(root)]), FILE_FIELDS)
        async for document in store.aiterate(
            filter=filter_, batch_size=_PAGE, consistency_level="Strong"
        ):
            source = document.metadata["source"]
            if document.id is not None and not (root == HERE and source.startswith("/")):
                held[document.id] = source
    return held


def _of_files() -> Condition:
    return Condition("passages", Operator.EXISTS)


def _below(root: str) -> list[Filter]:
    if root == HERE:
        return []
    inside = Condition("source", Operator.PREFIX, root.rstrip("/") + "/")
    return [Any_([Condition("source", Operator.EQ, root), inside])]


def passage_id(key: str, position: int) -> str:
    """Return the id of a passage of a file."""
    return hashlib.sha256(f"{position} {key}".encode()).hexdigest()[:_ID_DIGITS]


def _ids(key: str, count: int) -> set[str]:
    return {passage_id(key, position) for position in range(count)}


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), _BATCH):
        yield list(items[start : start + _BATCH])
