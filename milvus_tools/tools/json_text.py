"""Arguments that a model writes as JSON text, or without the list around a single item.

Text is read as JSON or as it stands, never as a filter expression.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic import BaseModel

from milvus_tools.filters import FieldType, Operator
from milvus_tools.filters.fields import ITEMS
from milvus_tools.filters.literals import MAX_EXPRESSION

_LISTS: Final = {Operator.IN, Operator.NOT_IN, Operator.CONTAINS_ANY, Operator.BETWEEN}
_KINDS: Final[Mapping[FieldType, tuple[type, ...]]] = {
    FieldType.INTEGER: (int, float),
    FieldType.NUMBER: (int, float),
    FieldType.BOOLEAN: (bool,),
}
_JSON_BEGINS: Final = ("[", "{", '"')


def parsed(text: str, *, most: int, wrong: str) -> Any:
    """Parse JSON text.

    Args:
        text: The text.
        most: The most characters.
        wrong: The message of the error.

    Raises:
        ValueError: If the text is not JSON, too long, or nested too deeply.
    """
    if len(text) > most:
        raise ValueError(wrong)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(wrong) from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def texts(value: Any, *, most: int, wrong: str) -> Any:
    """Return the items of a list: JSON text of a list is read, and that of one text is an item.

    Args:
        value: The argument.
        most: The most characters of JSON text.
        wrong: The message of the error.

    Raises:
        ValueError: If a text is not the JSON text of a list or of a text.
    """
    if not isinstance(value, str):
        return value
    read = parsed(value, most=most, wrong=wrong)
    if not isinstance(read, str | list):
        raise ValueError(wrong)  # noqa: TRY004 - pydantic explains no other error
    return [read] if isinstance(read, str) else read


def queries(value: Any, *, most: int, wrong: str) -> Any:
    """Return queries as `texts` does; text that does not begin as JSON is a query itself."""
    if isinstance(value, str) and not value.lstrip().startswith(_JSON_BEGINS):
        return [value]
    return texts(value, most=most, wrong=wrong)


def objects(value: Any, *, most: int, wrong: str) -> Any:
    """Return the items of a list of objects: a single object becomes a list.

    Args:
        value: The argument, or its JSON text.
        most: The most characters of JSON text.
        wrong: The message of the error.

    Raises:
        ValueError: If a text is not JSON.
    """
    value = whole(value, most=most, wrong=wrong)
    return [value] if isinstance(value, Mapping | BaseModel) else value


def whole(value: Any, *, most: int, wrong: str) -> Any:
    """Return an object as it is, or as its JSON text tells it.

    Args:
        value: The argument, or its JSON text.
        most: The most characters of JSON text.
        wrong: The message of the error.

    Raises:
        ValueError: If a text is not JSON.
    """
    return parsed(value, most=most, wrong=wrong) if isinstance(value, str) else value


def operand(value: Any, operator: Operator, type_: FieldType) -> Any:
    """Return the value of a condition as its field needs it.

    Text is read as JSON where the field is not of strings, or the operator takes a list. What
    does not fit stays as it is: it is refused, with the type of the field, when the condition is
    written.

    Args:
        value: The value.
        operator: The operator.
        type_: The type of the field; `ANY` if it is not known.
    """
    if operator is Operator.EXISTS:
        return _read_as(value, (bool,))
    kinds = _KINDS.get(ITEMS.get(type_, type_), ())
    if operator not in _LISTS:
        return _read_as(value, kinds)
    values = _read_as(value, (list,))
    return [_read_as(one, kinds) for one in values] if isinstance(values, list) else values


def _read_as(value: Any, kinds: tuple[type, ...]) -> Any:
    """Return what a text is as JSON if that is of one of the types, or the value itself."""
    if not isinstance(value, str) or not kinds:
        return value
    try:
        read = parsed(value, most=MAX_EXPRESSION, wrong="")
    except ValueError:
        return value
    return read if type(read) in kinds else value
