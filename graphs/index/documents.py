"""From what a client sends to Documents with ids, one failure for each that is none."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphs.index.state import Failure
from milvus_tools.ingest import content_id


class _Given(BaseModel):
    """A Document in JSON; a name that is misspelled is refused rather than lost."""

    model_config = ConfigDict(extra="forbid", strict=True)

    page_content: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    id: str | None = Field(None, min_length=1)
    type: Literal["Document"] = "Document"  # as LangChain dumps one


@dataclasses.dataclass(frozen=True)
class Item:
    """A Document of the input.

    Attributes:
        number: Its place in the input.
        document: The Document; it has an id.
        content: What the id of its text and metadata would be.
    """

    number: int
    document: Document
    content: str

    @property
    def id(self) -> str:
        """The Document's id."""
        return self.document.id or ""

    def failed(self, error: str) -> Failure:
        """Say why it was not written."""
        return Failure(number=self.number, id=self.id, error=error)


def read_items(
    given: Sequence[Any], scope: Any, *, makes_ids: bool
) -> tuple[list[Item], list[Failure]]:
    """Read the Documents.

    Args:
        given: What a client sent, or Documents.
        scope: The store's scope, of which ids are made too.
        makes_ids: Whether the collection's keys are texts, and ids can be made for them.
    """
    items: list[Item] = []
    failed: list[Failure] = []
    for number, one in enumerate(given):
        try:
            items.append(_item(number, one, scope, makes_ids=makes_ids))
        except ValueError as error:
            failed.append(Failure(number=number, id=None, error=_sentence(error)))
    return items, failed


def _item(number: int, given: Any, scope: Any, *, makes_ids: bool) -> Item:
    document = given if isinstance(given, Document) else _document(given)
    content = content_id(document, scope)
    if document.id is None:
        if not makes_ids:
            raise ValueError("The collection's ids are numbers: give the document one.")
        document = document.model_copy(update={"id": content})
    return Item(number, document, content)


def _document(given: Any) -> Document:
    if not isinstance(given, Mapping):
        raise ValueError("A document is an object: {page_content, metadata, id}.")  # noqa: TRY004
    read = _Given.model_validate(given)
    return Document(id=read.id, page_content=read.page_content, metadata=read.metadata)


def _sentence(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    named = [": ".join(filter(None, [_place(one["loc"]), one["msg"]])) for one in problems[:5]]
    return " ".join(f"{one}." for one in named)


def _place(location: Sequence[str | int]) -> str:
    return ".".join(map(str, location))
