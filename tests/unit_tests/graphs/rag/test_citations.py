"""Citations that are right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.rag.citations import cite, uncited
from graphs.rag.state import Citation, Passage
from milvus_tools.tools.formatting import as_data

PASSAGES = [Passage(id=f"p{n}", source=f"s{n}", title="", url="", text="") for n in range(1, 6)]


@pytest.mark.parametrize(
    ("written", "kept", "numbers"),
    [
        ("A [1]. B [2][3].", "A [1]. B [2][3].", [1, 2, 3]),
        ("A [2], then [1], then [2].", "A [2], then [1], then [2].", [2, 1]),
        ("A [1, 3].", "A [1][3].", [1, 3]),
        ("A [2-4].", "A [2][3][4].", [2, 3, 4]),
        ("A [2\u20134; 1].", "A [2][3][4][1].", [2, 3, 4, 1]),
        ("A \u30101\u2020source\u3011.", "A [1].", [1]),
        ("A [document 2] [Source #3].", "A [2] [3].", [2, 3]),
        ("A [7].", "A.", []),
        ("A [0] [1].", "A [1].", [1]),
        ("A [1, 99].", "A [1].", [1]),
        ("A [1-999999999].", "A [1][2][3][4][5].", [1, 2, 3, 4, 5]),
        ("A [5-1].", "A.", []),
        ("In [1984] and [sic] and [].", "In and [sic] and [].", []),
        ("A [1 and 9] [2 & 3].", "A [1] [2][3].", [1, 2, 3]),
        ("A [document n=9] [doc n='2'].", "A [2].", [2]),
        ("A [9.] [1, p. 3] \uff3b9\uff3d \uff3b2\uff3d.", "A [1] [2].", [1, 2]),
        ("A [1](http://evil)(http://evil) [9](http://evil).", "A [1].", [1]),
        ("A \u30102\u2020 and [1].", "A \u30102\u2020 and [1].", [1]),
        ("Code: x[0] = y[7].", "Code: x(0) = y(7).", []),
        ("A [[0]77] B [[9]1].", "A (77) B [1].", [1]),
        ("A [7[0]7] B [[[0]0]9].", "A [7(0)7] B [(0)9].", []),
        ("No citation.", "No citation.", []),
        ("", "", []),
    ],
)
def test_every_number_means_a_passage(written: str, kept: str, numbers: list[int]) -> None:
    """Right ones stay, one to a bracket; wrong ones go."""
    answer, citations = cite(written, PASSAGES)
    assert answer == kept
    assert citations == [Citation(n=n, id=f"p{n}", source=f"s{n}") for n in numbers]


def test_no_passage_has_no_citation() -> None:
    """Nothing can be cited."""
    assert cite("A [1].", []) == ("A.", [])


@pytest.mark.parametrize(
    "mark",
    ["[*1*]", "**[1]**", "[1:]", "[`1`]", "[ 1 ]", "[1\ufe0f\u20e3]", "[^1^]", "\ufe471\ufe48"]
    + ["[" + ", ".join(["1"] * count) + "]" for count in (2, 33, 1_000)],
)
def test_a_decorated_mark_is_a_citation(mark: str) -> None:
    """However a model decorates a number, and however many there are, it is read."""
    answer, citations = cite(f"A {mark}.", PASSAGES)
    assert answer.replace("*", "") == "A [1]."
    assert citations == [Citation(n=1, id="p1", source="s1")]


HIDDEN = [chr(point) for point in (0xAD, 0x200B, 0x200D, 0xFE0F, 0x3164, 0xE0101, 0x2066)]


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_r06_nothing_invisible_makes_a_citation(hidden: str) -> None:
    """A mark with something invisible in it is shown with that, and cites nothing."""
    for mark in (f"[{hidden}1]", f"[1{hidden}]", f"[{hidden}1{hidden}]"):
        answer, citations = cite(f"A {mark}.", PASSAGES)
        assert ("[1]" in answer) == bool(citations)
        assert hidden not in answer
        assert not uncited(as_data(f"A {mark}.")).count("[")


@given(st.text(st.sampled_from("[]\u3010\u3011\uff3b\ufe480123\u0661 ,-*_:#^pn\u200d\ufe0f")))
def test_r06_a_quoted_text_holds_no_citation(text: str) -> None:
    """No brackets with a number between them are left, however they are nested or decorated."""
    shown = uncited(as_data(text))
    assert cite(f"A. {shown}", PASSAGES)[1] == []
    first, last = shown.find("["), shown.rfind("]")
    assert last < first or not any(one.isdigit() for one in shown[first:last])


def test_a_quoted_footnote_is_no_citation() -> None:
    """Brackets in a document's text are no citations."""
    assert uncited("A fact.[3] Another [1, 2].") == "A fact.(3) Another (1, 2)."
    assert cite(uncited("A [1]."), PASSAGES)[1] == []


@pytest.mark.parametrize(
    "mark",
    [
        "[" * 50_000,
        "[1," * 50_000,
        "[1 " + " " * 50_000,
        "[" + " " * 50_000,
        "a" + " " * 50_000 + "b",
        "[1\u2020" * 50_000,
        "[1" + ", 1" * 50_000,
        "[" * 50_000 + "0]" * 50_000,
        "[document" * 50_000,
        "[1](http:" * 50_000,
    ],
    ids=range(10),
)
def test_odd_brackets_take_no_time(mark: str) -> None:
    """The pattern is linear: the test would run into its deadline."""
    assert cite(mark, PASSAGES)[0]
