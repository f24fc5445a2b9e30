"""Words, stems and names of English text."""

import pytest

from milvus_tools.english import content_words, names, stem, stems


def test_words_that_say_nothing_do_not_count() -> None:
    """Content words are the others, once, in small letters."""
    assert content_words("Who is the King of the kings?") == ["king", "kings"]


@pytest.mark.parametrize("word", ["king", "thing", "bed", "red", "is", "bus", "über", "町"])
def test_r49_short_words_have_no_ending(word: str) -> None:
    """What is left would be no word; other scripts are left alone."""
    assert stem(word) == word


@pytest.mark.parametrize("words", [("hunts", "hunting", "Hunter", "hunted"), ("city", "Cities")])
def test_endings_make_no_difference(words: tuple[str, ...]) -> None:
    """One word in several forms has one stem."""
    assert len(set(map(stem, words))) == 1
    assert len(stems(" and ".join(words))) == 1


def test_names_are_runs_of_capitals() -> None:
    """Each once, with joiners inside, without stop words at the ends."""
    text = "The House of Lords met. Later a House of Lords, of London, met in 1801."
    assert names(text) == ["House of Lords", "Later", "London", "1801"]
    assert names("") == []
