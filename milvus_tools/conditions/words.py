"""Values and names as people and models read them: short, on one line, with nothing hidden."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

MAX_CHARS: Final = 200
MAX_VALUES: Final = 20
_MAX_REPR: Final = 40
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)
_PLAIN: Final = re.compile(r"\w[\w.-]*")


def quoted(value: object) -> str:
    """Return a value as JSON has it, with what nobody could see escaped."""
    try:
        text = _json(value[:MAX_CHARS] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in itself
        return f"a value of type {type(value).__name__}"
    return _cut("".join(map(_visible, text)), MAX_CHARS)


def _json(value: object) -> str:
    """Return as much of a value's JSON as is read, and a character to tell that it goes on."""
    text = ""
    for part in _ENCODER.iterencode(value):
        text += part
        if len(text) > MAX_CHARS:
            break
    return text[: MAX_CHARS + 1]


def listed(values: Sequence[Any]) -> str:
    """Return values as JSON has them, the first ones if there are many."""
    some = ", ".join(map(quoted, values[:MAX_VALUES]))
    more = len(values) - MAX_VALUES
    return f"{some} and {more} more" if more > 0 else some


def named(field: str) -> str:
    """Return a field's name, in quotes if it could be read as more than a name."""
    return field if _PLAIN.fullmatch(field) else quoted(field)


def shown(value: object) -> str:
    """Return a value as Python has it, for a sentence that says what is wrong with it."""
    if isinstance(value, str | bytes | list | tuple):  # each item has a character at least
        value = value[:_MAX_REPR]
    try:
        return _cut(repr(value), _MAX_REPR)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"


def _visible(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
