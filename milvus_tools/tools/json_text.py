"""Arguments that a model writes as JSON text, or without the list around a single item.

Text is read as JSON or as it stands, never as a filter expression.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic import BaseModel

from milvus_tools.errors import FilterError
from milvus_tools.filters import FieldType, Operator
from milvus_tools.filters.fields import ITEMS
from milvus_tools.filters.literals import MAX_EXPRESSION

_LISTS: Final = {Operator.IN, Operator.NOT_IN, Operator.CONTAINS_ANY, Operator.BETWEEN}
_READ: Final = {
    FieldType.INTEGER: (int, float),
    FieldType.NUMBER: (int, float),
    FieldType.BOOLEAN: (bool,),
}


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


def items(value: Any, *, most: int, wrong: str) -> Any:
    """Return the items of a list of scalars: a single item becomes a list.

    Text that begins as a JSON list or object is read as JSON, and other text is an item.

    Args:
        value: The argument.
        most: The most characters of JSON text.
        wrong: The message of the error.

    Raises:
        ValueError: If a text begins as JSON, and is not JSON.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        value = parsed(value, most=most, wrong=wrong)
    return [value] if isinstance(value, str | int | float) else value


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
    does not fit is returned as it is, and is refused with the field's type later.

    Args:
        value: The value.
        operator: The operator.
        type_: The type of the field; `ANY` if it is not known.

    Raises:
        FilterError: If a text begins as a JSON list, and is not JSON.
    """
    if operator is Operator.EXISTS:
        return _scalar(value, FieldType.BOOLEAN)
    item = ITEMS.get(type_, type_)
    if operator not in _LISTS:
        return _scalar(value, item)
    wrong = f"The operator {operator} takes a list; the text is not JSON."
    try:
        values = items(value, most=MAX_EXPRESSION, wrong=wrong)
    except ValueError as error:
        raise FilterError(wrong) from error
    return [_scalar(one, item) for one in values] if isinstance(values, list) else values


def _scalar(value: Any, type_: FieldType) -> Any:
    if not isinstance(value, str) or type_ not in _READ:
        return value
    try:
        read = parsed(value.lower(), most=MAX_EXPRESSION, wrong="")
    except ValueError:
        return value
    fits = isinstance(read, _READ[type_]) and (
        type_ is FieldType.BOOLEAN or not isinstance(read, bool)
    )
    return read if fits else value
