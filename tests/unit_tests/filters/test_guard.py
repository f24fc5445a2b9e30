"""Constants that Milvus would compute: what is refused, and what is not."""

import pytest

from milvus_tools.errors import FilterError
from milvus_tools.filters.guard import checked

RIGHT = [
    "n == 1",
    "0 <= n < 3",
    "n + 1 == 2",
    "n % 2 == 0",
    "-n < 0",
    "not false",
    "true",
    "n in [0, -1, 2.5e-3]",
    'not tenant in ["a"]',
    'tenant not in ["a"]',
    'tenant like "b%"',
    'exists $meta["a b"]',
    "n is null",
    "n is not null",
    '"b" == tenant',
    "n == -1",
    '$meta["x"] * 0 == 0',
    "x == [0]",
    "x != [0]",
    'json_contains_any(x, ["a", 1.0, true])',
    "array_length(t) == 2",
    "(array_length(a) == 0) or (array_length(a) != 0)",
    "not (n == 1) and (k == \"v\" || k == 'w')",
    "rating < 1e+39",
    "a.b == 1",
    'info["k"][0] >= -0.5',
    "(n) == (1)",
    "n == (-(1))",
    '!(k == "v")',
    "not (0 <= n < 3)",
    '"a" < k <= "b"',
    "not not (n == 1)",
    'json_contains($meta["tenant"], "a")',
    'text_match(text, "x")',
    'ts > ISO "2024-01-01T00:00:00Z"',
    "n == 1 and true",
    "a + b == 3",
    "a - 1 > b * 2",
    'pk >= ""',
    '((topic >= "a") and (topic < "b"))',
    "f > -1.5",
    "1 - n < 2",
    "n>-1",
    "a<b",
    "not exists tenant",
    'a["b"] == true',
    "x == false",
    "not (x == true)",
]
WRONG = [
    'text == !"x"',
    '!"x"',
    'not "x" == k',
    'n == -"x"',
    "n == -true",
    "n == !1",
    "not 1",
    "not (1)",
    '!("a")',
    '!(("a"))',
    '"a" < 1',
    '1 < "a"',
    '("a" < 1) and n == 1',
    '1 + "a" == n',
    'n == "a" + 1',
    'n == "a" * 2',
    "true < 1",
    "n == (true + 1)",
    "1 < 2 < 3",
    'n == (1 < "a")',
    "n == 5 + 1 < 2 + 1 < 3",
    '"a" < 1 == n',
    "n == 1 == 2 < 3",
    "1 == 1",
    'n in [1 < "a"]',
    'n in [-"a"]',
    'f(1 < "a")',
    "n == not 1",
    "- (true) == n",
    '-(("a")) == n',
    "!-1 == n",
    'n == (1 + 1 < "a")',
    'n == [!"x"]',
    "n == 1 + true",
    'x["a" < 1] == 2',
    'u8"a" < 1',
    'exists n and 1or"a"<2',
]


@pytest.mark.parametrize("expression", RIGHT)
def test_an_operator_with_a_field_beside_it_passes(expression: str) -> None:
    """Comparisons, ranges, arithmetic and signs are as Milvus has them."""
    assert checked(expression) == expression


@pytest.mark.parametrize("expression", WRONG)
@pytest.mark.parametrize("around", ["{}", "n == 1 and {}", "({}) or n == 1", "not ({})"])
def test_constants_alone_are_not_computed(expression: str, around: str) -> None:
    """Where their types don't fit the server would end, so none are sent."""
    with pytest.raises(FilterError, match="constants are not computed"):
        checked(around.format(expression))
