"""The arithmetic of the evaluation of answers."""

import math
from typing import Any

import numpy as np
import pytest
from evaluating.answers import COLUMNS, absent_paragraphs, answered_of, answers_table, worth
from evaluating.figures import cell
from evaluating.metrics import (
    cited,
    exact_match,
    f1,
    holds,
    statements,
    supports,
    tokens,
    without_citations,
)
from evaluating.questions import load_questions
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from graphs.rag.prompts import NOT_IN_DOCUMENTS
from graphs.rag.rules import BY_RULE, UNCLEAR

WORDS = st.lists(st.sampled_from(["owl", "kite", "the", "An", "night,", "1986", "No."]))
TEXTS = WORDS.map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Red-Kite, a bird!", ["redkite", "bird"]),
        ("An owl's nest\n", ["owls", "nest"]),
        ("Theatre", ["theatre"]),
        ("$1,000", ["1000"]),
        ("", []),
    ],
)
def test_tokens_are_those_of_squad(text: str, expected: list[str]) -> None:
    """Small letters, without punctuation, articles and further white space."""
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The owl", "owl!", 1.0),
        ("an owl hunts", "the owl", 2 / 3),
        ("owl owl", "owl", 2 / 3),
        ("kite", "owl", 0.0),
        ("", "owl", 0.0),
    ],
)
def test_f1_weighs_precision_and_recall(answer: str, gold: str, expected: float) -> None:
    """A token counts as often as both have it."""
    assert f1(answer, gold) == pytest.approx(expected)


@given(TEXTS, TEXTS)
def test_an_exact_match_is_held_and_has_all_of_f1(answer: str, gold: str) -> None:
    """F1 lies between none and all, is the same both ways, and is all for an exact match."""
    assert 0 <= f1(answer, gold) <= 1
    assert f1(answer, gold) == f1(gold, answer)
    assert exact_match(answer, answer) == f1(answer, answer) == 1
    assert exact_match(answer, gold) <= f1(answer, gold)
    assert exact_match(answer, gold) <= holds(answer, gold)


@given(TEXTS, TEXTS, TEXTS)
def test_a_text_holds_what_stands_in_it(before: str, gold: str, after: str) -> None:
    """Unless that has no token, or is a yes or no, which must come first."""
    exempt = tokens(gold) in ([], ["yes"], ["no"])
    assert holds(f"{before} {gold} {after}", gold) or exempt


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("It was Stephen King.", "Stephen King", True),
        ("King Stephen", "Stephen King", False),
        ("Kings rule.", "King", False),
        ("No, they are not.", "no", True),
        ("There was no film.", "no", False),
    ],
)
def test_the_right_answer_stands_in_an_answer(text: str, gold: str, expected: bool) -> None:
    """As whole words, in their order; a yes or no at the beginning."""
    assert holds(text, gold) is expected


def test_an_answer_is_read_sentence_by_sentence() -> None:
    """Each with its citations, also behind the full stop; what leads in is no statement."""
    answer = (
        f'{BY_RULE}\n- A film by M. Ward (1986). [1][2] It won! [3]\n- He is "M. W." [4]\n\n'
        "Owls hunt at night [5]. [6]\n[7]"
    )
    read = statements(answer)
    assert [without_citations(one) for one in read] == [
        "A film by M. Ward (1986).",
        "It won!",
        'He is "M. W."',
        "Owls hunt at night .",
    ]
    assert list(map(cited, read)) == [[1, 2], [3], [4], [5, 6]]


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        ("An owl.", True),
        ("At night", True),
        ("The kite is a bird.", False),
        ("it does [1]", False),
    ],
)
def test_a_passage_supports_by_a_content_word(passage: str, expected: bool) -> None:
    """Of the sentence or of the right answer; a word that says nothing is none."""
    assert supports(passage, "It does so at night [1].", "owl") is expected


def output(text: str, by: str = "model", notes: list[str] | None = None, **cites: str) -> Any:
    """The output of the graph, as far as it is measured."""
    numbers = [int(name.removeprefix("n")) for name in cites]
    return {
        "answer": "\n\n".join([text, *(notes or [])]),
        "answered_by": by,
        "notes": notes or [],
        "citations": [{"n": number, "id": str(number), "source": ""} for number in numbers],
        "documents": [Document(text) for text in cites.values()],
    }


def values(given: Any, gold: str, *read: str) -> dict[str, float]:
    """The values of an output by their columns."""
    return dict(zip(COLUMNS, worth(answered_of(given, read), gold), strict=False))


def test_an_answer_is_worth_what_it_says_and_cites() -> None:
    """Its notes are no part of it; a citation counts by the passage that it names."""
    said = output(
        "Owls do [1][2]. Kites do not.", notes=["Could not be searched: owls."],
        n1="Owls hunt.", n2="Swifts sleep.",
    )  # fmt: skip
    found = values(said, "owls", "Owls hunt.")
    assert found["right answer in it"] == 1
    assert found["sentences that cite"] == 0.5
    assert found["citations with a supporting word"] == 0.5
    assert found["denied although found"] == 0
    assert found["F1"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    "denial",
    [
        output(NOT_IN_DOCUMENTS),
        output(f"Sorry: {NOT_IN_DOCUMENTS.lower()}", notes=["The answer cites no document."]),
        output(f"{UNCLEAR}\n- Owls hunt. [1]", "none", n1="Owls hunt."),
    ],
)
def test_a_denial_is_no_answer(denial: Any) -> None:
    """Whatever it shows; it counts against the answer only where the passages hold that."""
    found = values(denial, "owls", "Kites fly.", "Owls hunt.")
    assert (found["right answer in it"], found["F1"], found["denied although found"]) == (0, 0, 1)
    assert math.isnan(found["sentences that cite"])
    assert math.isnan(values(denial, "owls", "Kites fly.")["denied although found"])
    assert math.isnan(values(denial, "no", "No owls.")["denied although found"])


def test_a_mean_is_of_the_questions_that_have_a_value() -> None:
    """Those without one count neither as none nor as all; a column may have none at all."""
    assert cell(np.array([1.0, math.nan, 1.0])) == "100 (100 to 100)"
    assert cell(np.array([math.nan])) == "none"
    table = answers_table({"by rule": dict.fromkeys(COLUMNS, np.array([0.5, 0.5]))})
    assert table.splitlines()[2] == f"| by rule |{' 50 (50 to 50) |' * len(COLUMNS)}"


def test_the_other_collection_has_no_paragraph_that_a_question_needs() -> None:
    """It has all others."""
    left = {document.id for document in absent_paragraphs()}
    needed = {id_ for question in load_questions() for id_ in question.needed}
    assert left.isdisjoint(needed)
    assert len(left) + len(needed) == 994
