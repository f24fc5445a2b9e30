"""The values of conditions, checked against the operator and the field."""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pymilvus import DataType

from milvus_tools._text import shown
from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import MAX_VALUES, FieldType
from milvus_tools.filters.fields import ITEMS, Target
from milvus_tools.filters.literals import INT64_MAX, MAX_EXPRESSION, Scalar

_KINDS: Final[Mapping[FieldType, tuple[type, ...]]] = {
    FieldType.STRING: (str,),
    FieldType.INTEGER: (int,),
    FieldType.NUMBER: (int, float),
    FieldType.BOOLEAN: (bool,),
    FieldType.ANY: (str, int, float, bool),
}
_PHRASES: Final = {
    FieldType.STRING: "a string",
    FieldType.INTEGER: "an integer",
    FieldType.NUMBER: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.ANY: "a string, a number, true or false",
}


def several(value: Any) -> list[Any]:
    """Return the values of an operator that takes a list, or refuse them."""
    if not isinstance(value, list | tuple) or not value:
        raise FilterError("The operator takes a list with at least one value.")
    if len(value) > MAX_VALUES:
        raise FilterError(f"A list of values can have at most {MAX_VALUES} values.")
    return list(value)


def two(value: Any) -> tuple[Any, Any]:
    """Return the two bounds of `between`, or refuse them."""
    if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004
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
    if isinstance(value, dt.date):  # a datetime, too, which is a subclass
        value = value.isoformat()
    if type_ is FieldType.INTEGER and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _is_of(value, _KINDS[type_]):
        raise FilterError(
            f"The field {target.name!r} is compared with {_PHRASES[type_]}, not with "
            f"{shown(value)}."
        )
    if isinstance(value, str) and len(value) > MAX_EXPRESSION:
        raise FilterError(f"A string in a filter can have at most {MAX_EXPRESSION} characters.")
    if isinstance(value, int) and abs(value) > INT64_MAX:
        raise FilterError(f"The value for {target.name!r} must fit in 64 bits.")
    return _as_stored(value, target.stored)


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    # `bool` is a subclass of `int`, but a boolean is not a number here.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _as_stored(value: Scalar, stored: DataType | None) -> Scalar:
    """Return a number as a FLOAT or DOUBLE field stores it, unless it is too great for that."""
    if stored not in (DataType.FLOAT, DataType.DOUBLE):
        return value
    # A FLOAT field holds 0.1 as 0.10000000149, which does not equal the double 0.1.
    with np.errstate(over="ignore"):
        narrow = float(np.float32(value) if stored is DataType.FLOAT else value)
    return narrow if math.isfinite(narrow) else float(value)
