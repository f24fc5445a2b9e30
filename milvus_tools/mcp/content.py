"""The structured content of an answer: a tool's artifact as JSON, within the text's bounds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document

from milvus_tools._text import as_json, cut, visible
from milvus_tools.ranking import RETRIEVAL
from milvus_tools.toolkit import MilvusToolkit
from milvus_tools.tools.formatting import MAX_ID_CHARS, MAX_VALUE_CHARS, best_score

_MAX_DEPTH: Final = 10
_COUNT: Final = {"type": "integer", "minimum": 0}
_IDS: Final = {"type": "array", "items": {"type": "string"}}


def _object(optional: Mapping[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }


_DOCUMENT: Final = _object(
    {"score": {"type": "number"}},
    id={"type": ["string", "null"]},
    text={"type": "string"},
    metadata={"type": "object"},
    metadata_left_out=_COUNT,
)
_FOUND: Final = _object(documents={"type": "array", "items": _DOCUMENT}, left_out=_COUNT)
SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "search": _FOUND,
    "search_by_metadata": _FOUND,
    "upsert": _object(new=_IDS, replaced=_IDS, left_out=_COUNT),
    "delete": _object(ids=_IDS, left_out=_COUNT, deleted=_COUNT, dry_run={"type": "boolean"}),
}
"""The schema of each verb's content. `left_out` counts what the bounds leave out."""


def structured(verb: str, artifact: Any, toolkit: MilvusToolkit) -> dict[str, Any]:
    """Return what a call found or wrote, as much of it as an answer may have.

    Args:
        verb: The tool's verb.
        artifact: The artifact of the tool's message.
        toolkit: The tool's toolkit, whose bounds hold.
    """
    most = toolkit.max_total_chars
    match verb:
        case "upsert":
            lists = {name: artifact[name] for name in ("new", "replaced")}
            return _bounded(lists, most)
        case "delete":
            ids = _bounded({"ids": artifact["ids"]}, most)
            return {**ids, "deleted": artifact["deleted"], "dry_run": artifact["dry_run"]}
    # Only a search sets the score; elsewhere metadata of that name is data like any other.
    shown = (_document(one, toolkit, scored=verb == "search") for one in artifact)
    documents = _fitting(shown, most)
    return {"documents": documents, "left_out": len(artifact) - len(documents)}


def _bounded(lists: Mapping[str, Sequence[str]], most: int) -> dict[str, Any]:
    """Return lists of ids, each with as many as fit, and the number of all that don't."""
    shown = {name: _fitting(map(_id, ids), most // len(lists)) for name, ids in lists.items()}
    left_out = sum(map(len, lists.values())) - sum(map(len, shown.values()))
    return {**shown, "left_out": left_out}


def _fitting(values: Iterable[Any], most: int) -> list[Any]:
    """Return the first values, as many as fit into so many characters, and at least one."""
    shown: list[Any] = []
    for value in values:
        most -= len(as_json(value))
        if shown and most < 0:
            break
        shown.append(value)
    return shown


def _id(id_: str) -> str:
    return cut(id_, MAX_ID_CHARS, clean=visible)


def _document(document: Document, toolkit: MilvusToolkit, *, scored: bool) -> dict[str, Any]:
    most = min(toolkit.max_chars, toolkit.max_total_chars // 4)
    hidden = {*toolkit.store.scope, RETRIEVAL} if scored else toolkit.store.scope.keys()
    fields = toolkit.metadata_fields
    allowed = {
        name: value
        for name, value in document.metadata.items()
        if name not in hidden and (fields is None or name in fields)
    }
    metadata = _metadata(allowed, most)
    score = best_score(document) if scored else None
    return {
        "id": None if document.id is None else _id(document.id),
        "text": cut(document.page_content, most, clean=visible),
        "metadata": metadata,
        "metadata_left_out": len(allowed) - len(metadata),
        **({} if score is None else {"score": score}),
    }


def _metadata(given: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return the keys whose values fit into so many characters, each value whole."""
    shown: dict[str, Any] = {}
    for name, value in given.items():
        key, plain = visible(name), _plain(value)
        length = len(as_json({key: plain}))
        if length <= most and key not in shown:
            most -= length
            shown[key] = plain
    return shown


def _plain(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return a value as JSON has it, with its invisible characters written out."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cut(value, MAX_VALUE_CHARS, clean=visible)
    if depth and isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    if depth and isinstance(value, Mapping):
        shown = {visible(str(key)): _plain(one, depth - 1) for key, one in value.items()}
        if len(shown) == len(value):  # no two keys have become one
            return shown
    return cut(as_json(value, MAX_VALUE_CHARS), MAX_VALUE_CHARS)
