"""The tool that writes."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from langchain_core.documents import Document
from langchain_core.tools import StructuredTool, ToolException

from milvus_tools.tools.arguments import Arguments, upsert_arguments
from milvus_tools.tools.calls import Answer, make_tool
from milvus_tools.tools.content import counted, listed
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings

DESCRIPTION: Final = (
    "Write {what}. A document whose id exists replaces that one as a whole. Returns the ids."
)
_TWICE: Final = "The id {id} is there twice; give each document an id of its own."
_TOO_LONG: Final = "The metadata of a document has {chars} characters; {most} are allowed."


def upsert_tool(settings: ToolSettings, fields: Mapping[str, FilterField]) -> StructuredTool:
    """Make the tool that writes documents and tells which were new and which replaced."""

    async def upsert(store: AnyStore, *, documents: Sequence[Arguments]) -> Answer:
        wanted = [_document(one, settings) for one in documents]
        given = [one.id for one in wanted if one.id is not None]
        _require_different(given)
        there = await store.aexisting_ids(given)  # somebody else may write in between
        written = await store.aupsert(documents=wanted)
        new = [id_ for id_ in written if id_ not in there]
        replaced = [id_ for id_ in written if id_ in there]
        return _content(new, replaced), {"ids": written, "new": new, "replaced": replaced}

    what = settings.description or "documents into the collection"
    arguments = upsert_arguments(settings, fields)
    return make_tool(settings, "upsert", DESCRIPTION.format(what=what), arguments, upsert)


def _document(given: Arguments, settings: ToolSettings) -> Document:
    fields = given.model_dump(by_alias=True, exclude_unset=True)
    metadata = fields.get("metadata", {})
    length = len(json.dumps(metadata, default=str))
    if length > settings.max_text_chars:
        raise ToolException(_TOO_LONG.format(chars=length, most=settings.max_text_chars))
    return Document(id=fields.get("id"), page_content=fields["text"], metadata=metadata)


def _require_different(ids: Sequence[str]) -> None:
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ToolException(_TWICE.format(id=listed([id_])))


def _content(new: Sequence[str], replaced: Sequence[str]) -> str:
    parts = [f"Wrote {counted(len(new) + len(replaced), 'document')}."]
    parts += [f"New: {listed(new)}."] if new else []
    parts += [f"Replaced: {listed(replaced)}."] if replaced else []
    return " ".join(parts)
