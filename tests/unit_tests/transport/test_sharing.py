"""Reads by the value of one field as one read: which can be, and whose the rows are."""

import pytest

from milvus_tools.filters.equality import Equality
from milvus_tools.transport.requests import QueryRequest, Row
from milvus_tools.transport.sharing import CannotTellApartError, shared, told_apart


def reads(*expressions: str, limit: int | None = None) -> list[QueryRequest]:
    """Return a read for each expression."""
    options = {} if limit is None else {"limit": limit}
    return [
        QueryRequest("docs", "t == 1", ("pk",), options, equality=Equality.read(one))
        for one in expressions
    ]


def rows(*values: object) -> list[Row]:
    """Return rows with values, numbered."""
    return [{"pk": number, "n": value} for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("expression", "field", "value"),
    [
        ('n == "x"', "n", "x"),
        (" name=='it\"s' ", "name", 'it"s'),
        ('_n == ""', "_n", ""),
        ('n == "a) or (b"', "n", "a) or (b"),
        ("n == 0", "n", 0),
        ("n == -123456789012345", "n", -123456789012345),
    ],
)
def test_equality_is_read(expression: str, field: str, value: str | int) -> None:
    """Of a plain name, and a plain string or an integer that a double holds."""
    assert Equality.read(expression) == Equality(expression, field, value)


@pytest.mark.parametrize(
    "expression",
    [
        *("", "n", "n ==", "n == x", "n == 1.0", "n == true", "n != 1", "n == 01", "n == -0"),
        *("n == 1e3", "n == 1234567890123456", 'n == "a\\n"', 'n == "a\n"', 'n["a"] == 1'),
        *('n == "a" or n == "b"', 'n == "a" "b"', "n == 1 and m == 2", "(n == 1)", "1 == n"),
        *("n == \"a'", "ñ == 1", "n + 1 == 2", f'n == "{"x" * 2_000}"'),
    ],
)
def test_all_else_is_not_read(expression: str) -> None:
    """What Milvus and Python might read in two ways goes alone."""
    assert Equality.read(expression) is None


def test_one_read_asks_for_all() -> None:
    """Inside the same filter, as each backend can answer, up to the sum of the limits."""
    some = [*reads('n == "a"', 'n == "b"', limit=3), *reads("n == 'a'", limit=5)]
    on_server, on_lite = (shared(some, lite=lite) for lite in (False, True))
    assert on_server.expression == '(t == 1) and (n in ["a", "b"])'
    assert on_lite.expression == """(t == 1) and ((n == 'a') or (n == "b"))"""
    assert on_server.options == on_lite.options == {"limit": 8}
    assert shared(reads("n == 1", "n == 1"), lite=False).expression == "(t == 1) and (n == 1)"


def test_each_read_gets_its_own_rows() -> None:
    """Also the same ones, as copies, and none more than its limit."""
    one, two, same, none = told_apart(
        reads("n == 1", "n == 2", "n == 1", "n == 3", limit=2), rows(1, 2, 1, 1)
    )
    assert [[row["pk"] for row in found] for found in (one, two, same, none)] == [
        [0, 2],
        [1],
        [0, 2],
        [],
    ]
    assert one[0] is not same[0]


@pytest.mark.parametrize("value", [True, 2.0, "2", None, [2], 3])
def test_a_row_of_another_value_is_nobodys(value: object) -> None:
    """Milvus takes some values for equal that Python does not, and the reverse."""
    with pytest.raises(CannotTellApartError):
        told_apart(reads("n == 1", "n == 2"), rows(1, value))


def test_rows_without_the_field_are_nobodys() -> None:
    """Such as those of a column that only Milvus Lite has."""
    with pytest.raises(CannotTellApartError):
        told_apart(reads("n == 1", "n == 2"), [{"pk": 1}])


def test_limits_that_leave_no_room_for_a_read_share_nothing() -> None:
    """One value may have so many rows that those of another are cut off."""
    some = reads("n == 1", "n == 2", limit=2)
    with pytest.raises(CannotTellApartError):
        told_apart(some, rows(1, 1, 1, 1))
    assert list(map(len, told_apart(some, rows(1, 1, 1)))) == [2, 0]
    assert list(map(len, told_apart(some, rows(1, 2, 2, 1)))) == [2, 2]
