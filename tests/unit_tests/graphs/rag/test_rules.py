"""The rules of the graph, which take no model."""

import pytest

from graphs.rag import rules
from graphs.rag.quoting import BY_RULE
from graphs.rag.rules import follow_ups, merge_rounds, new_names, ranked, split
from graphs.rag.state import Passage


def passage(text: str, id_: str = "1") -> Passage:
    """Return a passage."""
    return Passage(id=id_, source=f"source {id_}", title="", url="", text=text)


LELAND = passage("Leland is a town. The film Maximum Overdrive was shot around Leland.", "a")
FILM = passage("Maximum Overdrive is a film. It was directed by Stephen King.", "b")
ASKED = "Who directed the film that was shot around Leland?"


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("Who wrote Dune, and when was it filmed?", ["Who wrote Dune?", "when was it filmed?"]),
        ("Who wrote Dune? Where was he born?", ["Who wrote Dune?", "Where was he born?"]),
        ("Are Dune and Solaris both films?", []),
        ("Who wrote Dune?", []),
        ("", []),
        ("??? and who", []),
    ],
)
def test_a_text_of_several_questions_is_split(question: str, parts: list[str]) -> None:
    """Several questions are told apart; one is left whole."""
    assert split(question) == parts


def test_the_second_hop_is_the_best_passage_and_its_names() -> None:
    """The question with the best text, and each new name with what is still open."""
    assert follow_ups(ASKED, [LELAND]) == [
        f"{ASKED} {LELAND['text']}",
        "Maximum Overdrive directed",
    ]


def test_names_near_words_of_the_question_are_followed_first() -> None:
    """Whether words come before or after a name, and in which form, makes no difference."""
    text = (
        "Excalibur is a film. Rospo Pallenberg wrote it with Orion Pictures and others, and much "
        "later, as it was said, John Boorman directed."
    )
    _, first, *others = follow_ups("Who was the director?", [passage(text)])
    assert first.startswith("John Boorman")
    assert [one.split(" director")[0] for one in others] == [
        "Excalibur",
        "Rospo Pallenberg",
        "Orion Pictures",
    ]


def test_best_passages_take_turns() -> None:
    """The names of one passage leave room for those of the next."""
    passages = [
        passage("Ann met Bob, Cid and Dan."),
        passage("Eve met Fay.", "2"),
        passage("Gus.", "3"),
    ]
    _, *named = follow_ups("who?", passages)
    assert named == ["Ann", "Eve", "Bob", "Fay", "Cid", "Dan"]


@pytest.mark.parametrize(
    "name",
    ["March 1981", "American", "French", "4 July", "Monday", "South Korean", "1980s", "22nd"],
)
def test_names_that_lead_nowhere_are_not_followed(name: str) -> None:
    """Dates and nationalities stand in every other passage; inside a name they count."""
    assert follow_ups("who?", [passage(f"it was {name}.")])[1:] == []
    assert follow_ups("who?", [passage(f"it was {name} Times.")])[1:] == [f"{name} Times"]


def test_a_text_without_names_has_a_second_hop_too() -> None:
    """Where there are no capitals, the question goes with the best text."""
    text = "レランドは町です。"
    assert follow_ups("町は?", [passage(text)]) == [f"町は? {text}"]


def test_nothing_found_has_no_second_hop() -> None:
    """There is nothing to follow."""
    assert follow_ups(ASKED, []) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The band Pink Floyd played.", ["Pink Floyd"]),
        ("He met Ludwig van Beethoven in 1801.", ["Ludwig van Beethoven"]),
        ("In 1801 he left.", []),
        ("Ask J. R. R. Tolkien.", ["Ask J R R Tolkien"]),
        ("Élodie saw Łódź, Ōsaka.", ["Élodie", "Łódź", "Ōsaka"]),
        ("A B C", []),
        ("the end", []),
        ("Leland", []),
    ],
)
def test_names_are_what_stands_in_capitals_and_is_new(text: str, found: list[str]) -> None:
    """Not the stop words at their ends, nor numbers alone, nor what the question says."""
    assert new_names(text, "Where is Leland?") == found


def test_rounds_take_turns() -> None:
    """The first of each round come first, each id once."""
    assert merge_rounds([[["a", "b"], ["c"]], [["b", "d"]]]) == ["a", "b", "c", "d"]
    assert merge_rounds([]) == []


def test_a_linked_passage_moves_up() -> None:
    """The title is the passage's, or its source if that is no id or file, or its first name."""
    others = {str(number): passage("Kites fly.", str(number)) for number in range(4)}
    last = passage("Maximum Overdrive is a film.", "b") | {"source": "films/overdrive.md"}
    known = {"a": LELAND, **others, "b": last}
    found = [(1, list(known))]
    assert ranked(ASKED, found, known) == ["b", "a", *others]
    assert ranked(ASKED, found, {**known, "b": last | {"source": "b"}}) == ["b", "a", *others]
    for field in ("title", "source"):
        titled = {**known, "b": last | {field: "Jaws (film)"}}
        assert ranked(ASKED, found, titled) == list(known)
        assert ranked(f"Jaws? {ASKED}", found, titled) == ["b", "a", *others]


def test_a_passage_that_is_not_known_keeps_its_place() -> None:
    """A thread that was resumed has lost the text; it is ranked by place alone."""
    assert ranked(ASKED, [(1, ["x", "a"]), (2, ["y"])], {"a": LELAND}) == ["x", "y", "a"]


def test_a_long_passage_is_read_in_part() -> None:
    """A query, and the time that names take, are bounded."""
    long = passage("Word " * 100_000)
    assert len(follow_ups("What?", [long])[0]) < 2 * rules._MOST_TEXT


TURN = f"{ASKED}\n{BY_RULE}\n- The film Maximum Overdrive was shot around Leland. [1]"


@pytest.mark.parametrize(
    ("question", "alone"),
    [
        ("and who wrote it?", "Leland, Maximum Overdrive: who wrote it?"),
        ("Where was he born?", "Leland, Maximum Overdrive: Where was he born?"),
        ("When?", "Leland, Maximum Overdrive: When?"),
        ("And in 1986?", "Leland, Maximum Overdrive: in 1986?"),
        ("And?", "Leland, Maximum Overdrive: And?"),
        ("What are kites?", "What are kites?"),
        ("Who wrote Carrie, and is it good?", "Who wrote Carrie, and is it good?"),
        ("?", "?"),
    ],
)
def test_r46_a_follow_up_has_the_names_of_the_last_turn(question: str, alone: str) -> None:
    """A question that refers to nothing, or names something itself, stands as it is."""
    assert rules.standalone(question, [TURN]) == alone
    assert rules.standalone(question, []) == question


def test_a_follow_up_of_a_follow_up_has_the_names_of_the_turn_before() -> None:
    """The last turn that names something counts."""
    assert rules.standalone("And when?", ["who wrote it?\nThe answer is unknown.", TURN]) == (
        "Leland, Maximum Overdrive: when?"
    )
    assert rules.standalone("And when?", ["why?"]) == "And when?"


def test_a_follow_up_has_what_was_asked_about_and_what_was_answered() -> None:
    """Of many names those at both ends: the question's, and the answer's last."""
    turn = "Who directed Jaws?\nIn Amity, by Martha, with Orca, it was Steven Spielberg [1]."
    alone = rules.standalone("When was he born?", [turn])
    assert alone == "Jaws, Amity, Orca, Steven Spielberg: When was he born?"


def test_a_follow_up_is_one_question() -> None:
    """The names before it split nothing."""
    assert split(rules.standalone("and who wrote it?", [TURN])) == []
