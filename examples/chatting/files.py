"""The files that are dropped into the page: from bytes to Documents."""

import pathlib
from typing import Final

from langchain_core.documents import Document

from graphs.index import MAX_DOCUMENTS
from milvus_tools.ingest.formats import UnreadableError
from milvus_tools.ingest.workers import Splitting, Workers

MAX_NAME: Final = 200
SPLITTING: Final = Splitting(size=1_000, overlap=0, max_bytes=1_000_000)


async def passages(name: str, path: pathlib.Path) -> list[Document]:
    """Cut a file into passages, in a process of its own.

    Raises:
        UnreadableError: If it can't be read, is empty, or has too many passages.
    """
    async with Workers.started(1, SPLITTING) as workers:
        found = (await workers.convert(path, name)).passages
    if not found:
        raise UnreadableError("It is empty.")
    if len(found) > MAX_DOCUMENTS:
        raise UnreadableError(f"It has more than {MAX_DOCUMENTS} passages: split it.")
    source = name[:MAX_NAME]
    return [
        Document(one.text, metadata={"source": source, "part": n}) for n, one in enumerate(found)
    ]
