"""The structured content of an answer: a tool's artifact as JSON, within the text's bounds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document

from milvus_tools._text import as_json, cut, visible
from milvus_tools.ranking import RETRIEVAL
from milvus_tools.toolkit import MilvusToolkit
from milvus_tools.tools.formatting import MAX_VALUE_CHARS, best_score

_MAX_DEPTH: Final = 10


def structured(artifact: Any, toolkit: MilvusToolkit) -> dict[str, Any]:
    """Return what a call found or wrote; Documents as many as an answer may have."""
    if isinstance(artifact, Mapping):
        return dict(artifact)
    documents = _documents(artifact or (), toolkit)
    return {"documents": documents, "left_out": len(artifact or ()) - len(documents)}


def _documents(found: Sequence[Document], toolkit: MilvusToolkit) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    left = toolkit.max_total_chars
    for one in found:
        document = _document(one, toolkit)
        left -= len(as_json(document))
        if documents and left < 0:
            break
        documents.append(document)
    return documents


def _document(document: Document, toolkit: MilvusToolkit) -> dict[str, Any]:
    most = min(toolkit.max_chars, toolkit.max_total_chars // 4)
    shown = {
        "id": document.id,
        "text": cut(document.page_content, most, clean=visible),
        "metadata": _metadata(document, toolkit, most),
    }
    score = best_score(document) if RETRIEVAL in document.metadata else None
    return shown if score is None else {**shown, "score": score}


def _metadata(document: Document, toolkit: MilvusToolkit, most: int) -> dict[str, Any]:
    """Return the metadata that the model may see, as many keys as fit."""
    hidden = {*toolkit.store.scope, RETRIEVAL}
    fields = toolkit.metadata_fields
    shown: dict[str, Any] = {}
    for name, value in document.metadata.items():
        if name in hidden or (fields is not None and name not in fields):
            continue
        one = {visible(name): _plain(value)}
        most -= len(as_json(one))
        if most < 0:
            break
        shown |= one
    return shown


def _plain(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return a value as JSON has it, with its invisible characters written out."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cut(value, MAX_VALUE_CHARS, clean=visible)
    if depth and isinstance(value, Mapping):
        return {visible(str(key)): _plain(one, depth - 1) for key, one in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    return cut(as_json(value, MAX_VALUE_CHARS), MAX_VALUE_CHARS)
