"""Filters as people type them: `year>=2000`."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from milvus_tools.errors import InvalidInputError
from milvus_tools.filters import TypedFilter
from milvus_tools.filters.conditions import All, Condition, Filter, Operator, parse
from milvus_tools.filters.literals import Scalar
from milvus_tools.ingest.files import FILE_FIELDS

_OPERATORS: Final = {
    ">=": Operator.GTE,
    "<=": Operator.LTE,
    "!=": Operator.NE,
    "^=": Operator.PREFIX,
    "=": Operator.EQ,
    ">": Operator.GT,
    "<": Operator.LT,
}
_CONDITION: Final = re.compile(r"([^<>=!^]+)(>=|<=|!=|\^=|=|>|<)(.*)", re.DOTALL)


def read_filters(texts: Sequence[str]) -> TypedFilter | None:
    """Read the filters of a command, which must all hold.

    Args:
        texts: Conditions such as `year>=2000`, `title=Kites` and `source^=/docs/`, or filters in
            the JSON form of the tools.

    Raises:
        InvalidInputError: If one of them is malformed.
    """
    if not texts:
        return None
    return TypedFilter(All([_filter(text) for text in texts]), FILE_FIELDS)


def read_assignment(text: str) -> tuple[str, Scalar]:
    """Read `field=value`.

    Raises:
        InvalidInputError: If the text has another form.
    """
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise InvalidInputError(f"Write field=value, such as team=blue, not {text!r}.")
    scalar: Scalar = _value(value.strip())
    return name.strip(), scalar


def _filter(text: str) -> Filter:
    if text.lstrip().startswith(("{", "[")):
        return parse(_json(text))
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InvalidInputError(
            f"A filter is field, operator and value, such as year>=2000, not {text!r}; the "
            f"operators are {' '.join(_OPERATORS)}."
        )
    return Condition(found[1].strip(), _OPERATORS[found[2]], _value(found[3].strip()))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The filter is not valid JSON.") from error


def _value(text: str) -> Any:
    """Return a number, a boolean or a quoted text as JSON has it, else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float) else text
