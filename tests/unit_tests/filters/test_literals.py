"""Literals, references and the guard for raw expressions, read back by a reader of the test's."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.errors import FilterError
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import (
    MAX_NESTING,
    all_of,
    equals,
    literal,
    one_of,
    reference,
    unicode,
)
from tests.helpers.generated_expressions import expressions
from tests.helpers.generated_values import is_addressable, is_utf8, pieces, texts

ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}
SCOPE = 'tenant == "a"'
anything = st.text(st.characters(), max_size=30)
raw = st.one_of(
    st.text("ab()[]\"'\\\n ", max_size=30),
    st.lists(pieces, max_size=10).map("".join),
    expressions(),
)


def read_string(text: str, start: int) -> tuple[str, int]:
    """Read a string literal as Milvus's lexers do; return its value and where it ends."""
    quote, value, position = text[start], "", start + 1
    while text[position] != quote:
        assert text[position] not in "\n\r"
        if text[position] == "\\":
            position += 1
            value += ESCAPES[text[position]]
        else:
            value += text[position]
        position += 1
    return value, position + 1


def end_of_brackets(text: str) -> int:
    """Return where the round bracket closes that opens the text."""
    depth, position = 0, 0
    while True:
        if text[position] in "\"'":
            _, position = read_string(text, position)
            continue
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
        if depth == 0:
            return position


@given(st.one_of(texts(), anything))
def test_any_string_is_read_back_from_its_literal(text: str) -> None:
    """A string's literal is one string to a lexer, with that value, or there is none."""
    if not is_utf8(text):
        with pytest.raises(FilterError, match="surrogate"):
            literal(text)
        return
    written = literal(text)
    assert read_string(written, 0) == (text, len(written))
    assert checked(written) == written


@given(st.integers(1 - 2**63, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_read_back_from_its_literal(number: float) -> None:
    """A number's literal is that number, and of the same type."""
    read = type(number)(literal(number))
    assert repr(read) == repr(number)
    assert re.fullmatch(r"-?[0-9.e+-]+", literal(number))


def test_booleans_have_literals_of_their_own() -> None:
    """A boolean is not written as the number that it is to Python."""
    assert [literal(True), literal(False), literal(1), literal(0)] == ["true", "false", "1", "0"]


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, -math.inf, 2**63, -(2**63), None, b"x", [1], {}, 1j),
        pytest.param(10**5000, id="thousands of digits"),
    ],
)
def test_values_without_a_literal_are_refused(value: Any) -> None:
    """Values without a literal in Milvus, or that it would round, are refused with a sentence."""
    with pytest.raises(FilterError, match=r"\w+ \w+ .*\.$"):
        literal(value)


@pytest.mark.parametrize(
    ("field", "dynamic", "expected"),
    [
        ("tenant", True, "tenant"),
        ("tenant", False, "tenant"),
        ("_1", True, "_1"),
        ("a b", True, '$meta["a b"]'),
        ("AND", True, '$meta["AND"]'),
        ("json_Contains", True, '$meta["json_Contains"]'),
        ("é", True, '$meta["é"]'),
        ('x"] or (pk != "', True, '$meta["x\\"] or (pk != \\""]'),
    ],
)
def test_fields_are_named_so_that_they_are_nothing_else(
    field: str, dynamic: bool, expected: str
) -> None:
    """A name that is no plain identifier, or a keyword, is a key in quotes."""
    assert reference(field, dynamic=dynamic) == expected


@pytest.mark.parametrize("field", ["a b", "and", "x == 1 or y", "", "é", "a\n"])
def test_schema_fields_that_cannot_be_named_are_refused(field: str) -> None:
    """Only a dynamic key can be put in quotes."""
    with pytest.raises(FilterError, match="can't be named"):
        reference(field, dynamic=False)


@pytest.mark.parametrize("field", ["", "a\x00", "\x1f", "a][b", '"]["', "\ud800", 1, None, b"x"])
def test_dynamic_keys_that_some_milvus_misreads_are_refused(field: Any) -> None:
    """The server cuts `][`, and does not find control characters: silence would be a lie."""
    with pytest.raises(FilterError):
        reference(field, dynamic=True)


@given(texts(), texts())
def test_an_equality_holds_one_key_and_one_value(field: str, value: str) -> None:
    """Whatever key and value are, the expression is a reference, `==` and a string."""
    if not (is_addressable(field) and is_utf8(value)):
        with pytest.raises(FilterError):
            equals(field, value, dynamic=True)
        return
    name, written = equals(field, value, dynamic=True), literal(value)
    assert name.endswith(f" == {written}")
    name = name.removesuffix(f" == {written}")
    if name != field:
        assert name.startswith("$meta[")
        assert read_string(name, len("$meta[")) == (field, len(name) - 1)
        assert name.endswith("]")


@given(st.lists(texts().filter(is_utf8), max_size=5))
def test_a_list_of_keys_is_read_back(values: list[str]) -> None:
    """`one_of` holds the values that it was given, each as one string."""
    written = one_of("pk", values)
    assert written.startswith("pk in [")
    position, found = len("pk in ["), []
    while written[position] != "]":
        value, position = read_string(written, position)
        found.append(value)
        position += 2 * (written[position] == ",")
    assert (found, position + 1) == (values, len(written))


def test_lists_hold_integers_and_refuse_the_rest() -> None:
    """`one_of` writes integers as they are, and lets nothing else through."""
    assert one_of("pk", [1, -2]) == "pk in [1, -2]"
    with pytest.raises(FilterError):
        one_of("pk", [["x"]])  # type: ignore[list-item]
    with pytest.raises(FilterError):
        one_of("pk in [1] or pk", [1])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], ""),
        ([""], ""),
        (["a", ""], "a"),
        (["a or b"], "a or b"),
        (["a or b", "c"], "(a or b) and (c)"),
        (["a", "", "b", "c"], "(a) and (b) and (c)"),
    ],
)
def test_expressions_are_joined_in_brackets(parts: list[str], expected: str) -> None:
    """Each part is in brackets of its own unless it stands alone."""
    assert all_of(parts) == expected


@given(raw)
def test_what_is_checked_stays_inside_its_brackets(expression: Any) -> None:
    """In `(scope) and (raw)` the scope's bracket, and then raw's, close where they should."""
    try:
        accepted = checked(expression)
    except FilterError:
        return
    joined = all_of([SCOPE, accepted])
    if not accepted:
        assert joined == SCOPE
        return
    end = end_of_brackets(joined)
    assert joined[:end] == f"({SCOPE})"
    rest = joined[end:].removeprefix(" and ")
    assert len(rest) == len(accepted) + 2
    assert end_of_brackets(rest) == len(rest)
    assert all_of([accepted, SCOPE]) == f"({accepted}) and ({SCOPE})"


@pytest.mark.parametrize(
    "expression",
    [
        "n == 1",
        "n in [1, 2] and (m == 2 or not (k == 3))",
        "text == \"it's (\" and text != '\\')\\n\\r\\t\\\\'",
        "",
        "  \n ",
        "(" * MAX_NESTING + "n" + ")" * MAX_NESTING,
        "text == '\u2028\x00'",
        "# -- /1 ` “",
        "n % 2 == 0 and n / 0.5 > 1 and not not m == -1",
        't like "%a%b%" and u == "%%%%%%"',
    ],
)
def test_what_is_closed_is_accepted(expression: str) -> None:
    """The guard judges how strings and brackets close, and nothing else."""
    assert checked(expression) == expression.strip()
    assert checked(None) == ""


@pytest.mark.parametrize(
    "expression",
    [
        'n == 1) or (tenant == "b"',
        'n in [1)] or tenant == "b"',
        "n in [1",
        "(n == 1",
        "n == 1)",
        "n == 1]",
        "([)]",
        'text == "x',
        "text == 'x\"",
        'text == "x\\"',
        'text == "x\\',
        'text == "\\u0022"',
        'text == "\\x22"',
        'text == "\\\n"',
        'text == "a\nb"',
        "text == 'a\rb'",
        "text == \\'x'",
        "n == 1 \\",
        "text == '\ud800'",
        "(" * (MAX_NESTING + 1) + "n" + ")" * (MAX_NESTING + 1),
        pytest.param("(" * 100_000, id="very deep"),
        5,
        b"n == 1",
        ["n == 1"],
        True,
    ],
)
def test_what_reaches_out_of_its_brackets_is_refused(expression: Any) -> None:
    """Text that could end before its end, or be read in two ways, is refused."""
    with pytest.raises(FilterError, match=r"\w+ \w+ "):
        checked(expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("n / 0 == 1", "/ must be followed by a number above 0"),
        ("n / 0.00 == 1", "above 0"),
        ("n / m == 1", "above 0"),
        ("n / (1 - 1) == 1", "above 0"),
        ("n / -1 == 1", "above 0"),  # the least integer has no opposite
        ("n / 1e9 == 1", "above 0"),
        ("n / 0x0 == 1", "above 0"),
        ("n % 0 == 1", "% must be followed by a number above 0"),
        ('n % "2" == 1', "above 0"),
        ("9 ** 9 ** 9 == n", r"can't have \*\*"),
        ("n / 2 ** 9 == 1", r"can't have \*\*"),
        ("1 << 99999999999 == n", "can't have <<"),
        ("not " * MAX_NESTING + "n == 1", "more than 64 signs in a row"),
        ("n == " + "-" * MAX_NESTING + "1", "more than 64 signs in a row"),
        ("!" * MAX_NESTING + "n", "more than 64 signs in a row"),
        ("n == 1 and " * 6_000 + "n == 1", "at most 65536 characters; this one has 66006"),
        ('t like "%a%b%c%"', "like can have at most 3 wildcards"),
        ("t LIKE '____'", "like can have at most 3 wildcards"),
    ],
)
def test_what_milvus_could_not_bear_is_refused(expression: str, said: str) -> None:
    """Expressions that stop the server, or never end on Milvus Lite, are not sent."""
    with pytest.raises(FilterError, match=said):
        checked(expression)


@given(anything)
def test_unicode_passes_what_can_be_sent(text: str) -> None:
    """A string is returned as it is, unless UTF-8 can't hold it."""
    if is_utf8(text):
        assert unicode(text) == text
    else:
        with pytest.raises(FilterError, match="surrogate"):
            unicode(text)
