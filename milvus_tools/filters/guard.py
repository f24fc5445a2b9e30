"""The guard of raw expressions, which a developer or a model wrote.

`checked` refuses what could reach out of its brackets and what would end Milvus rather than the
search.

That includes constants that Milvus would have to compute. The server's parser makes nothing of a
constant part whose types don't fit, such as `!"x"`, `-true` or `1 < "a"`, and crashes when the
part around it looks at that nothing. So an operator needs a field beside it, and comparisons are
not chained except as a range.

To find constants, an expression is read as a row of kinds, one letter a token: `s` a string, `n`
a number, `b` a boolean, `x` a field or anything else that is no constant, `<` and `=`
comparisons, `+` arithmetic and signs, `!` a negation, `|` a word or sign that joins, `k` another
word of the language.
"""

import re
from typing import Final

from milvus_tools.errors import FilterError
from milvus_tools.filters.literals import MAX_EXPRESSION, MAX_NESTING, MAX_WILDCARDS, unicode

_CLOSERS: Final = {")": "(", "]": "["}
_BRACKET: Final = re.compile(r"[()\[\]\\]")
# A string, or the rest of the text from a quote on that opens none.
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
    r"""[^\w\s".=!&|<>]  # most signs are tokens alone
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
# In what no bracket is in any more; a part ends at what joins it to the next.
_WRONG: Final = re.compile(
    r"""[sb]\+|\+[sb]     # arithmetic with what is no number
    |b<|<b                # an order of booleans
    |!\+*[sn]             # a negation of what is no boolean
    |(?<=[snbx<=+k])!(?!k)  # or of one side of a comparison
    |(?<![^|,])(?:        # in a part, from its beginning:
        # an operator, no field, and more than a number's signs
        (?!\+*n(?![^|,]))[^|,x<=+]*+[<=+][^|,x]*+(?![^|,])
        # two comparisons that are no range
        |(?![^|,x<=]*+<x+<[^|,x<=]*+(?![^|,]))[^|,<=]*+[<=][^|,<=]*+[<=]
    )""",
    re.VERBOSE,
)


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


def refuse_constant_folding(code: str) -> None:
    """Refuse constants that Milvus would compute.

    Args:
        code: An expression with its strings emptied, whose brackets are closed.

    Raises:
        FilterError: If an operator has no field beside it, or comparisons are chained.
    """
    kinds, groups = _Kinds(), _Groups()
    read: list[str] = []
    outer: list[list[str]] = []
    for piece in _PIECE.findall("".join(map(kinds.__getitem__, _TOKEN.findall(code)))):
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
    """The kinds of tokens, each worked out once: most stand in an expression many times."""

    def __missing__(self, token: str) -> str:
        self[token] = kind = _KINDS.get(token.lower()) or _kind(token)
        return kind


def _kind(token: str) -> str:
    if token.endswith('"'):
        return "s"
    if token[0].isdecimal() or (token[0] == "." and len(token) > 1):
        return "n"
    if token[0] in "<>":  # of several, the last one compares
        return "+" * (len(token.rstrip("=")) - 1) + "<"
    return "x"


class _Groups(dict[str, str]):
    """What stands in the place of a group, which is given from its bracket on."""

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
            "joined by and; constants are not computed."
        )
