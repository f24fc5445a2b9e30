"""The parts of filter expressions: literals, references to fields, and joins.

The grammar is Milvus's `Plan.g4`, described at <https://milvus.io/docs/boolean.md>. Values reach
an expression only through `literal`, names only through `reference`, and raw text only through
`guard.checked`, because each of them can carry an injection (T04, T05).
"""

import math
import re
from collections.abc import Iterable, Sequence

from milvus_tools.errors import FilterError

Scalar = str | int | float | bool

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
MAX_NESTING = 64
MAX_EXPRESSION = 65_536  # of a raw expression, or of a string in a filter
MAX_FILTER = 2_097_152  # of an expression that typed conditions become
MAX_WILDCARDS = 3

# The escapes that both the server and Milvus Lite know (T03, T06). An unknown escape ends the
# string, and the text after it becomes code.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Keys that the server would split, or compare with the escapes of the JSON text: it would find no
# row, or the rows of another key.
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\]\[")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(
    {"and", "or", "not", "in", "like", "is", "null", "exists", "true", "false", "iso"}
    | {"interval", "between", "array_length", "text_match", "phrase_match", "random_sample"}
    | {"json_contains", "json_contains_all", "json_contains_any"}
    | {"array_contains", "array_contains_all", "array_contains_any"}
)
# Internal columns of Milvus Lite, which hide a dynamic key of the same name unless it is quoted.
_LITE_COLUMNS = frozenset({"_seq", "_partition"})


def literal(value: Scalar) -> str:
    """Write a value as a literal that every Milvus reads as this value.

    Args:
        value: A string, integer, finite float or boolean.

    Returns:
        The literal. Strings are quoted and escaped.

    Raises:
        FilterError: If the value has no literal: NaN, an infinity, an integer beyond 64 bits, a
            string that is not valid Unicode, or a value of another type.
    """
    match value:
        case bool():  # before `int`, of which it is a subclass
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
    # -2**63 is refused: the server reads the digits without the sign, and 2**63 is too great.
    if abs(value) > INT64_MAX:
        raise FilterError("An integer in a filter must fit in 64 bits.")
    return str(int(value))


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise FilterError("NaN and infinities can't be compared in a filter; use a finite number.")
    # `float`, because NumPy's floats have another `repr`.
    return repr(float(value))


def unicode(text: str) -> str:
    """Return a text that can be sent as UTF-8, or refuse it.

    Raises:
        FilterError: If the text contains a lone surrogate.
    """
    if _SURROGATE.search(text):
        raise FilterError("A string contains a lone surrogate, which is not valid Unicode.")
    return text


def reference(field: str, *, dynamic: bool) -> str:
    """Write a reference to a field.

    Args:
        field: The field's name.
        dynamic: Whether the name is a key of the dynamic field rather than a field of the schema.

    Raises:
        FilterError: If not every Milvus can name the field in an expression.
    """
    if not isinstance(field, str):
        raise FilterError(f"A field's name must be a string, not {type(field).__name__}.")
    plain = bool(_IDENTIFIER.fullmatch(field)) and field.lower() not in _KEYWORDS
    if plain and not (dynamic and field in _LITE_COLUMNS):
        return field
    if dynamic:
        return nested("$meta", [field])
    raise FilterError(f"The field {field!r} can't be named in a filter expression.")


def nested(field: str, keys: Sequence[str]) -> str:
    """Write a reference to a nested key of a JSON or dynamic field: `$meta["key"]["inner"]`.

    Args:
        field: The field, as an expression refers to it.
        keys: The path of keys.

    Raises:
        FilterError: If not every Milvus can name a key in an expression.
    """
    return field + "".join(map(_in_brackets, keys))


def _in_brackets(key: str) -> str:
    if not key or _UNREADABLE.search(key):
        raise FilterError(f"The key {key!r} can't be named in a filter expression.")
    return f"[{literal(key)}]"


def equals(field: str, value: Scalar, *, dynamic: bool) -> str:
    """Write the condition that a field equals a value."""
    return f"{reference(field, dynamic=dynamic)} == {literal(value)}"


def one_of(field: str, values: Sequence[str | int]) -> str:
    """Write the condition that a field of the schema equals one of several values."""
    return f"{reference(field, dynamic=False)} in [{', '.join(map(literal, values))}]"


def all_of(expressions: Iterable[str]) -> str:
    """Join expressions with `and`, each in brackets. Empty expressions are left out."""
    return _joined([one for one in expressions if one], "and")


def any_of(expressions: Iterable[str]) -> str:
    """Join expressions with `or`, each in brackets. Empty expressions are left out."""
    return _joined([one for one in expressions if one], "or")


def _joined(parts: Sequence[str], word: str) -> str:
    if len(parts) == 1:
        return parts[0]
    return f" {word} ".join(f"({part})" for part in parts)
