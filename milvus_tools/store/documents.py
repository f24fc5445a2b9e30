"""Conversion of Documents to rows and back, without I/O.

A Document that a row can't hold unchanged is refused here, before anything is sent.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson
from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._text import shown
from milvus_tools.errors import InvalidInputError, MilvusError
from milvus_tools.filters.names import locate, value_at
from milvus_tools.schema import DYNAMIC_FIELD, Place, Schema
from milvus_tools.store.scope import Scope
from milvus_tools.store.values import (
    checked_unicode,
    exact,
    fitting,
    fitting_text,
    id_text,
    integer_key,
    plain,
)
from milvus_tools.transport.requests import Row

Item = TypeVar("Item")
Key = str | int
MAX_JSON: Final = 65_536  # bytes that a server takes in a JSON field, and in all dynamic keys
_PLAIN = frozenset({str, int, float, bool})  # what `plain` returns as it is
_LITE_COLUMNS = frozenset({"_seq", "_partition"})  # Milvus Lite drops metadata of these names


@dataclasses.dataclass(frozen=True)
class DocumentMapper:
    """Converts Documents to rows of one collection and back.

    Attributes:
        schema: The collection's schema.
        text_field: The field, or the dynamic key, that holds the text.
        metadata_field: The JSON field that holds all metadata, or `None` if each metadata key has
            a field or a dynamic key of its own.
    """

    schema: Schema
    text_field: str
    metadata_field: str | None = None

    def key(self, id_: object, scope: Scope) -> Key:
        """Return the stored key of an id.

        Raises:
            InvalidInputError: If the id, or the scope, does not fit the primary key's type.
        """
        field = self.schema.primary
        text = id_text(id_)
        if field.type != DataType.VARCHAR:
            if scope.in_keys:  # an integer can't hold the scope
                raise InvalidInputError("scoped_ids=True needs keys that are strings.")
            return integer_key(text)
        return fitting_text(scope.key(text), field, "id")

    def row(self, document: Document, key: Key | None, scope: Scope) -> Row:
        """Return a Document as a row, without its vectors.

        Args:
            document: The Document.
            key: The stored key, or `None` if Milvus makes the keys.
            scope: The store's scope, whose values are added to the row.

        Raises:
            InvalidInputError: If the row can't hold the Document unchanged.
        """
        metadata = scope.stamp(self._own_metadata(document))
        self._require_free(metadata)
        row: Row = {self.text_field: self._text(document.page_content)}
        if key is not None:
            row[self.schema.primary.name] = key
        if self.metadata_field is not None:
            row[self.metadata_field] = {}
        for name, value in metadata.items():
            self._put(row, name, value)
        self._require_all(row)
        if not scope.holds(row):
            raise InvalidInputError(
                "The collection has no fields for the scope that can be filtered on."
            )
        return row

    def require_short_json(self, row: Row) -> None:
        """Check that a server takes the JSON of a row; Milvus Lite takes any length.

        Raises:
            InvalidInputError: If the JSON of a field, or that of the dynamic keys, is too long.
        """
        scalars = self.schema.scalars
        whole = {self.schema.primary.name, *scalars}  # fields, not keys of the dynamic field
        parts = {"": {name: value for name, value in row.items() if name not in whole}}
        parts |= {
            name: row[name]
            for name, field in scalars.items()
            if field.type == DataType.JSON and name in row
        }
        for name, value in parts.items():
            size = len(orjson.dumps(value))  # as pymilvus writes it
            if size > MAX_JSON:
                what = "" if name in ("", self.metadata_field) else f" {name!r}"
                raise InvalidInputError(
                    f"The metadata{what} has {size} bytes as JSON; a Milvus server takes at most "
                    f"{MAX_JSON}. Keep long texts in the Documents' text, and split it."
                )

    def place(self, name: str) -> Place:
        """Return the place that a name means: a field of the schema, else a metadata key.

        Raises:
            InvalidInputError: If the collection can't have it.
        """
        place = locate(name, self.schema, self.metadata_field)
        if place is not None:
            return place
        known = ", ".join([self.schema.primary.name, *self.schema.scalars])
        raise InvalidInputError(
            f"The collection has no field {shown(name)} and no such metadata; it has {known}."
        )

    def value(self, row: Row, place: Place) -> Any:
        """Return the value at a place in a row from Milvus, or `None` if it has none."""
        # pymilvus returns dynamic keys beside the fields.
        data = row if place.field is None else row.get(place.field.name)
        return value_at(data, place.keys)

    def _own_metadata(self, document: Document) -> dict[str, Any]:
        """Return the metadata without a copy of the id, which other stores put there."""
        metadata = dict(document.metadata)  # the caller's Document is not changed
        primary = self.schema.primary.name
        copied = metadata.get(primary)
        if isinstance(copied, str | int) and id_text(copied) == document.id:
            del metadata[primary]
        return metadata

    def _text(self, text: str) -> str:
        field = self.schema.scalars.get(self.text_field)
        if field is not None:
            return fitting_text(text, field, "text")
        if not self.schema.keeps_text(self.text_field):
            raise InvalidInputError(f"The collection has no text field {self.text_field!r}.")
        return checked_unicode(text)  # whose length is bounded with that of the dynamic field

    def _require_free(self, metadata: Mapping[Any, Any]) -> None:
        primary = self.schema.primary.name
        reserved = {primary, self.text_field, self.metadata_field, DYNAMIC_FIELD}
        for name in metadata:
            if not isinstance(name, str):
                raise InvalidInputError(f"A metadata key must be a string; {name!r} is not.")
            if name in reserved or name in self.schema.vectors:
                raise InvalidInputError(
                    f"The metadata key {name!r} is reserved: it is a field that holds the id, "
                    "the text or a vector. Rename the key."
                )

    def _put(self, row: Row, name: str, value: Any) -> None:
        field = self.schema.scalars.get(name)
        if field is not None:
            row[name] = fitting(value, field)
        elif self.metadata_field is not None:
            row[self.metadata_field][checked_unicode(name)] = exact(value, name)
        elif self.schema.is_dynamic(name):
            if name in _LITE_COLUMNS:
                raise InvalidInputError(f"The metadata key {name!r} is reserved by Milvus Lite.")
            row[checked_unicode(name)] = exact(value, name)

    def _require_all(self, row: Row) -> None:
        for field in self.schema.scalars.values():
            if field.name not in row and not field.optional:
                raise InvalidInputError(
                    f"The collection's field {field.name!r} needs a value; put one into every "
                    "Document's metadata."
                )

    def document(self, row: Row, scope: Scope, fields: Sequence[str] | None = None) -> Document:
        """Return a row from Milvus as a Document.

        Args:
            row: The row.
            scope: The store's scope.
            fields: The metadata keys to keep, or `None` for all.
        """
        schema = self.schema
        key = row[schema.primary.name]
        # A nullable field that was not written is `None` in the row, and no key of the metadata.
        metadata = {
            name: value if type(value) in _PLAIN else plain(value)
            for name, value in row.items()
            if name not in (schema.primary.name, self.text_field, self.metadata_field)
            and name not in schema.vectors
            and not (value is None and name in schema.scalars)
        }
        if self.metadata_field is not None:
            metadata |= plain(row.get(self.metadata_field) or {})
        if fields is not None:
            metadata = {name: value for name, value in metadata.items() if name in fields}
        text = self._text_of(row)
        return Document(id=scope.id(key), page_content=text, metadata=metadata)

    def _text_of(self, row: Row) -> str:
        text = row.get(self.text_field)
        if isinstance(text, str):
            return text
        if text is None and self.text_field in self.schema.scalars:  # which is nullable
            return ""
        raise MilvusError(
            f"An entity has no text as {self.text_field!r}; name the key of the texts as "
            "text_field."
        )


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into batches of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
