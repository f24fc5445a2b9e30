"""Checks of values: those that Milvus would not return unchanged are refused."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from milvus_tools.errors import DimensionError, FilterError, InvalidInputError
from milvus_tools.filters.literals import INT64_MAX, unicode
from milvus_tools.filters.stored import stored
from milvus_tools.schema import DENSE, Field
from milvus_tools.transport.requests import Vector

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
    DataType.JSON: (dict, list),  # no `str`, which pymilvus takes for JSON that is encoded already
}


def exact(value: Any, where: str, depth: int = 0) -> Any:
    """Return a metadata value in the form in which JSON keeps it unchanged.

    Args:
        value: The metadata value. Dates, UUIDs, members of enumerations, tuples and NumPy's values
            are converted as `stored` describes.
        where: The metadata key, for the message.
        depth: The level at which the value is nested.

    Raises:
        InvalidInputError: If JSON would change or lose the value.
    """
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"The metadata {where!r} is nested deeper than {_MAX_DEPTH}.")
    value = _stored(value, where)
    match value:
        case None | bool():  # before `int`, of which `bool` is a subclass
            return value
        case str():
            return checked_unicode(value)
        case int() if -INT64_MAX - 1 <= value <= INT64_MAX:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case list():
            return [exact(item, where, depth + 1) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {
                checked_unicode(key): exact(item, where, depth + 1) for key, item in value.items()
            }
        case int() | float():
            raise InvalidInputError(
                f"The metadata {where!r} holds a number that Milvus can't keep: integers must "
                "fit into 64 bits, and floats must be finite."
            )
    raise InvalidInputError(
        f"The metadata {where!r} holds a {type(value).__name__}, for which Milvus has no "
        "form; use strings, numbers, booleans, None, dates, UUIDs, and lists and dictionaries of "
        "them."
    )


def _stored(value: Any, where: str) -> Any:
    try:
        return stored(value)
    except FilterError as error:
        raise InvalidInputError(f"The metadata {where!r}: {error}") from error


def exact_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata in the form in which Milvus keeps it, as `exact` does."""
    return {name: exact(value, name) for name, value in metadata.items()}


def checked_vectors(vectors: Sequence[Vector], field: Field, count: int) -> Sequence[Vector]:
    """Return embeddings after a check against the vector field that they are for.

    Args:
        vectors: The embeddings.
        field: The vector field, to write to or to search.
        count: The number of embeddings that there must be.

    Returns:
        For a dense field, float32 rows of an array of shape `(count, dim)`; else the vectors.

    Raises:
        DimensionError: If their number is wrong, or one has another dimension than the field or
            is not finite.
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
            f"The vectors for {field.name!r} are not lists of numbers of the same length."
        ) from error
    if array.ndim != 2 or array.shape[1] != field.dim:  # noqa: PLR2004
        dim = array.shape[1] if array.ndim == 2 else 0  # noqa: PLR2004
        raise DimensionError(
            f"The vectors have {dim} dimensions, but the collection's field {field.name!r} has "
            f"{field.dim}; the collection was made with another embedding model."
        )
    if not np.isfinite(array).all():
        raise DimensionError("A vector holds NaN or an infinity; its numbers must be finite.")
    if field.type == DataType.FLOAT16_VECTOR:
        return list(array.astype(np.float16))
    return list(array)


def compact(vectors: Sequence[Vector]) -> Sequence[Vector]:
    """Return dense vectors as one float32 array, `(n, dim)`, and other vectors unchanged.

    A list of Python floats takes eight times the memory and is read one float at a time. A number
    that float32 can't hold becomes infinite, which `checked_vectors` refuses.
    """
    if not len(vectors) or not is_list(vectors[0]):
        return vectors
    try:
        with np.errstate(over="ignore"):
            array: Any = np.asarray(vectors, dtype=np.float32)
    except (OverflowError, TypeError, ValueError):
        return vectors  # `checked_vectors` refuses them, and can name the field
    return array if array.ndim == 2 else vectors  # noqa: PLR2004


def is_list(value: object) -> bool:
    """Tell whether a value can stand for a list: a sequence or an array, but not a string."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def as_array(cells: Sequence[Any], field: Field) -> npt.NDArray[np.float32]:
    """Return dense vectors that Milvus returned as one float32 array, `(n, dim)`.

    Args:
        cells: The vectors as pymilvus returns them: each is a list of floats, or for 16-bit
            numbers `bytes`, in a list of one if it answers a query.
        field: The vector field.
    """
    array = np.empty((len(cells), field.dim or 0), dtype=np.float32)
    for number, cell in enumerate(cells):  # one by one, so that other threads have their turn
        array[number] = _numbers(cell, field.type)
    return array


def _numbers(cell: Any, type_: DataType) -> Any:
    if type_ == DataType.FLOAT_VECTOR:
        return cell
    number = cell if isinstance(cell, bytes) else cell[0]
    if type_ == DataType.FLOAT16_VECTOR:
        return np.frombuffer(number, dtype="<f2")
    # BFLOAT16 is the upper half of a float32.
    return (np.frombuffer(number, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


def id_text(id_: object) -> str:
    """Return an id as text.

    Raises:
        InvalidInputError: If the id is neither a string nor an integer, or the integer is too
            long.
    """
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        raise InvalidInputError(f"An id must be a string, not {type(id_).__name__}.")
    try:
        return str(id_)
    except ValueError as error:  # Python's limit on the digits of an integer
        raise InvalidInputError(
            "An id is an integer of thousands of digits; use a shorter one."
        ) from error


def integer_key(id_: str) -> int:
    """Return an id as an integer key.

    Only the form that `str` writes is accepted, so that two ids never mean one key.
    """
    try:
        number = int(id_)
    except ValueError:
        number = None
    if number is None or str(number) != id_ or abs(number) > INT64_MAX:
        raise InvalidInputError(
            f"The collection's keys are 64-bit integers; the id {id_[:40]!r} is not one."
        )
    return number


def checked_unicode(text: str) -> str:
    """Return a text as a plain string, after a check that it is valid Unicode."""
    try:
        return str.__str__(unicode(text))
    except FilterError as error:
        raise InvalidInputError(str(error)) from error


def fitting_text(text: object, field: Field, what: str) -> str:
    """Return a text after a check that a VARCHAR field can hold it."""
    if not isinstance(text, str):
        raise InvalidInputError(f"The {what} must be a string, not {type(text).__name__}.")
    size = len(checked_unicode(text).encode())
    if size > field.max_length:
        raise InvalidInputError(
            f"The {what} has {size} bytes; the collection's field {field.name!r} holds at most "
            f"{field.max_length}."
        )
    return text


def fitting(value: Any, field: Field) -> Any:
    """Return a metadata value after a check that a field of the schema can hold it unchanged."""
    value = _stored(value, field.name)
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
            f"The metadata {field.name!r} has {len(value)} items; the field holds at most "
            f"{field.max_capacity}."
        )
    return [fitting(item, element) for item in value]


def _fits_number(value: Any, type_: DataType) -> bool:
    """Tell whether a type can hold a number; an integer must stay exact as a float."""
    if type_ in _INTEGERS:
        return bool(-_INTEGERS[type_] <= value < _INTEGERS[type_])
    if type_ not in (DataType.FLOAT, DataType.DOUBLE):
        return True
    with np.errstate(over="ignore"):
        # What becomes infinite here does not fit.
        stored = float(np.float32(value) if type_ == DataType.FLOAT else value)
    return math.isfinite(stored) and (isinstance(value, float) or stored == value)


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def plain(value: Any) -> Any:
    """Return a value as Python's own types, in containers that no other Document shares."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, Iterable) else value
