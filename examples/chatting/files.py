"""The files that are dropped into the page: from bytes to Documents. Pure functions."""

from typing import Final

from langchain_core.documents import Document
from langchain_text_splitters import MarkdownTextSplitter

from graphs.index import MAX_DOCUMENTS

MAX_BYTES: Final = 1_000_000
MAX_NAME: Final = 200
PASSAGE_CHARS: Final = 1_000


class FileError(ValueError):
    """A file can't be indexed; the message says why."""


def passages(name: str, content: bytes) -> list[Document]:
    """Cut a text or Markdown file into passages.

    Raises:
        FileError: If it is too large, empty, or no text.
    """
    if len(content) > MAX_BYTES:
        raise FileError(f"It is larger than {MAX_BYTES // 1_000_000} MB: split it.")
    texts = MarkdownTextSplitter(chunk_size=PASSAGE_CHARS, chunk_overlap=0).split_text(
        _text(content)
    )
    if not texts:
        raise FileError("It is empty.")
    if len(texts) > MAX_DOCUMENTS:
        raise FileError(f"It has more than {MAX_DOCUMENTS} passages: split it.")
    source = name[:MAX_NAME]
    return [Document(text, metadata={"source": source, "part": n}) for n, text in enumerate(texts)]


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileError("It is no text in UTF-8: only text and Markdown files can be read.")
    return text
