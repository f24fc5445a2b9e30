"""Tells what an embedding model's error means, whichever client it comes from.

No client is imported: an error is known by the HTTP status and headers that it or its cause
carries, or by the name of its class.
"""

import datetime as dt
import email.utils
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from milvus_tools.errors import MilvusToolsError

_OVERLOADED: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_BAD_TEXT: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_NO_ANSWER: Final = {
    "APIConnectionError",  # of openai and other generated clients
    "ClientConnectionError",  # of aiohttp
    "ConnectionError",  # Python's, and that of requests
    "NetworkError",  # of httpx, as the next two
    "RemoteProtocolError",
    "TimeoutException",
    "Timeout",  # of requests
    "TimeoutError",
}
_STATUSES: Final = range(100, 600)
_MOST_CAUSES: Final = 10  # causes can form a ring


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may well succeed later."""
    status = _status(error)
    if status is not None:
        return status in _OVERLOADED or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    names = {kind.__name__ for one in _causes(error) for kind in type(one).__mro__}
    return not names.isdisjoint(_NO_ANSWER)


def is_invalid(error: BaseException) -> bool:
    """Tell whether one of the texts may be to blame, so that the others would do without it.

    A model on this machine says so by a `ValueError`, and so does a client for a text that is
    no valid Unicode; but an answer that can't be read, or is wrong, is no text's fault.
    """
    status = _status(error)
    if status is not None:
        return status in _BAD_TEXT
    answered = isinstance(error, json.JSONDecodeError | MilvusToolsError)
    return isinstance(error, ValueError) and not answered


def retry_after(error: BaseException) -> float | None:
    """Return how many seconds the service asks to wait, if it does."""
    for headers in _headers(error):
        for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            seconds = _seconds(headers.get(name), unit)
            if seconds is not None:
                return seconds
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it: some integrations wrap what their client raised."""
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__


def _status(error: BaseException) -> int | None:
    places = ((one, getattr(one, "response", None)) for one in _causes(error))
    for place in itertools.chain.from_iterable(places):
        for name in ("status_code", "status", "code"):
            value = getattr(place, name, None)
            if isinstance(value, int) and value in _STATUSES:
                return int(value)
    return None


def _headers(error: BaseException) -> Iterator[dict[str, Any]]:
    for one in _causes(error):
        for place in (getattr(one, "response", None), one):
            headers = getattr(place, "headers", None)
            if isinstance(headers, Mapping):
                yield {str(name).lower(): value for name, value in headers.items()}


def _seconds(value: object, unit: float) -> float | None:
    """Read a header that holds a number, or a date; `None` if it makes no sense."""
    if value is None:
        return None
    try:
        seconds = float(str(value)) * unit
    except ValueError:
        return _until(str(value))
    return None if math.isnan(seconds) else max(seconds, 0.0)


def _until(date: str) -> float | None:
    try:
        then = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    if then.tzinfo is None:  # as "-0000" is read
        then = then.replace(tzinfo=dt.UTC)
    return max((then - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)
