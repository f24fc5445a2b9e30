"""Milvus filter expressions: literals, references to fields, and the guard for raw text.

The grammar is Milvus's `Plan.g4`, see <https://milvus.io/docs/boolean.md>. Values reach an
expression only through `literal`, names only through `reference`, and text that somebody wrote
only through `checked`. None of them trusts its argument.
"""

import math
import re
from collections.abc import Iterable, Sequence

from milvus_tools.errors import FilterError
from milvus_tools.filters.guard import refuse_constant_folding

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
_CLOSERS = {")": "(", "]": "["}
_BRACKET = re.compile(r"[()\[\]\\]")
# A string, or the rest of the text from a quote on that opens none.
_STRING = re.compile(
    r"""("[^"\\\n\r]*+(?:\\[\\"'nrt][^"\\\n\r]*+)*+"|'[^'\\\n\r]*+(?:\\[\\"'nrt][^'\\\n\r]*+)*+')
    |(["'](?s:.*))""",
    re.VERBOSE,
)
_READABLE = re.compile(r"""(?:[^\\\n\r]++|\\[\\"'nrt])*+""")
_LIKE = re.compile(r"\blike\s*+\Z", re.IGNORECASE)
_WILDCARD = re.compile(r"[%_]")
_WRONG_DIVISION = re.compile(r"[/%](?!\s*+(?=[\d.]*[1-9])\d++(?:\.\d++)?(?![\w.]))")
_GROWTH = re.compile(r"\*\*|<<")
_SIGN = re.compile(r"\bnot\b|!(?!=)|[-+~]", re.IGNORECASE)
_SIGNS = re.compile(rf"(?:(?:{_SIGN.pattern})\s*+)++", re.IGNORECASE)


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
    return _joined(expressions, "and")


def any_of(expressions: Iterable[str]) -> str:
    """Join expressions with `or`, each in brackets of its own; empty ones are left out."""
    return _joined(expressions, "or")


def _joined(expressions: Iterable[str], word: str) -> str:
    parts = [expression for expression in expressions if expression]
    if len(parts) == 1:
        return parts[0]
    return f" {word} ".join(f"({part})" for part in parts)


def checked(expression: str | None) -> str:
    """Return a raw expression that can be put in brackets without reaching out of them.

    It is read alone: strings in `"` or `'` with the escapes that every Milvus knows, round and
    square brackets that close what they open. What would end Milvus rather than the search is
    refused, too: a division by what may be zero stops the server, as may a tower of negations or
    constants that it would compute; powers, and `like` with many wildcards, need not end on
    Milvus Lite. What else is inside is Milvus's to judge.

    Args:
        expression: What a developer wrote, or `None` for no filter.

    Returns:
        The expression without the white space around it; `""` for none.

    Raises:
        FilterError: If the text could end before its own end, or begin before its beginning, or
            is too much for Milvus.
    """
    if expression is None:
        return ""
    if not isinstance(expression, str):
        raise FilterError(f"expr must be a string, not {type(expression).__name__}.")
    if len(expression) > MAX_EXPRESSION:
        raise FilterError(
            f"A filter expression may have {MAX_EXPRESSION} characters; this one has "
            f"{len(expression)}."
        )
    _require_light(_without_strings(unicode(expression)))
    return expression.strip()


def _require_light(code: str) -> None:
    """Refuse what Milvus could not bear, in an expression without its strings."""
    _require_closed_brackets(code)
    if wrong := _WRONG_DIVISION.search(code):
        raise FilterError(
            f"In a filter expression {wrong[0]} must be followed by a number above 0."
        )
    if grown := _GROWTH.search(code):
        raise FilterError(f"A filter expression may not have {grown[0]}, whose result has no end.")
    if any(len(_SIGN.findall(signs)) >= MAX_NESTING for signs in _SIGNS.findall(code)):
        raise FilterError(f"A filter expression has more than {MAX_NESTING} signs in a row.")
    refuse_constant_folding(code)


def _require_closed_brackets(code: str) -> None:
    opened: list[str] = []
    for character in _BRACKET.findall(code):
        if character == "\\":
            raise FilterError("A filter expression has a backslash outside a string.")
        if character not in _CLOSERS:
            opened.append(character)
        elif not opened or opened.pop() != _CLOSERS[character]:
            raise FilterError(f"The filter expression has a '{character}' that closes nothing.")
        if len(opened) > MAX_NESTING:
            raise FilterError(f"A filter expression nests deeper than {MAX_NESTING} brackets.")
    if opened:
        raise FilterError(f"The filter expression leaves a '{opened[-1]}' open.")


def _without_strings(expression: str) -> str:
    """Return the expression with each string literal empty."""
    pieces = _STRING.split(expression)
    code, strings, unread = pieces[::3], pieces[1::3], pieces[2::3]
    if any(unread):
        raise FilterError(_why_unread(unread[-1]))
    for before, string in zip(code, strings, strict=False):
        if len(_WILDCARD.findall(string)) > MAX_WILDCARDS and _LIKE.search(before):
            raise FilterError(f"A pattern of like may have {MAX_WILDCARDS} wildcards.")
    return '""'.join(code)


def _why_unread(text: str) -> str:
    """Say why a string that begins a text does not end."""
    readable = _READABLE.match(text)
    match text[readable.end() :] if readable else text:
        case "":
            return "A string in the filter expression is not closed."
        case rest if rest[0] == "\\":
            return (
                "A string in a filter expression has an escape other than "
                "\\\\ \\\" \\' \\n \\r \\t, which not every Milvus reads alike."
            )
    return "A string in a filter expression holds a line break; write \\n."
