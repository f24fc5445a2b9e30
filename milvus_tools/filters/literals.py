"""Parts of Milvus filter expressions: literals, references to fields, and joins.

The grammar is Milvus's `Plan.g4`, see <https://milvus.io/docs/boolean.md>. Values reach an
expression only through `literal`, names only through `reference`, and raw text only through
`guard.checked`. None of them trusts its argument.
"""

import math
import re
from collections.abc import Iterable, Sequence

from milvus_tools.errors import FilterError

Scalar = str | int | float | bool

INT64_MAX = 2**63 - 1
MAX_NESTING = 64
MAX_EXPRESSION = 65_536
MAX_WILDCARDS = 3

# What both Milvus's lexer and Milvus Lite's take for an escape, and nothing else: an escape that
# one of them does not know ends the string for it, and what follows would become code.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Keys of the dynamic field that the server cuts in two, or compares with the JSON's own escapes:
# it would find no row, or another key's.
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\]\[")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(
    {"and", "or", "not", "in", "like", "is", "null", "exists", "true", "false", "iso"}
    | {"interval", "between", "array_length", "text_match", "phrase_match", "random_sample"}
    | {"json_contains", "json_contains_all", "json_contains_any"}
    | {"array_contains", "array_contains_all", "array_contains_any"}
)
# Columns of Milvus Lite itself, which a bare key of that name would mean.
_LITE_COLUMNS = frozenset({"_seq", "_partition"})


def literal(value: Scalar) -> str:
    """Write a value as Milvus reads it, whatever it holds.

    Args:
        value: A string, integer, finite float or boolean.

    Returns:
        The literal, quoted and escaped where it needs to be.

    Raises:
        FilterError: If the value has no literal: NaN, an infinity, an integer beyond 64 bits, a
            string that isn't valid Unicode, or another type.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value)
        case float():
            return _float(value)
        case str():
            return '"' + unicode(value).translate(_ESCAPES) + '"'
    raise FilterError(
        f"A filter value must be a string, a number or a boolean, not {type(value).__name__}."
    )


def _integer(value: int) -> str:
    # -2**63 is left out: the server reads the digits first and the sign after.
    if abs(value) > INT64_MAX:
        raise FilterError("An integer in a filter must fit into 64 bits.")
    return str(int(value))


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise FilterError("NaN and infinities can't be compared in a filter; use a finite number.")
    return repr(float(value))


def unicode(text: str) -> str:
    """Return `text` if it can be sent as UTF-8.

    Raises:
        FilterError: If it holds a lone surrogate.
    """
    if _SURROGATE.search(text):
        raise FilterError("A string holds a lone surrogate, which is not valid Unicode.")
    return text


def reference(field: str, *, dynamic: bool) -> str:
    """Write a field's name.

    Args:
        field: The name.
        dynamic: Whether it is a key of the dynamic field rather than a field of the schema.

    Raises:
        FilterError: If it has a name that no expression can hold, or not for every Milvus.
    """
    if not isinstance(field, str):
        raise FilterError(f"A field's name must be a string, not {type(field).__name__}.")
    plain = bool(_IDENTIFIER.fullmatch(field)) and field.lower() not in _KEYWORDS
    if plain and not (dynamic and field in _LITE_COLUMNS):
        return field
    if dynamic:
        return dynamic_key(field)
    raise FilterError(f"The field {field!r} can't be named in a filter expression.")


def dynamic_key(field: str) -> str:
    """Write a key of the dynamic field, as Milvus has it under `$meta`.

    Raises:
        FilterError: If not every Milvus can name it.
    """
    return f"$meta{_in_brackets(field)}"


def json_key(field: str, key: str) -> str:
    """Write a key of a JSON field of the schema.

    Raises:
        FilterError: If not every Milvus can name it.
    """
    return f"{reference(field, dynamic=False)}{_in_brackets(key)}"


def _in_brackets(key: str) -> str:
    if not key or _UNREADABLE.search(key):
        raise FilterError(f"The key {key!r} can't be named in a filter expression.")
    return f"[{literal(key)}]"


def equals(field: str, value: Scalar, *, dynamic: bool) -> str:
    """Write the condition that a field has a value."""
    return f"{reference(field, dynamic=dynamic)} == {literal(value)}"


def one_of(field: str, values: Sequence[str | int]) -> str:
    """Write the condition that a field of the schema has one of some values."""
    return f"{reference(field, dynamic=False)} in [{', '.join(map(literal, values))}]"


def all_of(expressions: Iterable[str]) -> str:
    """Join expressions with `and`, each in brackets of its own; empty ones are left out."""
    return _joined([one for one in expressions if one], "and")


def any_of(expressions: Iterable[str]) -> str:
    """Join expressions with `or`, each in brackets of its own; empty ones are left out."""
    return _joined([one for one in expressions if one], "or")


def _joined(parts: Sequence[str], word: str) -> str:
    if len(parts) == 1:
        return parts[0]
    return f" {word} ".join(f"({part})" for part in parts)
