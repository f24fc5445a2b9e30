"""The arithmetic of the evaluation, and its reading of sets."""

import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest
from evaluating.answers import COLUMNS, answered_of, answers_table, worth
from evaluating.expansion import expanded, relevance_terms
from evaluating.figures import cell, mcnemar, p_value
from evaluating.measuring import ALL_5, ALL_10, Measured, values_of
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
from evaluating.report import report
from evaluating.sets import DATA, OWN, DataError, QuestionSet, read_sets, sets_in
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import ScoredDoc
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
    [own] = sets_in(DATA)
    left = {document.id for document in own.absent}
    needed = {id_ for question in own.questions for id_ in question.needed}
    assert left.isdisjoint(needed)
    assert len(left) + len(needed) == len(own.paragraphs) == 994


OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(OUTCOMES)
def test_mcnemar_s_p_value_is_that_of_a_fair_coin(outcomes: list[tuple[bool, bool]]) -> None:
    """The chance of wins at least as uneven among the questions on which two ways differ."""
    first, second = np.array(outcomes, float).T
    wins, losses = int(np.sum(first > second)), int(np.sum(first < second))
    tosses = wins + losses
    uneven = [n for n in range(tosses + 1) if max(n, tosses - n) >= max(wins, losses)]
    chance = sum(math.comb(tosses, n) for n in uneven) / 2**tosses
    assert mcnemar(first, second) == pytest.approx(chance)
    assert mcnemar(second, first) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("p", "expected"), [(1.0, "p = 1.000"), (0.0312, "p = 0.031"), (0.0009, "p < 0.001")]
)
def test_a_p_value_has_three_digits(p: float, expected: str) -> None:
    """One that would be nought is less than the last digit."""
    assert p_value(p) == expected


def test_the_terms_of_a_relevance_model_are_those_with_the_largest_shares_of_the_hits() -> None:
    """Each hit weighs the same however long it is; stop words are no terms."""
    hits = ["The owl", "A kite, a kite and the red owl of the night: it hunts mice there"]
    # Shares: owl 1 and 1/7; kite 2/7; the others 1/7.
    assert relevance_terms(hits, 4) == ["owl", "kite", "red", "night"]
    assert relevance_terms(["the of", ""], 4) == []
    assert relevance_terms([], 4) == []


def test_an_expanded_query_begins_with_the_question() -> None:
    """A term that the question has, too, counts twice."""
    assert expanded("Which owl?", ["Owl, owl: night"], 2) == "Which owl? owl night"
    assert expanded("Which owl?", [], 2) == "Which owl?"


PARAGRAPHS = [
    {"id": "p1", "title": "Owl", "text": "It hunts.\u2028At night."},
    {"id": "p2", "title": "Kite", "text": "It glides."},
    {"id": "p3", "title": "Swift", "text": "It sleeps."},
]
QUESTIONS = [
    {"id": "q1", "question": "Who hunts?", "answer": "owls", "relevant_ids": ["p1", "p3"]},
    {"id": "q2", "question": "Who sleeps?", "answer": "swifts", "relevant_ids": ["p3"]},
]
Lines = list[dict[str, Any]]


def put(folder: pathlib.Path, name: str, lines: Lines) -> None:
    """Write a file of a set."""
    text = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in lines)
    (folder / name).write_text(text, encoding="utf-8")


def put_set(folder: pathlib.Path, prefix: str = "") -> None:
    """Write both files of a set."""
    put(folder, f"{prefix}questions.jsonl", QUESTIONS)
    put(folder, f"{prefix}paragraphs.jsonl", PARAGRAPHS)


def test_a_folder_may_hold_several_sets(tmp_path: pathlib.Path) -> None:
    """Each has the name of its prefix; one without a prefix has the folder's name."""
    folder = tmp_path / "birds"
    folder.mkdir()
    for prefix in ("b_", "", "a_"):
        put_set(folder, prefix)
    (folder / "README.md").touch()
    (folder / "allquestions.jsonl").touch()  # no prefix
    found = sets_in(folder)
    assert [one.name for one in found] == ["birds", "a", "b"]
    for one in found:
        assert [question.text for question in one.questions] == ["Who hunts?", "Who sleeps?"]
        assert one.questions[0].needed == ("p1", "p3")
        assert one.questions[0].gold == "owls"
        assert [each.id for each in one.paragraphs] == ["p1", "p2", "p3"]
        assert one.paragraphs[0].page_content == "Owl: It hunts.\u2028At night."
        assert [each.id for each in one.absent] == ["p2"]


def test_the_examples_own_set_has_its_source_s_name() -> None:
    """And 100 questions."""
    [own] = read_sets([DATA])
    assert (own.name, len(own.questions)) == (OWN, 100)


def test_two_sets_of_one_name_are_refused(tmp_path: pathlib.Path) -> None:
    """Their results could not be told apart."""
    put_set(tmp_path, "a_")
    with pytest.raises(DataError, match=r"^There are two sets with the name 'a'\.$"):
        read_sets([tmp_path, tmp_path])


def without(field: str, lines: Lines) -> Lines:
    """The lines, the second without a field."""
    return [lines[0], {name: one for name, one in lines[1].items() if name != field}, *lines[2:]]


@pytest.mark.parametrize(
    ("name", "lines", "beginning"),
    [
        ("questions", None, "The folder 'birds' has no file a_questions.jsonl."),
        ("paragraphs", None, "The folder 'birds' has no file a_paragraphs.jsonl."),
        ("questions", [], "a_questions.jsonl is empty."),
        (
            "questions",
            without("relevant_ids", QUESTIONS),
            "a_questions.jsonl, line 2: relevant_ids: Field required.",
        ),
        (
            "paragraphs",
            without("title", PARAGRAPHS),
            "a_paragraphs.jsonl, line 2: title: Field required.",
        ),
        (
            "questions",
            [{**QUESTIONS[0], "relevant_ids": "p1"}],
            "a_questions.jsonl, line 1: relevant_ids: Input should be",
        ),
        (
            "questions",
            [{**QUESTIONS[0], "relevant_ids": []}],
            "a_questions.jsonl, line 1: relevant_ids: Tuple should have at least 1 item",
        ),
        (
            "questions",
            [{**QUESTIONS[0], "relevant_ids": ["p1", "p9"]}],
            "a_questions.jsonl: the question 'q1' needs 'p9', which a_paragraphs.jsonl",
        ),
        (
            "paragraphs",
            [*PARAGRAPHS, PARAGRAPHS[0]],
            "a_paragraphs.jsonl has the id 'p1' more than once.",
        ),
    ],
)
def test_what_a_set_lacks_is_named(
    tmp_path: pathlib.Path, name: str, lines: Lines | None, beginning: str
) -> None:
    """A file, a field, an id: in one line, without the folder's path."""
    folder = tmp_path / "birds"
    folder.mkdir()
    put_set(folder, "a_")
    file = f"a_{name}.jsonl"
    if lines is None:
        (folder / file).unlink()
    else:
        put(folder, file, lines)
    with pytest.raises(DataError) as refused:
        read_sets([folder])
    assert str(refused.value).startswith(beginning)
    assert len(str(refused.value).splitlines()) == 1
    assert str(tmp_path) not in str(refused.value)


def test_a_line_that_is_no_json_is_named(tmp_path: pathlib.Path) -> None:
    """By its number."""
    put_set(tmp_path)
    with (tmp_path / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write("no JSON\n")
    with pytest.raises(DataError, match=r"^questions\.jsonl, line 3: Invalid JSON: [^\n]*$"):
        sets_in(tmp_path)


def test_a_folder_without_a_set_is_named(tmp_path: pathlib.Path) -> None:
    """One that is not there, too."""
    with pytest.raises(DataError, match=r"^There is no folder 'birds'\.$"):
        sets_in(tmp_path / "birds")
    (tmp_path / "birds").mkdir()
    with pytest.raises(DataError, match=r"^The folder 'birds' has no file questions\.jsonl or "):
        sets_in(tmp_path / "birds")


def birds(folder: pathlib.Path) -> QuestionSet:
    """A set of two questions."""
    put_set(folder, "birds_")
    return sets_in(folder)[0]


def test_all_is_found_if_no_paragraph_is_missing(tmp_path: pathlib.Path) -> None:
    """Among the first ten, and among the first five; a question without hits has nothing."""
    first, second = birds(tmp_path).questions
    others = [ScoredDoc(first.id, f"x{n}", -n) for n in range(1, 8)]
    run = [ScoredDoc(first.id, "p1", 0), *others, ScoredDoc(first.id, "p3", -8)]
    values = values_of(run, [first, second])
    assert values[ALL_10].tolist() == [1, 0]
    assert values[ALL_5].tolist() == [0, 0]
    assert values["recall@5"].tolist() == [0.5, 0]
    assert values["MRR"].tolist() == [1, 0]


def measured(name: str, *found: float) -> Measured:
    """A way that finds the same by all measures."""
    values = dict.fromkeys(("all@10", "all@5", "recall@10", "nDCG@10", "MRR"), np.array(found))
    return Measured(name, values, np.full(len(found), 1.5), np.full(len(found), 20.0))


def test_a_report_has_a_heading_for_each_set(tmp_path: pathlib.Path) -> None:
    """With as many questions as were asked; the sets side by side come first."""
    one = birds(tmp_path)
    other = QuestionSet("swifts", one.questions, one.paragraphs)
    ways = [measured("single query, hybrid", 0, 1), measured("graph, hybrid: one round", 1, 1)]
    written = report([one, other], {"birds": ways, "swifts": ways})
    headings = [line for line in written.splitlines() if line.startswith("#")]
    assert headings == [
        "## Side by side",
        "## birds: 2 questions, 3 paragraphs",
        "## swifts: 2 questions, 3 paragraphs",
    ]
    assert "| graph, hybrid: one round | 100 / 100 | 1.5 | 20 | 100 / 100 | 1.5 | 20 |" in written
    assert "| 50 (0 to 100), p = 1.000 | 1.5 | 20 |" in written
    assert "## Side by side" not in report([one], {"birds": ways})
