"""The rules of the graph, which take no model."""

import pytest

from graphs.rag import rules
from graphs.rag.rules import QUOTES, content_words, follow_ups, merge_rounds, names, quotes, split
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
    assert names(text, "Where is Leland?") == found


def test_rounds_take_turns() -> None:
    """The first of each round come first, each id once."""
    assert merge_rounds([[["a", "b"], ["c"]], [["b", "d"]]]) == ["a", "b", "c", "d"]
    assert merge_rounds([]) == []


def test_quotes_are_chained_by_names() -> None:
    """A passage that begins with a name of a quoted one is quoted for that."""
    other = passage("A film was shot and directed.", "c")
    quoted = quotes(ASKED, [LELAND, FILM, other])
    assert (1, "The film Maximum Overdrive was shot around Leland.") in quoted
    assert (2, "It was directed by Stephen King.") in quoted
    assert quoted == sorted(quoted)
    assert len(quoted) <= QUOTES


def test_passages_on_something_else_are_not_quoted() -> None:
    """Too few of the question's words are no answer."""
    assert quotes("What is the boiling point of tungsten?", [LELAND, FILM]) == []
    assert quotes("Is it?", [LELAND]) == []
    assert quotes(ASKED, []) == []


def test_an_initial_ends_no_sentence() -> None:
    """`M. Ward` stays whole."""
    text = 'M. Ward: Matthew "M." Ward sings in Oregon. He is a singer.'
    assert quotes("Where is Ward, who sings?", [passage(text)])[0] == (
        1,
        'M. Ward: Matthew "M." Ward sings in Oregon.',
    )


def test_words_that_say_nothing_do_not_count() -> None:
    """Content words are the others, once, in small letters."""
    assert content_words("Who is the King of the kings?") == ["king", "kings"]


def test_a_long_passage_is_read_in_part() -> None:
    """A query, and the time that names take, are bounded."""
    long = passage("Word " * 100_000)
    assert len(follow_ups("What?", [long])[0]) < 2 * rules._MOST_TEXT


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What hunts at night?", "Owls hunt at night."),
        ("Which bird is hunting by night?", "The birds hunted all night."),
        ("Who is the director of Jaws?", "Jaws was directed by Spielberg."),
        ("Which city has a movie studio?", "Cities with studios for movies are rare."),
        ("Who kills and runs?", "He killed one, running away."),
    ],
)
def test_r49_words_are_compared_by_their_stems(question: str, text: str) -> None:
    """Another ending is the same word."""
    assert quotes(question, [passage(text)]) == [(1, text)]


@pytest.mark.parametrize("word", ["king", "thing", "bed", "red", "is", "bus", "über", "町"])
def test_r49_short_words_have_no_ending(word: str) -> None:
    """What is left would be no word; other scripts are left alone."""
    assert rules._stem(word) == word


def test_r49_the_nearest_sentences_share_most_words() -> None:
    """Without any, the first passages begin."""
    passages = [passage("Kites fly. Owls sleep.", "a"), passage("Owls hunt mice.", "b")]
    assert rules.nearest("Do owls hunt foxes or bears or wolves?", passages)[-1] == (
        2,
        "Owls hunt mice.",
    )
    assert rules.nearest("Why?", passages) == [(1, "Kites fly."), (2, "Owls hunt mice.")]
    assert rules.nearest("Why?", [passage("  ")]) == []


TURN = f"{ASKED}\n{rules.BY_RULE}\n- The film Maximum Overdrive was shot around Leland. [1]"


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
