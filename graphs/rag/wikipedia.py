"""The default store: the examples' Wikipedia paragraphs, in Milvus Lite."""

import atexit
import json
import pathlib
import shutil
import tempfile
from typing import Final

from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction

from milvus_tools import MilvusStore, local_embeddings

PARAGRAPHS: Final = pathlib.Path(__file__).parents[2] / "examples" / "data" / "paragraphs.jsonl"
COLLECTION: Final = "wikipedia"


def wikipedia_store(file: str | pathlib.Path | None = None) -> MilvusStore:
    """Return a store with the paragraphs, by meaning and by words; they are loaded if missing.

    Args:
        file: The database's path, which ends in `.db`; `None` for a temporary one.
    """
    store = MilvusStore(
        local_embeddings,
        COLLECTION,
        connection_args={"uri": str(file or _temporary_file())},
        builtin_function=BM25BuiltInFunction(output_field_names="sparse"),
        vector_field=["dense", "sparse"],
    )
    documents = paragraphs()
    if store.count() != len(documents):
        store.add_documents(documents)
    return store


def paragraphs(file: pathlib.Path = PARAGRAPHS) -> list[Document]:
    """Read paragraphs; their titles are metadata, and part of what is searched.

    Args:
        file: A file with an object a line, which has `id`, `title` and `text`.
    """
    # By its newlines alone: a text may have other signs that `str.splitlines` splits at.
    lines = file.read_bytes().splitlines()
    return [
        Document(
            id=one["id"],
            page_content=f"{one['title']}: {one['text']}",
            metadata={"title": one["title"]},
        )
        for one in map(json.loads, lines)
    ]


def _temporary_file() -> pathlib.Path:
    folder = tempfile.mkdtemp(prefix="wikipedia-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder) / "paragraphs.db"
