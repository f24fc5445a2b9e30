"""Generated filter expressions: right ones, broken ones, and ones that try to break out."""

from typing import Any

from hypothesis import strategies as st

from tests.helpers.generated_values import pieces, texts

_CONDITIONS = [
    *('tenant == "b"', 'tenant != "a"', "tenant != ''", 'not (tenant == "a")', "tenant == 1"),
    *('tenant in ["a", "b"]', 'not tenant in ["a"]', 'tenant like "b%"', "exists tenant"),
    *('$meta["tenant"] == "b"', "$meta['tenant'] != 'a'", 'tenant == "a"', 'k == "v"'),
    *('pk in ["b0", "nobody"]', 'pk == "b0"', 'pk >= ""', "pk != 'x'", 'pk like "b%"'),
    *("n == 1", "n != 1", "n in [0, 1, 2]", "n >= 0", "0 <= n < 3", "n + 1 == 2", "n % 2 == 0"),
    *('text == "x"', 'text like "x%"', 'text != "\'"', 'text == "\\\\"', 'text == ")"'),
    *("text == '(\"'", 'text == "] or (n == 1"', 'zz == "q"', "zz != 1", 'json_contains(t, "a")'),
    *('k == "v"', "k != 'w'", "n > -1", "n < 100", "n != 9"),
    *("true", "1 == 1", "not false", 'json_contains($meta["tenant"], "a")', "-n < 0", "n is null"),
]
_BREAKOUTS = [
    *('n == 1) or (tenant == "b"', 'n == 1)) or ((tenant == "b"', ') or (tenant == "b") or ('),
    *(
        '") or (tenant != "',
        "x'] or tenant != '' or pk in ['x",
        '") or (tenant == "b") or (pk == "',
    ),
    *(
        'n == 1 // )\n or tenant == "b"',
        'n == 1 /* ) */ or tenant == "b"',
        "n == 1) -- ",
        "n == 1 #",
    ),
    *('pk == "x\\") or (tenant == "b', "pk == 'x\\') or (tenant == \"b\") or (pk == 'x'"),
    *('pk == "\n") or (tenant == "b") or (pk == "\n"', 'n == 1\x00) or (tenant == "b"'),
    *('pk == "\\u0022) or (tenant == \\u0022b"', 'pk == “x”) or (tenant == "b"', "n == 1 or"),
    *('n in [1)] or tenant == "b"', "n in [1]) or (n in [2]", "n == 1] or [n == 1", "()", "([)]"),
    *(
        "pk == \"x') or (tenant == 'b\"",
        'u8"x" == pk',
        'pk == "a" "b"',
        "n == 1; n == 2",
        "{n} == 1",
    ),
    *("(" * 80 + "n == 1" + ")" * 80, "(" * 60 + "n == 1" + ")" * 60, "not " * 30 + "(n == 1)"),
    *("n == 1 or " * 30 + "n == 2", "n == 1" + " " * 70_000, 'text == "' + "x" * 70_000 + '"'),
    *(f"n == {10**30}", "n == " + "9" * 5_000, "n == 1e999", "n == nan", "n == inf"),
]
_WRONG = [0, 1.5, b"n == 1", ["n == 1"], {"n": 1}, True, object(), ("n",)]
_SPACES = ["", " ", "  ", "\n", "\t", "\r\n"]
_breakouts = st.sampled_from(_BREAKOUTS)
_tokens = st.one_of(
    st.sampled_from(['"', "'", "(", ")", "[", "]", "\\", "\n", "and", "or", "not", "in", "=="]),
    st.sampled_from(["tenant", "pk", "n", "text", '"a"', '"b"', "1", "!=", "&&", "||", "!", ","]),
    pieces,
)


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaces = st.sampled_from(_SPACES[1:])
    words = st.sampled_from(["and", "or", "AND", "OR", "&&", "||"])
    return st.one_of(
        st.builds("{1}{0}{2}{0}{3}".format, spaces, inner, words, inner),
        st.builds("({1}{0})".format, spaces, inner),
        st.builds("not ({})".format, inner),
        st.builds("!({})".format, inner),
    )


_right = st.recursive(st.sampled_from(_CONDITIONS), _joined, max_leaves=5)


@st.composite
def _broken(draw: st.DrawFn) -> str:
    """Draw a right expression, and put something in or take something out."""
    text = draw(_right)
    start = draw(st.integers(0, len(text)))
    end = draw(st.sampled_from([start, start, start + 1, start + 3]))
    return text[:start] + draw(st.one_of(_tokens, _breakouts)) + text[end:]


_soup = st.builds(
    lambda space, tokens: space.join(tokens),
    st.sampled_from(_SPACES),
    st.lists(_tokens, max_size=12),
)
_quoted = st.builds(
    lambda quote, text, field: f"{field} == {quote}{text}{quote}",
    st.sampled_from(['"', "'"]),
    texts(),
    st.sampled_from(["pk", "text", "tenant", "k"]),
)


_true = st.sampled_from(['k == "v"', "k != 'w'", 'k in ["v", "w"]', 'k like "v%"', "n > -1"])
_wide = st.builds("{} {} {}".format, _true, st.sampled_from(["or", "OR", "||"]), _right)


@st.composite
def expressions(draw: st.DrawFn) -> Any:
    """Draw an expression, or something else in its place."""
    wrong = st.one_of(st.none(), st.sampled_from(_WRONG), texts())
    kinds = [_right] * 4 + [_wide] * 5 + [_broken()] * 5 + [_quoted, _soup, _breakouts, wrong]
    return draw(kinds[draw(st.integers(0, len(kinds) - 1))])
