"""Answers by rule: sentences that are quoted."""

import pytest

from graphs.rag.quoting import QUOTES, nearest, quotes, sentences
from graphs.rag.state import Passage


def passage(text: str, id_: str = "1", title: str = "") -> Passage:
    """Return a passage."""
    return Passage(id=id_, source=f"source {id_}", title=title, url="", text=text)


LELAND = passage("Leland is a town. The film Maximum Overdrive was shot around Leland.", "a")
FILM = passage(
    "Maximum Overdrive is a film. It was directed by Stephen King.",
    "b",
    "Maximum Overdrive (film)",
)
ASKED = "Who directed the film that was shot around Leland?"


def test_quotes_are_chained_by_names() -> None:
    """A passage whose title stands in a quoted one is quoted for that."""
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


def test_r49_the_nearest_sentences_share_most_words() -> None:
    """Without any, the first passages begin."""
    passages = [passage("Kites fly. Owls sleep.", "a"), passage("Owls hunt mice.", "b")]
    assert nearest("Do owls hunt foxes or bears or wolves?", passages)[-1] == (
        2,
        "Owls hunt mice.",
    )
    assert nearest("Why?", passages) == [(1, "Kites fly."), (2, "Owls hunt mice.")]
    assert nearest("Why?", [passage("  ")]) == []


def test_a_rare_word_of_the_question_counts_more() -> None:
    """A word that all passages have tells none of them apart."""
    passages = [
        passage(f"The film number {one} is a film by a film maker.", str(one)) for one in range(9)
    ]
    passages.append(passage("A harpoon is thrown.", "last"))
    assert quotes("In which film is a harpoon thrown?", passages)[-1] == (
        10,
        "A harpoon is thrown.",
    )


def test_a_word_in_the_title_counts_for_every_sentence() -> None:
    """A sentence says "it" of what the title names."""
    text = "It was built in 1901."
    asked = "When was Aldwych Hall built?"
    assert quotes(asked, [passage(text, title="Aldwych Hall")]) == [(1, text)]
    assert quotes(asked, [passage(text, title="Albert Hall")]) == [(1, text)]
    assert quotes(asked, [passage(text, title="Tower")]) == []


@pytest.mark.parametrize(
    "text",
    [
        "United States v. Jones was decided.",
        "Warner Bros. Pictures made it.",
        "Dr. No met Mr. Bond in St. Louis on Sept. 4.",
        "It costs approx. five pounds.",
        "George W. Bush won.",
        "He said e.g. nothing.",
    ],
)
def test_an_abbreviation_ends_no_sentence(text: str) -> None:
    """Nor does a period before a small letter."""
    assert list(sentences(f"{text} Then it ended! {text}")) == [text, "Then it ended!", text]


def test_closing_quotes_stay_with_their_sentence() -> None:
    """A bracket too."""
    assert list(sentences('"Go." (He went.) Now?  Yes.')) == [
        '"Go."',
        "(He went.)",
        "Now?",
        "Yes.",
    ]
    assert list(sentences("  ")) == []
