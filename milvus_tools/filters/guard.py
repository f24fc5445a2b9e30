"""The guard against constants that Milvus would have to compute.

The server's parser makes nothing of a constant part whose types don't fit, such as `!"x"`,
`-true` or `1 < "a"`, and ends when the part around it looks at that nothing. So an operator needs
a field beside it, and comparisons are not chained but as a range.

An expression is read as a row of kinds, one letter a token: `s` a string, `n` a number, `b` a
boolean, `x` a field or anything else that is no constant, `<` and `=` comparisons, `+` arithmetic
and signs, `!` a negation, `|` a word or sign that joins, `k` another word of the language.
"""

import re
from typing import Final

from milvus_tools.errors import FilterError

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
