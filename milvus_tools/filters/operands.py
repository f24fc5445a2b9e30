"""The values of conditions, checked against the operator and the field."""

import datetime as dt
import enum
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pymilvus import DataType

from milvus_tools._text import shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import FieldType, values_of
from milvus_tools.filters.fields import ITEMS, Target
from milvus_tools.filters.literals import INT64_MAX, INT64_MIN, MAX_EXPRESSION, Scalar
from milvus_tools.filters.stored import TIME, is_day, stored, time_of

EXACT: Final = 2**53  # up to here, each integer is a double
_KINDS: Final[Mapping[FieldType, tuple[type, ...]]] = {
    FieldType.STRING: (str,),
    FieldType.INTEGER: (int,),
    FieldType.NUMBER: (int, float),
    FieldType.BOOLEAN: (bool,),
    FieldType.DATETIME: (str,),
    FieldType.ANY: (str, int, float, bool),
}
_PHRASES: Final = {
    FieldType.STRING: "a string",
    FieldType.INTEGER: "an integer",
    FieldType.NUMBER: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.DATETIME: TIME,
    FieldType.ANY: "a string, a number, true or false",
}


def several(value: Any) -> list[Any]:
    """Return the values of an operator that takes a list, or refuse them."""
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        raise FilterError("The operator takes a list with at least one value.")
    return list(values_of(value))


def two(value: Any) -> tuple[Any, Any]:
    """Return the two bounds of `between`, or refuse them."""
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2:  # noqa: PLR2004
        raise FilterError("The operator between takes a list of two values, both included.")
    return value[0], value[1]


def text(value: Any, operator: str) -> str:
    """Return the value of an operator that takes a string, or refuse it."""
    if not isinstance(value, str):
        raise FilterError(f"The operator {operator} takes a string.")
    return value


def flag(value: Any) -> bool:
    """Return the value of `exists`, or refuse it."""
    if not isinstance(value, bool):
        raise FilterError("The operator exists takes true or false.")
    return value


def fitting(value: Any, target: Target) -> Scalar:
    """Return a value as it is compared with a field, or with an item of an ARRAY field.

    Raises:
        FilterError: If the value has the wrong type, or no literal can hold it.
    """
    type_ = ITEMS.get(target.type, target.type)
    value = stored(_time(value) if type_ is FieldType.DATETIME else value)
    if type_ is FieldType.INTEGER and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _is_of(value, _KINDS[type_]):
        raise FilterError(
            f"The field {target.name!r} is compared with {_PHRASES[type_]}, not with "
            f"{shown(value)}."
        )
    if isinstance(value, str) and len(value) > MAX_EXPRESSION:
        raise FilterError(f"A string in a filter can have at most {MAX_EXPRESSION} characters.")
    if isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        raise FilterError(f"The value for {target.name!r} must fit in 64 bits.")
    if target.field is None and isinstance(value, float) and abs(value) >= EXACT:
        return _as_integer(value, target)
    return _as_stored(value, target)


def is_whole_day(value: Any, target: Target) -> bool:
    """Tell whether a value that is compared with a field is a date without a time."""
    return is_day(_time(value) if target.type is FieldType.DATETIME else value)


def _time(value: Any) -> Any:
    """Return the date or datetime that a text means; another value, or other text, as None."""
    if not isinstance(value, str):
        return value if isinstance(value, dt.date | np.datetime64 | enum.Enum) else None
    try:
        return time_of(value)
    except ValueError:
        return None


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    # `bool` is a subclass of `int`, but a boolean is not a number here.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _as_integer(value: float, target: Target) -> Scalar:
    """Return a great float as the integer that equals it.

    The server compares a float with a row's integers as doubles, of which several integers share
    one.
    """
    if INT64_MIN <= value <= INT64_MAX and int(value) <= INT64_MAX:
        return int(value)
    if not target.lite and value == INT64_MAX + 1:
        raise FilterError(
            f"This Milvus can't compare {target.name!r} with 2**63 exactly; use a number that is "
            "greater or less."
        )
    return value


def _as_stored(value: Scalar, target: Target) -> Scalar:
    """Return a number as a FLOAT or DOUBLE field stores it, unless it is too great for that."""
    stored = target.stored
    if stored not in (DataType.FLOAT, DataType.DOUBLE):
        return value
    if isinstance(value, int) and abs(value) > EXACT and int(float(value)) != value:
        raise FilterError(
            f"The field {target.name!r} holds doubles, none of which equals {value}; beyond 2**53 "
            "not every integer is one."
        )
    # A FLOAT field holds 0.1 as 0.10000000149, which does not equal the double 0.1.
    with np.errstate(over="ignore"):
        narrow = float(np.float32(value) if stored is DataType.FLOAT else value)
    return narrow if math.isfinite(narrow) else float(value)
