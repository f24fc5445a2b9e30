"""The guard of raw filter expressions, which developers and models write.

`checked` refuses an expression that could reach out of its brackets, and so out of a scope, and
one that would crash Milvus or keep it busy without end.

Among the latter are constants that Milvus would have to compute. The server's parser produces no
value for a constant part whose types don't fit, such as `!"x"`, `-true` or `1 < "a"`, and crashes
when the part around it reads that value. Therefore an operator needs a field beside it, and
comparisons can be chained only as a range.

To find constants, the guard reads an expression as a string of kinds, one letter for each token:

- `s`, `n`, `b`: a string, a number, a boolean
- `x`: a field, or anything else that is not a constant
- `<`, `=`: a comparison
- `+`: arithmetic, or a sign
- `!`: a negation
- `|`: an operator that joins conditions
- `k`: another keyword
"""

import re
from typing import Final

from milvus_tools.errors import FilterError
from milvus_tools.filters.literals import MAX_EXPRESSION, MAX_NESTING, MAX_WILDCARDS, unicode

_CLOSERS: Final = {")": "(", "]": "["}
_BRACKET: Final = re.compile(r"[()\[\]\\]")
# A string, or everything after a quote that opens no complete string.
# The possessive quantifiers keep this and the patterns below from backtracking: linear time.
_STRING: Final = re.compile(
    r"""("[^"\\\n\r]*+(?:\\[\\"'nrt][^"\\\n\r]*+)*+"|'[^'\\\n\r]*+(?:\\[\\"'nrt][^'\\\n\r]*+)*+')
    |(["'](?s:.*))""",
    re.VERBOSE,
)
_READABLE: Final = re.compile(r"""(?:[^\\\n\r]++|\\[\\"'nrt])*+""")
_LIKE: Final = re.compile(r"\blike\s*+\Z", re.IGNORECASE)
_WILDCARD: Final = re.compile(r"[%_]")
_WRONG_DIVISION: Final = re.compile(r"[/%](?!\s*+(?=[\d.]*[1-9])\d++(?:\.\d++)?(?![\w.]))")
_GROWTH: Final = re.compile(r"\*\*|<<")
_SIGN: Final = re.compile(r"\bnot\b|!(?!=)|[-+~]", re.IGNORECASE)
_SIGNS: Final = re.compile(rf"(?:(?:{_SIGN.pattern})\s*+)++", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""[^\w\s".=!&|<>]  # most signs are tokens of one character
    |(?=\S)(?:
        (?:u8|[uUL])?""
        |[^\W\d]\w*
        |0[xX]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?
        |[=!]=|&&|\|\||<+=?|>+=?
        |\S
    )""",
    re.VERBOSE,
)
_KINDS: Final = {
    **{sign: sign for sign in "!,()[]"},
    **dict.fromkeys("-+*/%~&|^", "+"),
    **dict.fromkeys(("==", "!="), "="),
    **dict.fromkeys(("and", "or", "&&", "||"), "|"),
    **dict.fromkeys(("in", "like", "is", "null", "exists"), "k"),
    **dict.fromkeys(("true", "false"), "b"),
    "not": "!",
}
_PIECE: Final = re.compile(r"[()\[\]]|[^()\[\]]+")
_CONSTANT: Final = re.compile(r"s|b|\+*n")
# Applied to kinds without brackets, in which each group is one letter. A part ends where `|` or a
# comma joins it to the next part.
_WRONG: Final = re.compile(
    r"""[sb]\+|\+[sb]     # arithmetic with a string or a boolean
    |b<|<b                # an order of booleans
    |!\+*[sn]             # a negation of a string or a number
    |(?<=[snbx<=+k])!(?!k)  # a negation of one side of a comparison
    |(?<![^|,])(?:        # from the beginning of a part:
        # an operator without a field, unless it is the sign of a number
        (?!\+*n(?![^|,]))[^|,x<=+]*+[<=+][^|,x]*+(?![^|,])
        # two comparisons that are not a range
        |(?![^|,x<=]*+<x+<[^|,x<=]*+(?![^|,]))[^|,<=]*+[<=][^|,<=]*+[<=]
    )""",
    re.VERBOSE,
)


def checked(expression: str | None, most: int = MAX_EXPRESSION) -> str:
    """Return a raw expression that is safe to put in brackets and to join with others.

    Brackets alone don't hold an expression (T56). On its own, it must have strings in `"` or `'`
    with only the escapes that every Milvus knows, and round and square brackets that match.

    Expressions that would stop Milvus are refused, too. A division by zero stops the server, and
    so can many negations in a row and constants that it would have to compute. On Milvus Lite,
    powers and `like` with many wildcards may never end. Milvus itself checks the rest.

    Args:
        expression: The expression, or `None` for no filter.
        most: The most characters that it can have.

    Returns:
        The expression without the white space around it; `""` for no filter.

    Raises:
        FilterError: If the expression is not safe to join with others, or too much for Milvus.
    """
    if expression is None:
        return ""
    if not isinstance(expression, str):
        raise FilterError(f"expr must be a string, not {type(expression).__name__}.")
    if len(expression) > most:
        raise FilterError(
            f"A filter expression can have at most {most} characters; this one has "
            f"{len(expression)}."
        )
    _require_light(_without_strings(unicode(expression)))
    return expression.strip()


def _require_light(code: str) -> None:
    """Refuse an expression, with its strings emptied, that is too much for Milvus."""
    _require_closed_brackets(code)
    if wrong := _WRONG_DIVISION.search(code):
        raise FilterError(
            f"In a filter expression {wrong[0]} must be followed by a number above 0."
        )
    if grown := _GROWTH.search(code):
        raise FilterError(
            f"A filter expression can't have {grown[0]}, whose result can grow without end."
        )
    if any(len(_SIGN.findall(signs[0])) >= MAX_NESTING for signs in _SIGNS.finditer(code)):
        raise FilterError(f"The filter expression has more than {MAX_NESTING} signs in a row.")
    refuse_constant_folding(code)


def _require_closed_brackets(code: str) -> None:
    opened: list[str] = []
    for character in (found[0] for found in _BRACKET.finditer(code)):
        if character == "\\":
            raise FilterError("The filter expression has a backslash outside a string.")
        if character not in _CLOSERS:
            opened.append(character)
        elif not opened or opened.pop() != _CLOSERS[character]:
            raise FilterError(f"The filter expression has a '{character}' that closes nothing.")
        if len(opened) > MAX_NESTING:
            raise FilterError(f"The filter expression nests more than {MAX_NESTING} brackets.")
    if opened:
        raise FilterError(f"The filter expression leaves a '{opened[-1]}' open.")


def _without_strings(expression: str) -> str:
    """Return the expression with its strings emptied."""
    code: list[str] = []
    end = 0
    # One match after the other, here and below: a single call over a long text would hold the
    # interpreter's lock, and so the I/O loop, for as long as it takes.
    for found in _STRING.finditer(expression):
        if found[2] is not None:
            raise FilterError(_why_unread(found[2]))
        code.append(expression[end : found.start()])
        end = found.end()
        if len(_WILDCARD.findall(found[1])) > MAX_WILDCARDS and _LIKE.search(code[-1]):
            raise FilterError(f"A pattern of like can have at most {MAX_WILDCARDS} wildcards.")
    return '""'.join([*code, expression[end:]])


def _why_unread(text: str) -> str:
    """Return a message that says why the string at the beginning of a text does not end."""
    readable = _READABLE.match(text)
    match text[readable.end() :] if readable else text:
        case "":
            return "A string in the filter expression is not closed."
        case rest if rest[0] == "\\":
            return (
                "A string in the filter expression has an escape other than "
                "\\\\ \\\" \\' \\n \\r \\t, which not every Milvus reads alike."
            )
    return "A string in the filter expression contains a line break; write \\n instead."


def refuse_constant_folding(code: str) -> None:
    """Refuse constants that Milvus would have to compute.

    Args:
        code: An expression with its strings emptied and matching brackets.

    Raises:
        FilterError: If an operator has no field beside it, or comparisons are chained.
    """
    kinds, groups = _Kinds(), _Groups()
    read: list[str] = []
    outer: list[list[str]] = []
    kind = "".join([kinds[token[0]] for token in _TOKEN.finditer(code)])
    for piece in (found[0] for found in _PIECE.finditer(kind)):
        if piece in ("(", "["):
            outer.append(read)
            read = [piece]
        elif piece in (")", "]"):
            group = "".join(read)
            read = outer.pop()
            read.append(groups[group])
        else:
            read.append(piece)
    _require_fields("".join(read))


class _Kinds(dict[str, str]):
    """The kinds of tokens, each determined once: an expression repeats most of them."""

    def __missing__(self, token: str) -> str:
        self[token] = kind = _KINDS.get(token.lower()) or _kind(token)
        return kind


def _kind(token: str) -> str:
    if token.endswith('"'):
        return "s"
    if token[0].isdecimal() or (token[0] == "." and len(token) > 1):
        return "n"
    if token[0] in "<>":  # of several signs, the last one compares
        return "+" * (len(token.rstrip("=")) - 1) + "<"
    return "x"


class _Groups(dict[str, str]):
    """The kind that replaces each group; a group is given with its opening bracket."""

    def __missing__(self, group: str) -> str:
        content = group[1:]
        _require_fields(content)
        constant = group[0] == "(" and _CONSTANT.fullmatch(content)
        self[group] = kind = content[-1] if constant else "x"
        return kind


def _require_fields(kinds: str) -> None:
    if _WRONG.search(kinds):
        raise FilterError(
            "In a filter expression an operator needs a field beside it, and comparisons are "
            "joined with and; constants are not computed."
        )
