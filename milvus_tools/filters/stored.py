"""The forms in which Milvus holds Python's values: text, numbers, booleans and lists.

A datetime with a time zone is written in UTC, as `2024-01-31T12:00:00+00:00`. Such texts sort by
time, and after the text of their day, `2024-01-31`.
"""

import datetime as dt
import enum
import functools
import uuid
from typing import Any, Final

import numpy as np

from milvus_tools.errors import FilterError

_PLAIN: Final = frozenset({str, int, float, bool, type(None), list, dict})


def stored(value: Any) -> Any:
    """Return the form in which Milvus holds a Python value.

    Dates, times and UUIDs become text, members of enumerations their values, tuples and arrays
    lists, and NumPy's scalars Python's. The items of lists are not converted, and a value that has
    no such form is returned as it is.

    Raises:
        FilterError: If the value is a point in time that has no such form.
    """
    return value if type(value) in _PLAIN else _form(value)


@functools.singledispatch
def _form(value: Any) -> Any:
    return value


@_form.register
def _(value: enum.Enum) -> Any:
    return stored(value.value)


@_form.register
def _(value: np.generic) -> Any:
    return value.item()


@_form.register
def _(value: np.timedelta64) -> Any:
    return value  # NumPy's item is an integer, without the unit


@_form.register
def _(value: np.datetime64) -> str:
    micros = value.astype("datetime64[us]")
    exact = not np.isnat(value) and micros == value
    # A date is written without a time. The years before 1 and after 9999 are no dates of Python's.
    point: Any = (value if is_day(value) else micros).item() if exact else None
    if not isinstance(point, dt.date):
        raise FilterError(_no_form(value))
    return point.isoformat()


@_form.register
def _(value: np.ndarray) -> Any:
    return list(value) if value.ndim else stored(value[()])


@_form.register
def _(value: tuple) -> list[Any]:  # type: ignore[type-arg]  # a class, for `register`
    return list(value)


@_form.register
def _(value: dt.datetime) -> str:
    # pandas has a datetime that is none (NaT), and finer ones.
    if str(value) == "NaT" or getattr(value, "nanosecond", False):
        raise FilterError(_no_form(value))
    try:
        in_utc = value if value.tzinfo is None else value.astimezone(dt.UTC)
    except OverflowError:  # in the year 1 or 9999, but not in UTC
        raise FilterError(_no_form(value)) from None
    return dt.datetime.isoformat(in_utc)


@_form.register
def _(value: dt.date) -> str:
    return value.isoformat()


@_form.register
def _(value: dt.time) -> Any:
    return value.isoformat() if value.tzinfo is None else value


@_form.register
def _(value: uuid.UUID) -> str:
    return str(value)


def is_day(value: object) -> bool:
    """Tell whether a value is a date without a time."""
    if isinstance(value, enum.Enum):
        return is_day(value.value)
    if isinstance(value, np.datetime64):
        return np.datetime_data(value.dtype)[0] == "D"
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def _no_form(value: object) -> str:
    return (
        f"{str(value)[:50]!r} can't be stored as a time; the years are 1 to 9999, in UTC, and the "
        "finest unit is a microsecond."
    )


TIME: Final = "a date or a time in ISO 8601, such as 2024-01-31 or 2024-01-31T12:00:00Z"


def time_text(text: str) -> str:
    """Return a date or a time in ISO 8601 as the store writes it, with a time zone in UTC.

    Raises:
        FilterError: If the text is none.
    """
    try:
        return str(stored(time_of(text)))
    except ValueError as error:
        raise FilterError(f"It must be {TIME}.") from error


def time_of(text: str) -> dt.date:
    """Return the date, or the datetime, that a text in ISO 8601 means.

    Raises:
        ValueError: If it means none.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return dt.datetime.fromisoformat(text)
