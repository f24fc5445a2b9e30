"""The upsert tool."""

import collections
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import StructuredTool

from milvus_tools._text import as_json
from milvus_tools.errors import CollectionNotFoundError, InvalidInputError
from milvus_tools.filters.names import nested_values
from milvus_tools.ingest.pipeline import content_id, takes_content_ids, with_content_id
from milvus_tools.tools.arguments import Arguments, upsert_arguments, validated
from milvus_tools.tools.filters import known_fields
from milvus_tools.tools.formatting import counted, listed
from milvus_tools.tools.settings import AnyStore, FilterField, ToolSettings
from milvus_tools.tools.structured_tool import Answer, make_tool

DESCRIPTION: Final = (
    "Write {what}. A document replaces the one with the same id as a whole. Returns the ids."
)
_TWICE: Final = "The id {id} is there twice. Give each document a different id."
_TOO_LONG: Final = "The metadata of a document has {chars} characters; at most {most} are allowed."
MAX_SHOWN: Final = 20  # documents in a question
MAX_SHOWN_CHARS: Final = 200


def upsert_tool(settings: ToolSettings, fields: Mapping[str, FilterField]) -> StructuredTool:
    """Make the upsert tool, which says which documents are new and which were replaced."""

    async def upsert(store: AnyStore, *, documents: Sequence[Arguments]) -> Answer:
        wanted = await _named(store, _documents(documents, settings))
        given = [one.id for one in wanted if one.id is not None]
        # Another process can write between the two calls: the answer can then be wrong about
        # what was new, but not about what was written.
        there = await store.aexisting_ids(given)
        written = await store.aupsert(documents=wanted)
        new = [id_ for id_ in written if id_ not in there]
        replaced = [id_ for id_ in written if id_ in there]
        return _content(new, replaced), {"ids": written, "new": new, "replaced": replaced}

    what = settings.description or "documents into the collection"
    arguments = upsert_arguments(settings, fields)
    return make_tool(settings, "upsert", DESCRIPTION.format(what=what), arguments, upsert)


async def _named(store: AnyStore, documents: list[Document]) -> list[Document]:
    """Give Documents without an id one that is made of their content.

    A call that is repeated, by a model or by a run that resumes, then replaces what it wrote.
    """
    if all(one.id is not None for one in documents):
        return documents
    try:
        schema = await store.aschema()
    except CollectionNotFoundError:
        schema = None  # the first write creates it again
    if not takes_content_ids(store, schema):
        return documents
    named = [with_content_id(one, store.scope) for one in documents]
    _require_distinct(named)
    return named


def upsert_question(settings: ToolSettings, arguments: Any) -> str:
    """Return the question with which a person approves an upsert.

    It shows the first documents, cut to bounds, and says how much is not shown.

    Raises:
        MilvusToolsError: If the tool would refuse the arguments.
    """
    schema = upsert_arguments(settings, known_fields(settings, None))
    given: Any = validated(schema, arguments)
    documents = _documents(given.documents, settings)
    count = counted(len(documents), "document")
    lines = [f"Write {count} to the collection {settings.store.collection_name}?"]
    lines += map(_described, documents[:MAX_SHOWN])
    if len(documents) > MAX_SHOWN:
        lines.append(f"- {counted(len(documents) - MAX_SHOWN, 'further document')}, not shown")
    return "\n".join(lines)


def _described(document: Document) -> str:
    new = document.id is None
    id_ = "a new id" if new else f"id {as_json(document.id, MAX_SHOWN_CHARS)}"
    text = as_json(document.page_content, MAX_SHOWN_CHARS)
    metadata = as_json(document.metadata, MAX_SHOWN_CHARS)
    return f"- {id_}: text {text}, metadata {metadata}"


def _documents(given: Sequence[Arguments], settings: ToolSettings) -> list[Document]:
    """Return the Documents that validated arguments describe; of equal ones without ids, one.

    Raises:
        InvalidInputError: If an id is there twice, or metadata is too long.
    """
    documents = [_document(one, settings) for one in given]
    _require_distinct(documents)
    # Here, so that the question that a person approves shows what is written.
    return list({(one.id, one.id or content_id(one)): one for one in documents}.values())


def _require_distinct(documents: Sequence[Document]) -> None:
    ids = [one.id for one in documents if one.id is not None]
    for id_, times in collections.Counter(ids).items():
        if times > 1:
            raise InvalidInputError(_TWICE.format(id=listed([id_])))


def _document(given: Arguments, settings: ToolSettings) -> Document:
    fields = given.model_dump(by_alias=True, exclude_unset=True)
    metadata = fields.get("metadata", {})
    if settings.filter_fields is not None and not settings.allow_dynamic:
        metadata = nested_values(metadata)  # their keys are the declared names, paths too
    length = len(json.dumps(metadata, default=str))
    if length > settings.max_text_chars:
        raise InvalidInputError(_TOO_LONG.format(chars=length, most=settings.max_text_chars))
    return Document(id=fields.get("id"), page_content=fields["text"], metadata=metadata)


def _content(new: Sequence[str], replaced: Sequence[str]) -> str:
    parts = [f"Wrote {counted(len(new) + len(replaced), 'document')}."]
    parts += [f"New: {listed(new)}."] if new else []
    parts += [f"Replaced: {listed(replaced)}."] if replaced else []
    return " ".join(parts)
