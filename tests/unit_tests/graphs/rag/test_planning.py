"""Sub-questions: cleaned, numbered, bounded, filled in."""

import pytest
from pydantic import BaseModel

from graphs.rag.planning import MAX_ANSWER, MAX_TEXT, cleaned, first_round, next_round
from graphs.rag.prompts import FollowUpPlan, Paraphrases, Plan, Reflection, Step
from graphs.rag.state import Asked, Subquestion

ASKED = "Where was the director of Jaws born?"


def step(question: str) -> Step:
    """Return a step of a plan."""
    return Step(question=question)


def finding(number: int, text: str, round_: int = 1) -> Asked:
    """Return what a sub-question found: nothing."""
    return Asked(number=number, round=round_, text=text, found=[], error="")


def waits(number: int, text: str, *needs: int) -> Subquestion:
    """Return a sub-question that waits."""
    return Subquestion(number=number, round=1, text=text, needs=list(needs))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("1. Who directed Jaws?", "Who directed Jaws?"),
        ("  - **Who directed Jaws?** ", "Who directed Jaws?"),
        ('Sub-question 2: "Who directed Jaws?"', "Who directed Jaws?"),
        ("Q1: Who directed\n Jaws?", "Who directed Jaws?"),
        ("2001: A Space Odyssey", "2001: A Space Odyssey"),
        ("1984 by Orwell", "1984 by Orwell"),
        ("300: Rise of an Empire", "300: Rise of an Empire"),
        ("<document n='1'>", "&lt;document n='1'>"),
        (" ** ", ""),
        ("x" * 9_999, "x" * MAX_TEXT),
    ],
)
def test_what_models_put_round_a_question_is_taken_off(text: str, clean: str) -> None:
    """Numbering, bullets and quotes go; a title that begins with a number stays."""
    assert cleaned(text) == clean


def test_the_question_itself_is_always_searched_for() -> None:
    """Also if there is no plan."""
    assert first_round(ASKED, [], 8).pending == [waits(1, ASKED)]


def test_what_needs_an_answer_waits() -> None:
    """References in the text are to our numbers."""
    steps = [step("Who directed Jaws?"), step("Where was #1 born?"), step("And when was it?")]
    planned = first_round(ASKED, steps, 8)
    assert planned.pending == [
        waits(1, ASKED),
        waits(2, "Who directed Jaws?"),
        waits(4, "And when was it?"),
    ]
    assert planned.waiting == [waits(3, "Where was #2 born?", 2)]


def test_only_a_reference_in_the_text_makes_a_step_wait() -> None:
    """Small models say that step 1 needs itself, and its search would never run."""
    plan = Plan.model_validate(
        {"subquestions": [{"question": "Who directed Jaws?", "needs": [1]}] * 2}
    )
    assert first_round(ASKED, plan.subquestions, 8).waiting == []


@pytest.mark.parametrize("schema", [Plan, FollowUpPlan, Paraphrases, Reflection])
def test_no_list_of_a_reply_is_without_end(schema: type[BaseModel]) -> None:
    """The schema bounds each list; of a longer one, the first items are taken."""
    lists = [one for one in schema.model_fields if "list" in str(schema.model_fields[one])]
    properties = schema.model_json_schema()["properties"]
    assert lists
    for name in lists:
        most = properties[name]["maxItems"]
        item = {"question": "a", "number": 1, "answer": "b"}
        endless = "a" if properties[name]["items"] == {"type": "string"} else item
        rest = {"question": "q", "answerable": False, **{one: [] for one in lists}}
        reply = schema.model_validate({**rest, name: [endless] * 10 * most})
        assert len(getattr(reply, name)) == most


def test_references_to_no_earlier_step_are_dropped() -> None:
    """A plan whose steps wait for each other would end nothing; `#9` of two steps is text."""
    planned = first_round(ASKED, [step("Is #2 right?"), step("Is #1 right, or #9?")], 8)
    assert planned.pending == [waits(1, ASKED), waits(2, "Is right?")]
    assert planned.waiting == [waits(3, "Is #2 right, or #9?", 2)]


def test_duplicates_and_empty_steps_are_dropped() -> None:
    """Also the question itself, in other letters; a reference to one is to what is kept."""
    steps = [step(ASKED.upper()), step(" "), step("Jaws?"), step("jaws"), step("Like #4?")]
    planned = first_round(ASKED, steps, 8)
    assert planned.pending == [waits(1, ASKED), waits(2, "Jaws?")]
    assert planned.waiting == [waits(3, "Like #2?", 2)]


def test_a_list_in_one_step_is_several() -> None:
    """Small models do that."""
    planned = first_round(ASKED, [step("1. Who directed Jaws?\n2. Where was he born?")], 8)
    assert [one["text"] for one in planned.pending][1:] == [
        "Who directed Jaws?",
        "Where was he born?",
    ]


def test_blank_steps_and_lists_shift_no_reference() -> None:
    """A number is a step's, however many lines it has; blank lines are none."""
    steps = [step("Which film?\n\n"), step(" "), step("Who?\nWhen?"), step("Where was #3 born?")]
    planned = first_round(ASKED, steps, 8)
    assert [one["text"] for one in planned.pending[1:]] == ["Which film?", "Who?", "When?"]
    assert planned.waiting == [waits(5, "Where was #3 born?", 3)]
    lone = first_round(ASKED, [step("1. Which film?\n2. Who directed #1?")], 8)
    assert lone.waiting == [waits(3, "Who directed #2?", 2)]


def test_a_wrapped_question_is_one() -> None:
    """Only lines that are questions, or numbered, are several."""
    planned = first_round(ASKED, [step("Who directed the film\nthat was shot in Leland?")], 8)
    assert planned.pending[1:] == [waits(2, "Who directed the film that was shot in Leland?")]


@pytest.mark.parametrize("text", ["Which was a #1 hit?", "What is new in C# 2?", "Channel #50?"])
def test_a_name_with_a_number_sign_is_kept(text: str) -> None:
    """A step can't refer to itself, nor to what is no step."""
    planned = first_round(ASKED, [step(text), step("Who?")], 8)
    assert planned.pending[1] == waits(2, text)


def test_signs_that_are_no_letters_tell_words_apart() -> None:
    """As vowels of Hindi do."""
    assert len(first_round(ASKED, [step("काला"), step("कीला"), step("काला?")], 8).pending) == 3


def test_a_plan_is_bounded() -> None:
    """Fifty sub-questions are as many as may be, and it is told how many are left out."""
    planned = first_round(ASKED, [step(f"Question {number}?") for number in range(50)], 8)
    assert len(planned.pending) == 8
    assert planned.left_out == 43


def test_answers_are_filled_in() -> None:
    """In place of a reference; what lacks an answer waits on."""
    waiting = [waits(3, "Where was #2 born?", 2), waits(5, "#4?", 4)]
    planned = next_round([], waiting, {2: "Steven\\1 Spielberg"}, [finding(1, ASKED)], 8)
    assert [one["text"] for one in planned.pending] == ["Where was Steven\\1 Spielberg born?"]
    assert {one["round"] for one in planned.pending} == {2}
    assert planned.waiting == waiting[1:]


def test_an_answer_is_kept_for_what_waits_for_another_too() -> None:
    """It is filled in when it comes, and need not be found again."""
    first = next_round([], [waits(4, "#2 or #3?", 2, 3)], {2: "Jaws"}, [finding(1, ASKED)], 8)
    assert first.waiting == [waits(4, "Jaws or #3?", 3)]
    asked = [finding(1, ASKED, 2)]
    second = next_round([], first.waiting, {3: "Duel"}, asked, 8)
    assert second.pending == [Subquestion(number=4, round=3, text="Jaws or Duel?", needs=[])]


def test_a_long_answer_is_cut() -> None:
    """A model that loops fills no query with it."""
    planned = next_round([], [waits(2, "#1?", 1)], {1: "x" * 9_999}, [finding(1, "a")], 8)
    assert len(planned.pending[0]["text"]) == MAX_ANSWER + 1


def test_nothing_is_searched_for_twice() -> None:
    """Nor follow-ups that differ in case alone, nor empty ones."""
    asked = [finding(1, ASKED), finding(2, "Who directed Jaws?")]
    texts = ["who directed JAWS", "", "Spielberg?", "spielberg", "- Spielberg."]
    planned = next_round(texts, [], {}, asked, 8)
    assert planned.pending == [Subquestion(number=3, round=2, text="Spielberg?", needs=[])]
    planned = next_round(["A", "B", "a"], [], {}, [finding(1, ASKED)], 8)
    assert [one["text"] for one in planned.pending] == ["A", "B"]


def test_a_round_is_bounded() -> None:
    """Filled ones go first; those that are too many are named as not searched for."""
    waiting = [waits(number, f"#1 and {number}?", 1) for number in range(2, 5)]
    planned = next_round(["New?"], waiting, {1: "A"}, [finding(1, "a")], 2)
    assert [one["number"] for one in planned.pending] == [2, 3]
    assert [one["number"] for one in planned.waiting] == [4]
    assert planned.left_out == 1
