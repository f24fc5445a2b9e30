"""The work of an answering model, by rule: quote the sentences nearest to a question.

Pure functions. Nothing here knows a question or a collection.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from graphs.rag.state import Passage
from milvus_tools.english import stems, words
from milvus_tools.links import plain, title_of
from milvus_tools.ranking import unique

BY_RULE: Final = (
    "Sentences nearest to the question, quoted by rule; whether they answer it is not checked:"
)
UNCLEAR: Final = "Nothing that was found clearly answers the question. The nearest sentences:"

QUOTES: Final = 4
"""The most sentences of an answer."""

NEAREST: Final = 2
"""The most sentences that are shown if none answers."""

# The numbers from here on were chosen on development sets of HotpotQA, MuSiQue and
# 2WikiMultihopQA together.
LEAST: Final = 0.5
"""The least worth of a sentence that is quoted."""

LINKED: Final = 1.0
"""The worth that a sentence gains if its passage's title stands in a quoted passage."""

COVERED: Final = 0.2
"""The part of its weight that a word of the question counts if it is quoted already."""

IN_TITLE: Final = 0.5
"""The part of its weight that a word of the question counts if it stands in the passage's title
only."""

PER_RANK: Final = 0.03
"""The worth that a sentence loses per rank of its passage."""

ENOUGH_WORDS: Final = 0.5
"""More of the question's words than this share stand in the quotes and in the titles of their
passages, or they are no answer."""

Quote = tuple[int, str]  # a passage's number, and a sentence of it

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+(?![a-z])")
_FILE: Final = re.compile(r"[/\\]|\.\w+$")
_SHORT: Final = """
adm approx apr assoc aug ave bros ca capt cf cmdr co col corp cpl dec dept dr ed est etc feat feb
fig fr ft gen gov hon inc jan jr lt ltd maj mlle mme mr mrs ms mt no nov oct op pres prof pt rep
rev sen sept sgt sr st v vol vs
"""
_ABBREVIATIONS: Final = frozenset(_SHORT.split())
_LONGEST_WORD: Final = 20  # characters in which an abbreviation is looked for
_MOST_TEXT: Final = 2_000  # characters of a passage that are read


@dataclasses.dataclass(frozen=True)
class _Sentence:
    number: int  # of its passage, from 1
    text: str
    stems: frozenset[str]  # of the question's words in it
    in_title: frozenset[str]  # and of those in its passage's title only

    @property
    def quote(self) -> Quote:
        return self.number, self.text


def quotes(question: str, passages: Sequence[Passage]) -> list[Quote]:
    """Quote the sentences that together have most of the question's words.

    Args:
        question: The question.
        passages: The passages, best first.

    Returns:
        Pairs of a passage's number, from 1, and a sentence of it, in the passages' order; none
        if too few of the question's words are in them.
    """
    wanted = stems(question)
    weights = _weights(wanted, passages)
    left = [one for one in _read(wanted, passages) if one.stems or one.in_title]
    chosen: list[_Sentence] = []
    while left and len(chosen) < QUOTES:
        worth = _worth(chosen, passages, weights)
        best = max(left, key=worth)
        if worth(best) < LEAST:
            break
        left.remove(best)
        chosen.append(best)
    covered = frozenset().union(*(one.stems | one.in_title for one in chosen))
    return sorted(one.quote for one in chosen) if len(covered) > ENOUGH_WORDS * len(wanted) else []


def _worth(
    chosen: Sequence[_Sentence], passages: Sequence[Passage], weights: Mapping[str, float]
) -> Callable[[_Sentence], float]:
    """Return a function that weighs a sentence beside those that are chosen."""
    covered = frozenset().union(*(one.stems for one in chosen))
    quoted = {one.number for one in chosen}
    linked = frozenset().union(*(_linked(passages[number - 1], passages) for number in quoted))

    def total(some: frozenset[str]) -> float:
        return sum(weights[word] for word in some)

    def worth(one: _Sentence) -> float:
        of_words = total(one.stems - covered) + COVERED * total(one.stems & covered)
        of_title = IN_TITLE * total(one.in_title - covered)
        of_link = LINKED if one.number in linked - quoted else 0.0
        return of_words + of_title + of_link - PER_RANK * one.number

    return worth


def nearest(question: str, passages: Sequence[Passage]) -> list[Quote]:
    """Quote sentences that share most words with the question, or else stand first.

    Returns:
        As `quotes`; none if the passages are empty.
    """
    read = _read(stems(question), passages)
    sharing = [one for one in read if one.stems]
    sharing.sort(key=lambda one: len(one.stems) - PER_RANK * one.number, reverse=True)
    first = {one.number: one for one in reversed(read)}
    found = unique(one.quote for one in [*sharing, *(first[number] for number in sorted(first))])
    return sorted(found[:NEAREST])


def title(passage: Passage) -> str:
    """Return a passage's title, else its source if no file, else the first name of its text."""
    source = passage["source"]
    is_name = source != passage["id"] and not _FILE.search(source)
    return title_of(passage["title"] or (source if is_name else ""), passage["text"])


def sentences(text: str) -> Iterator[str]:
    """Split a text into sentences; an abbreviation or an initial ends none."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if not _is_abbreviated(text[max(start, end.start() - _LONGEST_WORD) : end.start()]):
            yield text[start : end.end()].strip()
            start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def _is_abbreviated(before: str) -> bool:
    """Tell whether a text ends with an abbreviation, such as "v.", or with an initial."""
    last = words(before)[-1:] if before.endswith(".") else []
    return any(
        word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper()) for word in last
    )


def _read(wanted: frozenset[str], passages: Sequence[Passage]) -> list[_Sentence]:
    return [
        _Sentence(number, sentence, found, in_title - found)
        for number, passage in enumerate(passages, start=1)
        for in_title in [wanted & stems(title(passage))]
        for sentence in sentences(passage["text"][:_MOST_TEXT])
        for found in [wanted & stems(sentence)]
    ]


def _weights(wanted: frozenset[str], passages: Sequence[Passage]) -> Mapping[str, float]:
    """Weigh the question's words: one that stands in every passage tells them apart least.

    This is the inverse document frequency of Sparck Jones (1972), over the passages, smoothed and
    scaled to 1 for a word that one passage has.
    """
    count = Counter(word for one in passages for word in wanted & stems(one["text"][:_MOST_TEXT]))
    most = math.log1p(max(len(passages), 1))
    return {word: math.log1p(len(passages) / max(count[word], 1)) / most for word in wanted}


def _linked(quoted: Passage, passages: Sequence[Passage]) -> frozenset[int]:
    """Return the numbers of the passages whose titles stand in a quoted one."""
    text = plain(quoted["text"][:_MOST_TEXT])
    named = ((number, plain(title(one))) for number, one in enumerate(passages, start=1))
    return frozenset(number for number, name in named if name.strip() and name in text)
