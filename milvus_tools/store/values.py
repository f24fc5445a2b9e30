"""Values that come back from Milvus as they were: whatever would not is refused."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from milvus_tools.errors import DimensionError, FilterError, InvalidInputError
from milvus_tools.filters.literals import INT64_MAX, unicode
from milvus_tools.schema import DENSE, Field
from milvus_tools.transport.requests import (
    Vector,
)

_MAX_DEPTH = 32
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
    DataType.JSON: (dict, list),  # pymilvus takes a string for JSON that is written out already
}


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
            return sendable(value)
        case int() if -INT64_MAX - 1 <= value <= INT64_MAX:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case list():
            return [exact(item, where, depth + 1) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {sendable(key): exact(item, where, depth + 1) for key, item in value.items()}
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


def compact(vectors: Sequence[Vector]) -> Sequence[Vector]:
    """Return dense vectors as one float32 array, `(n, dim)`; others as they are.

    A list of Python floats takes eight times the room, and whoever reads it goes float by float.
    What float32 can't hold becomes infinite, which `checked_vectors` refuses.
    """
    if not len(vectors) or not is_list(vectors[0]):
        return vectors
    try:
        with np.errstate(over="ignore"):
            array: Any = np.asarray(vectors, dtype=np.float32)
    except (OverflowError, TypeError, ValueError):
        return vectors  # refused where it is known what they should be
    return array if array.ndim == 2 else vectors  # noqa: PLR2004


def is_list(value: object) -> bool:
    """Tell whether a value is what a list may be given as: an array, too, but no string."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def as_array(cells: Sequence[Any], field: Field) -> npt.NDArray[np.float32]:
    """Return dense vectors that Milvus returned, `(n, dim)`.

    Args:
        cells: The vectors as pymilvus has them: a list of floats each, or one of raw bytes for
            numbers of 16 bits.
        field: Their field.
    """
    array = np.empty((len(cells), field.dim or 0), dtype=np.float32)
    for number, cell in enumerate(cells):  # one by one, so that other threads have their turns
        array[number] = _numbers(cell, field.type)
    return array


def _numbers(cell: Any, type_: DataType) -> Any:
    if type_ == DataType.FLOAT16_VECTOR:
        return np.frombuffer(cell[0], dtype="<f2")
    if type_ == DataType.BFLOAT16_VECTOR:  # the upper half of a float32
        return (np.frombuffer(cell[0], dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return cell


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


def integer_key(id_: str) -> int:
    """Return an id as an integer key, if it is one in its plainest form."""
    try:
        number = int(id_)
    except ValueError:
        number = None
    if number is None or str(number) != id_ or abs(number) > INT64_MAX:
        raise InvalidInputError(
            f"The collection's keys are 64-bit integers; the id {id_[:40]!r} is none."
        )
    return number


def sendable(text: str) -> str:
    """Return a text if it is valid Unicode."""
    try:
        return unicode(text)
    except FilterError as error:
        raise InvalidInputError(str(error)) from error


def fitting_text(text: object, field: Field, what: str) -> str:
    """Return a text that a VARCHAR field will hold as it is."""
    if not isinstance(text, str):
        raise InvalidInputError(f"The {what} must be a string, not {type(text).__name__}.")
    size = len(sendable(text).encode())
    if size > field.max_length:
        raise InvalidInputError(
            f"The {what} has {size} bytes; the collection's field {field.name!r} holds "
            f"{field.max_length}."
        )
    return text


def fitting(value: Any, field: Field) -> Any:
    """Return a value that a field of the schema will hold as it is."""
    if value is None and field.optional:
        return None
    if field.type == DataType.VARCHAR:
        return fitting_text(value, field, f"metadata {field.name!r}")
    if field.element is not None:
        return _fitting_items(value, field, field.element)
    value = exact(value, field.name)
    kinds = _KINDS.get(field.type)
    if kinds is None:
        return value
    if not _is_of(value, kinds):
        raise InvalidInputError(
            f"The metadata {field.name!r} must be {field.type.name}, not {type(value).__name__}."
        )
    if not _fits_number(value, field.type):
        raise InvalidInputError(f"The metadata {field.name!r} does not fit {field.type.name}.")
    return value


def _fitting_items(value: Any, field: Field, element: Field) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInputError(
            f"The metadata {field.name!r} must be a list, not {type(value).__name__}."
        )
    if len(value) > field.max_capacity:
        raise InvalidInputError(
            f"The metadata {field.name!r} has {len(value)} items; the field holds "
            f"{field.max_capacity}."
        )
    return [fitting(item, element) for item in value]


def _fits_number(value: Any, type_: DataType) -> bool:
    """Tell whether a number is in the range of a type, and a whole one stays what it is."""
    if type_ in _INTEGERS:
        return bool(-_INTEGERS[type_] <= value < _INTEGERS[type_])
    if type_ not in (DataType.FLOAT, DataType.DOUBLE):
        return True
    with np.errstate(over="ignore"):
        stored = float(np.float32(value) if type_ == DataType.FLOAT else value)
    return math.isfinite(stored) and (isinstance(value, float) or stored == value)


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def plain(value: Any) -> Any:
    """Turn protobuf's and numpy's containers into Python's, which no other Document shares."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, Iterable) else value
