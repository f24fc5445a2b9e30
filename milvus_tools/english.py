"""English text: its words, their stems and the names in it. Pure functions."""

import functools
import re
from collections.abc import Iterator
from typing import Final

_SAY_NOTHING: Final = """
a about after all also an and any are as at be because been before being between both but by
can could did do does during each either else first for from had has have he her hers him his
how i if in into is it its itself many may me more most much my no not of on one only or other
our out over own same she should since so some such than that the their them then there these
they this those through to too two under until up was we were what when where which while who
whom whose why will with would you your
"""
_JOIN: Final = "of de la du von van der the"

STOP_WORDS: Final = frozenset(_SAY_NOTHING.split())
_JOINERS: Final = frozenset(_JOIN.split())
_WORD: Final = re.compile(r"[^\W_](?:[\w'\u2019.&-]*\w)?")
_PLAIN_WORD: Final = re.compile(r"[^\W_]+")
_ENDING: Final = re.compile(
    r"(?:(?<=[a-z]{3})(?:i(?:es|ed|e)|ings?|e[sd]?|s)|(?<=[a-z]{4})[eo]rs?|(?<=[a-z]{2}[^aeiou])y)$"
)


def words(text: str) -> list[str]:
    """Return the runs of letters and digits in a text."""
    return _PLAIN_WORD.findall(text)


def content_words(text: str) -> list[str]:
    """Return a text's words in small letters, each once, without those that say nothing."""
    found = (word.lower() for word in words(text))
    return list(dict.fromkeys(word for word in found if word not in STOP_WORDS))


# One text's words are compared with many others'.
@functools.lru_cache(maxsize=4_096)
def stem(word: str) -> str:
    """Return a word in small letters without its English ending.

    "Hunts", "hunting" and "hunter" have one stem.
    """
    found = _ENDING.sub("", word.lower())
    return found[:-1] if found[-2:-1] == found[-1:] else found


def stems(text: str) -> frozenset[str]:
    """Return the stems of a text's content words."""
    return frozenset(map(stem, content_words(text)))


def names(text: str) -> list[str]:
    """Return the names in a text, each once, in the order of their first occurrence.

    Args:
        text: English text.

    Returns:
        The runs, with joiners such as "of" inside, and without stop words at both ends: the
        "The" of a sentence's beginning is no name.
    """
    found = (" ".join(_trimmed(run)) for run in _capitalised_runs(text))
    return list(dict.fromkeys(name for name in found if name))


def _capitalised_runs(text: str) -> Iterator[list[str]]:
    """Yield words that begin with a capital or a digit and follow each other, joiners between."""
    run: list[str] = []
    end = 0
    for match in _WORD.finditer(text):
        word, gap = match[0], text[end : match.start()]
        joins = bool(run) and not gap.strip(" .")
        if not joins and run:
            yield run
            run = []
        if word[0].isupper() or word[0].isdigit() or (joins and word in _JOINERS):
            run.append(word)
        elif run:
            yield run
            run = []
        end = match.end()
    if run:
        yield run


def _trimmed(run: list[str]) -> list[str]:
    kept = [number for number, word in enumerate(run) if word.lower() not in STOP_WORDS]
    return run[kept[0] : kept[-1] + 1] if kept else []
