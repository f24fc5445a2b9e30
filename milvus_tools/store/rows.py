"""Documents to rows and back: pure functions over what Milvus and LangChain hold.

Whatever a row can't hold exactly is refused here, before anything is sent.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import DimensionError, FilterError, InvalidInputError
from milvus_tools.filters import INT64_MAX, unicode
from milvus_tools.schema import DENSE, DYNAMIC_FIELD, Field, Schema
from milvus_tools.store.scope import Scope
from milvus_tools.store.transport import Row, Vector

Item = TypeVar("Item")
Key = str | int
_MAX_DEPTH = 32
_LITE_COLUMNS = frozenset({"_seq", "_partition"})  # Milvus Lite drops metadata of these names
_INTEGERS = {
    DataType.INT8: 2**7,
    DataType.INT16: 2**15,
    DataType.INT32: 2**31,
    DataType.INT64: 2**63,
}
_KINDS: dict[DataType, tuple[type, ...]] = {
    DataType.BOOL: (bool,),
    **dict.fromkeys(_INTEGERS, (int,)),
    DataType.FLOAT: (float, int),
    DataType.DOUBLE: (float, int),
    DataType.VARCHAR: (str,),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a Document's parts stand in a row of the collection.

    Attributes:
        schema: The collection.
        text_field: The field of the text.
        metadata_field: The JSON field that holds all metadata, or `None` for a field or dynamic
            key per metadata key.
    """

    schema: Schema
    text_field: str
    metadata_field: str | None = None

    def key(self, id_: object, scope: Scope) -> Key:
        """Return the stored key of an id.

        Raises:
            InvalidInputError: If the id does not fit the primary key's type.
        """
        field = self.schema.primary
        text = id_text(id_)
        if field.type != DataType.VARCHAR:
            return _integer_key(text)
        return _fitting_text(scope.key(text), field, "id")

    def id(self, key: Key, scope: Scope) -> str:
        """Return the id of a stored key."""
        return scope.id(key) if isinstance(key, str) else str(key)

    def row(self, document: Document, key: Key | None, scope: Scope) -> Row:
        """Write a Document as a row, without its vectors.

        Args:
            document: The document.
            key: Its stored key, or `None` if Milvus makes the keys.
            scope: The store's scope, stamped on the row.

        Raises:
            InvalidInputError: If the row can't hold the document exactly.
        """
        text = self.schema.scalars.get(self.text_field)
        if text is None:
            raise InvalidInputError(f"The collection has no text field {self.text_field!r}.")
        metadata = scope.stamp(self._own_metadata(document))
        self._require_free(metadata)
        row: Row = {self.text_field: _fitting_text(document.page_content, text, "text")}
        if key is not None:
            row[self.schema.primary.name] = key
        if self.metadata_field is not None:
            row[self.metadata_field] = {}
        for name, value in metadata.items():
            self._put(row, name, value)
        self._require_all(row)
        if not scope.holds(row):
            raise InvalidInputError(
                "The collection has no place for the scope's fields where they can be filtered on."
            )
        return row

    def _own_metadata(self, document: Document) -> dict[str, Any]:
        """Return the metadata without the copy of the id that other stores leave there."""
        metadata = dict(document.metadata)
        primary = self.schema.primary.name
        copied = metadata.get(primary)
        if isinstance(copied, str | int) and id_text(copied) == document.id:
            del metadata[primary]
        return metadata

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
            row[name] = _fitting(value, field)
        elif self.metadata_field is not None:
            row[self.metadata_field][_text(name)] = exact(value, name)
        elif self.schema.is_dynamic(name):
            if name in _LITE_COLUMNS:
                raise InvalidInputError(f"The metadata key {name!r} is reserved by Milvus Lite.")
            row[_text(name)] = exact(value, name)

    def _require_all(self, row: Row) -> None:
        for field in self.schema.scalars.values():
            if field.name not in row and not field.optional:
                raise InvalidInputError(
                    f"The collection's field {field.name!r} needs a value: put it into every "
                    "document's metadata."
                )

    def document(self, row: Row, scope: Scope, fields: Sequence[str] | None = None) -> Document:
        """Read a row as a Document.

        Args:
            row: The row, as Milvus returned it.
            scope: The store's scope.
            fields: The metadata keys to keep, or `None` for all.
        """
        schema = self.schema
        key = row[schema.primary.name]
        metadata = {
            name: _plain(value)
            for name, value in row.items()
            if name not in (schema.primary.name, self.text_field, self.metadata_field)
            and name not in schema.vectors
            and not (value is None and name in schema.scalars)
        }
        if self.metadata_field is not None:
            metadata |= row.get(self.metadata_field) or {}
        if fields is not None:
            metadata = {name: value for name, value in metadata.items() if name in fields}
        return Document(
            id=self.id(key, scope), page_content=row[self.text_field], metadata=metadata
        )


def exact(value: Any, where: str, depth: int = 0) -> Any:
    """Return a value as JSON will bring it back.

    Args:
        value: A metadata value; a scalar of numpy counts as Python's.
        where: The metadata key, for the error.
        depth: How deep in a value this is.

    Raises:
        InvalidInputError: If JSON would change or lose it.
    """
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"The metadata {where!r} is nested deeper than {_MAX_DEPTH}.")
    value = value.item() if isinstance(value, np.generic) else value
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int() if -INT64_MAX - 1 <= value <= INT64_MAX:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case list():
            return [exact(item, where, depth + 1) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {_text(key): exact(item, where, depth + 1) for key, item in value.items()}
        case int() | float():
            raise InvalidInputError(
                f"The metadata {where!r} holds a number that Milvus can't keep: integers must "
                "fit into 64 bits, and floats be finite."
            )
    raise InvalidInputError(
        f"The metadata {where!r} holds a {type(value).__name__}, which would not come back as "
        "it was; use strings, numbers, booleans, None, and lists and dictionaries of them."
    )


def checked_vectors(vectors: Sequence[Vector], field: Field, count: int) -> Sequence[Vector]:
    """Check embeddings against the field that is to hold them, or to be searched.

    Args:
        vectors: The embeddings.
        field: The vector field.
        count: How many there must be.

    Returns:
        For a dense field float32 rows of an array of shape `(count, dim)`, else the vectors.

    Raises:
        DimensionError: If there are more or fewer, or one has another dimension or isn't finite.
    """
    if len(vectors) != count:
        raise DimensionError(f"The embedding model made {len(vectors)} vectors of {count} texts.")
    if field.type not in DENSE or count == 0:
        return vectors
    try:
        with np.errstate(over="ignore"):  # what float32 can't hold is refused below
            array = np.asarray(vectors, dtype=np.float32)
    except (OverflowError, TypeError, ValueError) as error:
        raise DimensionError(
            f"The vectors for {field.name!r} are not lists of numbers of one length."
        ) from error
    if array.ndim != 2 or array.shape[1] != field.dim:  # noqa: PLR2004
        dim = array.shape[1] if array.ndim == 2 else 0  # noqa: PLR2004
        raise DimensionError(
            f"The vectors have {dim} dimensions, but the collection's field {field.name!r} has "
            f"{field.dim}: it was made with another embedding model."
        )
    if not np.isfinite(array).all():
        raise DimensionError("A vector holds NaN or an infinity.")
    if field.type == DataType.FLOAT16_VECTOR:
        return list(array.astype(np.float16))
    return list(array)


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def id_text(id_: object) -> str:
    """Return an id as text.

    Raises:
        InvalidInputError: If it is neither a string nor an integer of a sane length.
    """
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        raise InvalidInputError(f"An id must be a string, not {type(id_).__name__}.")
    try:
        return str(id_)
    except ValueError as error:
        raise InvalidInputError("An id is an integer of thousands of digits.") from error


def _integer_key(id_: str) -> int:
    try:
        number = int(id_)
    except ValueError:
        number = None
    if number is None or str(number) != id_ or abs(number) > INT64_MAX:
        raise InvalidInputError(
            f"The collection's keys are 64-bit integers; the id {id_[:40]!r} is none."
        )
    return number


def _text(text: str) -> str:
    try:
        return unicode(text)
    except FilterError as error:
        raise InvalidInputError(str(error)) from error


def _fitting_text(text: object, field: Field, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidInputError(f"The {what} must be a string, not {type(text).__name__}.")
    size = len(_text(text).encode())
    if size > field.max_length:
        raise InvalidInputError(
            f"The {what} has {size} bytes; the collection's field {field.name!r} holds "
            f"{field.max_length}."
        )
    return text


def _fitting(value: Any, field: Field) -> Any:
    """Return a value that a field of the schema will hold as it is."""
    if value is None and field.optional:
        return None
    if field.type == DataType.VARCHAR:
        return _fitting_text(value, field, f"metadata {field.name!r}")
    value = exact(value, field.name)
    kinds = _KINDS.get(field.type)
    if kinds is None:
        return value
    if not _is_of(value, kinds):
        raise InvalidInputError(
            f"The metadata {field.name!r} must be {field.type.name}, not {type(value).__name__}."
        )
    limit = _INTEGERS.get(field.type)
    if limit is not None and not -limit <= value < limit:
        raise InvalidInputError(f"The metadata {field.name!r} does not fit {field.type.name}.")
    return value


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _plain(value: Any) -> Any:
    """Turn protobuf's and numpy's containers into Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float | bool | dict | list) or value is None:
        return value
    return list(value) if isinstance(value, Iterable) else value


def metadata_of(documents: Sequence[Document]) -> Mapping[str, Any]:
    """Return the first document's metadata, which shapes a collection without dynamic field."""
    return documents[0].metadata if documents else {}
