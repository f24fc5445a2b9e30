"""Generated hostile values, the same ones in every run.

Hypothesis draws them from a fixed seed; nothing here talks to Milvus, so a test can put many of
them into one request.
"""

import dataclasses
import datetime as dt
import decimal
import math
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from langchain_core.documents import Document

MAX_BYTES = 65_535
MAX_DEPTH = 32
ROUND = 10  # values from one seed; more of them would be slow variations of each other
RESERVED = frozenset({"pk", "text", "vector", "$meta", "_seq", "_partition"})

_PIECES = [
    *(
        "'",
        '"',
        "\\",
        "\\'",
        '\\"',
        "\\\\",
        "\\n",
        "\\u0022",
        "\\x22",
        "`",
        "“",
        "\uff02",
        "\uff07",
    ),
    *("\n", "\r", "\t", "\v", "\f", "\b", "\x00", "\x01", "\x1b", "\x7f", "\x85", "\xa0"),
    *("\u200b", "\u2028", "\u2029", "\u202e", "\ufeff", "\ue000", "\ufffd", "\ufffe", "\uffff"),
    *("\U000e0001", "\U000f0000", "\U0010ffff", "𠁁", "汉", "é", "e\u0301", "😀", "ß", "İ", "A"),
    *("%", "_", "*", "?", "(", ")", "[", "]", "{", "}", "][", '"]["', "$", "$meta", ",", ";"),
    *("--", "//", "/*", "*/", "#", "==", "!=", "&&", "||", " or ", " and ", "not ", " in "),
    *("tenant", "pk", "text", "true", "null", "nan", "0", "1", "-1", "1e999", "a", "b", " "),
    *("x'] or tenant != '' or pk in ['x", '"] or tenant != "" or pk in ["', '") or (tenant != "'),
    *("' or '1' == '1", '" or "" == "', "{tenant}", "%s", "{0}", "../", "a" * 300, "汉" * 100),
]
_SURROGATES = ["\ud800", "\udfff", "\udc80", "\ud83d", "\udfff\ud800"]
_NUMBERS = [0, 1, -1, 2, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 1 - 2**63, -(2**63)]
_FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e16, 1e22, 5e-324, 1.7976931348623157e308, float(2**53)]
_SCOPES = [*_NUMBERS, True, False, "1", "true", "", " ", "a", "A", "a "]
_UNFIT = [
    *(2**63, -(2**63) - 1, 2**64, 10**400, 10**5000, math.nan, math.inf, -math.inf),
    *(b"x", (math.nan,), {1}, 1j, object(), decimal.Decimal(1), dt.timedelta(1), len),
]

_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\]\[")

pieces = st.one_of(st.sampled_from(_PIECES), st.characters(exclude_categories=["Cs"]))


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a string; a few can't be sent as UTF-8, a few are longer than a field."""
    text = "".join(draw(st.lists(pieces, min_size=1, max_size=6)))
    kind = draw(st.integers(0, 99))
    if kind == 96:
        return ""
    if kind in (97, 98):
        return text + draw(st.sampled_from(_SURROGATES)) + text
    if kind == 99:
        filler = draw(st.sampled_from(["x", '"', "\\", "汉", "\x00"]))
        return filler * (draw(st.sampled_from([30_000, MAX_BYTES, MAX_BYTES + 1])))
    return text


scalars = st.one_of(
    texts(),
    texts(),
    st.none(),
    st.booleans(),
    st.sampled_from(_NUMBERS),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(_FLOATS),
    st.floats(allow_nan=False, allow_infinity=False),
)
_nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _deep(draw: st.DrawFn) -> Any:
    value = draw(scalars)
    for _ in range(draw(st.integers(MAX_DEPTH - 2, MAX_DEPTH + 2))):
        value = [value] if draw(st.booleans()) else {"x": value}
    return value


@st.composite
def values(draw: st.DrawFn) -> Any:
    """Draw a metadata value; a few are what JSON can't bring back."""
    kind = draw(st.integers(0, 39))
    if kind == 39:
        unfit = draw(st.sampled_from(_UNFIT))
        return draw(st.sampled_from([unfit, [1, unfit], {"x": unfit}, {1: "x"}]))
    return draw(_deep() if kind == 38 else st.one_of(scalars, scalars, _nested))


@st.composite
def _keys(draw: st.DrawFn) -> Any:
    kind = draw(st.integers(0, 59))
    if kind == 59:
        return draw(st.sampled_from([1, None, True, b"x", ("x",)]))
    return draw(st.sampled_from(sorted(RESERVED)) if kind == 58 else texts())


@dataclasses.dataclass(frozen=True)
class Case:
    """The arguments for one entity."""

    id: Any
    text: Any
    metadata: Any


@st.composite
def cases(draw: st.DrawFn, taken: tuple[str, ...]) -> Case:
    """Draw a case; a few take an id that is taken, or are not even of the right types."""
    kind = draw(st.integers(0, 59))
    wrong = draw(st.sampled_from([*_UNFIT, [], ["x"], {}, False, 1.0]))
    return Case(
        id={59: wrong, 58: draw(st.sampled_from(taken)), 57: draw(st.sampled_from(_NUMBERS))}.get(
            kind, draw(texts())
        ),
        text=wrong if kind == 56 else draw(texts()),
        metadata=wrong
        if kind == 55
        else draw(st.dictionaries(_keys(), values(), min_size=1, max_size=4)),
    )


@st.composite
def scopes(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw a field and the value that a scope is to fix it to."""
    kind = draw(st.integers(0, 19))
    if kind == 19:
        fields = st.sampled_from([*sorted(RESERVED), 1, None, b"x", ("x",)])
    else:
        fields = st.sampled_from(["owner", "o w", 'o"w']) if kind < 10 else texts()
    wrong = st.sampled_from([*_UNFIT, None, 1.0, [], {}])
    value = draw(wrong if kind == 18 else st.one_of(texts(), texts(), st.sampled_from(_SCOPES)))
    return draw(fields), value


def generated(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Draw that many different values, the same ones each time."""
    found: dict[str, Any] = {}
    for number in range(count):
        if len(found) >= count:
            break
        _collect(
            strategy,
            number,
            min(count, ROUND),
            lambda value: found.setdefault(_mark(value), value),
        )
    return list(found.values())[:count]


def _mark(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of thousands of digits
        return str(id(value))


def _collect(
    strategy: st.SearchStrategy[Any], number: int, count: int, keep: Callable[[Any], None]
) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        keep(value)

    collect()


def is_utf8(text: str) -> bool:
    """Tell whether a string can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits_json(value: Any, depth: int = 0) -> bool:
    """Tell whether JSON with 64-bit integers brings a value back as it was."""
    match value:
        case str():
            fits = is_utf8(value)
        case int() | None:
            fits = value is None or -(2**63) <= value < 2**63
        case float():
            fits = math.isfinite(value)
        case list():
            fits = all(fits_json(item, depth + 1) for item in value)
        case dict():
            fits = all(isinstance(key, str) and is_utf8(key) for key in value)
            fits = fits and all(fits_json(item, depth + 1) for item in value.values())
        case _:
            fits = False
    return fits and depth <= MAX_DEPTH


def is_id(value: Any) -> bool:
    """Tell whether a value can be an id of a VARCHAR key."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**1000
    return isinstance(value, str) and is_text(value)


def is_text(value: Any) -> bool:
    """Tell whether a value fits a VARCHAR field."""
    return isinstance(value, str) and is_utf8(value) and len(value.encode()) <= MAX_BYTES


def is_metadata(value: Any) -> bool:
    """Tell whether a value can be an entity's metadata in the collection of the tests."""
    return isinstance(value, dict) and all(
        isinstance(key, str) and key not in RESERVED and is_utf8(key) and fits_json(item)
        for key, item in value.items()
    )


def is_good(case: Case) -> bool:
    """Tell whether the collection of the tests can hold a case."""
    return is_id(case.id) and is_text(case.text) and is_metadata(case.metadata)


def is_addressable(key: Any) -> bool:
    """Tell whether every Milvus finds a key of the dynamic field by its name."""
    return isinstance(key, str) and is_utf8(key) and key != "" and not _UNREADABLE.search(key)


def is_scope(field: Any, value: Any) -> bool:
    """Tell whether a scope can fix a field to a value."""
    if isinstance(value, int):
        return is_addressable(field) and abs(value) < 2**63
    return is_addressable(field) and isinstance(value, str) and is_utf8(value)


def same(one: Any, other: Any) -> bool:
    """Compare with types: 1 is not 1.0 and not True, and 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def same_document(one: Document, other: Document) -> bool:
    """Compare all that a Document holds, with types."""
    return same(
        [one.id, one.page_content, one.metadata], [other.id, other.page_content, other.metadata]
    )


def alike(one: Any, other: Any) -> bool:
    """Compare as loosely as some Milvus does: true is 1, and 2**53 + 1 is 2.0**53."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one) == float(other)
    return same(one, other)


def confused(one: Any, other: Any) -> bool:
    """Compare as Milvus Lite does where there are no floats: true is 1."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return same(one, other)
