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
    r"""(?P<s>(?:u8|[uUL])?"")|(?P<n>0[xX]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<word>[^\W\d]\w*)
    |(?P<equality>==|!=)|(?P<or>&&|\|\|)|(?P<order><=|>=|<(?!<)|>(?!>))|(?P<sign>[-+*/%~&|^<>])
    |(?P<other>\S)""",
    re.VERBOSE,
)
_WORDS: Final = {
    **dict.fromkeys(("and", "or"), "|"),
    **dict.fromkeys(("in", "like", "is", "null", "exists"), "k"),
    **dict.fromkeys(("true", "false"), "b"),
    "not": "!",
}
_KINDS: Final = {"s": "s", "n": "n", "equality": "=", "or": "|", "order": "<", "sign": "+"}
_GROUP: Final = re.compile(r"(?P<round>\([^()\[\]]*\))|\[[^()\[\]]*\]")
_OPERATOR: Final = re.compile(r"[<=+]")
_SIGNED: Final = re.compile(r"\+*n")
_RANGE: Final = re.compile(r"[^x<=]*<x+<[^x<=]*")
_WRONG: Final = re.compile(
    r"""[sb]\+|\+[sb]     # arithmetic with what is no number
    |b<|<b                # an order of booleans
    |!\+*[sn]             # a negation of what is no boolean
    |(?<=[snbx<=+k])!(?!k)  # or of one side of a comparison""",
    re.VERBOSE,
)


def require_no_folding(code: str) -> None:
    """Refuse constants that Milvus would compute.

    Args:
        code: An expression with its strings emptied, whose brackets are closed.

    Raises:
        FilterError: If an operator has no field beside it, or comparisons are chained.
    """
    kinds = "".join(map(_kind, _TOKEN.finditer(code)))
    while (reduced := _GROUP.sub(_reduced, kinds)) != kinds:
        kinds = reduced
    _require_fields(kinds)


def _kind(token: re.Match[str]) -> str:
    if token.lastgroup == "word":
        return _WORDS.get(token[0].lower(), "x")
    if token.lastgroup == "other":
        return token[0] if token[0] in "!,()[]" else "x"
    return _KINDS[str(token.lastgroup)]


def _reduced(group: re.Match[str]) -> str:
    """Put what a group is in the place of it: a constant, or something that is none."""
    content = group[0][1:-1]
    _require_fields(content)
    if not group["round"]:
        return "x"
    return content[-1] if re.fullmatch(r"s|b|\+*n", content) else "x"


def _require_fields(kinds: str) -> None:
    for part in re.split(r"[|,]", kinds):
        bare = bool(_OPERATOR.search(part)) and "x" not in part and not _SIGNED.fullmatch(part)
        compared = len(re.findall(r"[<=]", part))
        chained = compared > 1 and not _RANGE.fullmatch(part.lstrip("!"))
        if bare or chained or _WRONG.search(part):
            raise FilterError(
                "In a filter expression an operator needs a field beside it, and comparisons are "
                "joined by and; constants are not computed."
            )
