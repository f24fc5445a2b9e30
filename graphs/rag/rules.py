"""The work of a model, by rule: split, follow what was found, and quote. Pure functions.

Nothing here knows a question or a collection: the words are English, and what is not English is
searched as it stands.
"""

import functools
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Final

from graphs.rag.state import Passage
from milvus_tools.ranking import interleave, unique

BY_RULE: Final = (
    "Sentences nearest to the question, quoted by rule; whether they answer it is not checked:"
)
UNCLEAR: Final = "Nothing that was found clearly answers the question. The nearest sentences:"

# The numbers from here to `ENOUGH_WORDS` were tuned on the questions of examples/evaluate.py.
NAMES: Final = 2
"""The most names of a turn's beginning, and of its end, that a follow-up gets."""

PASSAGES_READ: Final = 2
"""The number of best passages that are read for names to follow."""

QUOTES: Final = 4
"""The most sentences of an answer."""

NEAREST: Final = 2
"""The most sentences that are shown if none answers."""

LEAST: Final = 0.8
"""The least worth of a sentence that is quoted."""

LINKED: Final = 1.0
"""The worth that a sentence gains if its passage begins with a name in a quoted one."""

COVERED: Final = 0.2
"""The worth of a word of the question that is quoted already; a new one counts 1."""

AGAIN: Final = 0.5
"""By what a sentence counts less if its passage is quoted already."""

PER_RANK: Final = 0.03
"""The worth that a sentence loses per rank of its passage."""

ENOUGH_WORDS: Final = 0.5
"""More of the question's words than this share stand in the quotes, or they are no answer."""

Quote = tuple[int, str]  # a passage's number, and a sentence of it
Quotes = dict[Quote, frozenset[str]]  # with the question's words that are in it

_SAY_NOTHING: Final = """
a about after all also an and any are as at be because been before being between both but by
can could did do does during each either else first for from had has have he her hers him his
how i if in into is it its itself many may me more most much my no not of on one only or other
our out over own same she should since so some such than that the their them then there these
they this those through to too two under until up was we were what when where which while who
whom whose why will with would you your
"""
_REFER: Final = "he her hers him his it its she their theirs them these they this those"
_GO_ON: Final = "also and but or so then"
_REFERRING: Final = frozenset(_REFER.split())
_GOING_ON: Final = frozenset(_GO_ON.split())
_JOIN: Final = "of the de la du von van der"
_STOP_WORDS: Final = frozenset(_SAY_NOTHING.split())
_JOINERS: Final = frozenset(_JOIN.split())
_WORD: Final = re.compile(r"[^\W_](?:[\w'\u2019.&-]*\w)?")
_PLAIN_WORD: Final = re.compile(r"[^\W_]+")
_ANOTHER: Final = r"(?:who|whom|whose|what|when|where|which|why|how)\b"
# Possessive, and from the first space of a run on, so that it takes linear time (R03).
_BREAK: Final = re.compile(rf"\?\s+|(?:,|(?<!\s))\s++and\s++(?={_ANOTHER})", re.IGNORECASE)
# Not after an initial: "M. Ward" is one name.
_SENTENCE_END: Final = re.compile(r"(?<!\b[A-Z]\.)(?<=[.!?])[\"'\u201d\u2019)\]]*\s+")
_ENDING: Final = re.compile(
    r"(?:(?<=[a-z]{3})(?:i(?:es|ed|e)|ings?|e[sd]?|s)|(?<=[a-z]{4})[eo]rs?|(?<=[a-z]{2}[^aeiou])y)$"
)
_OPENING: Final = 100  # characters that tell what a passage is about
_MOST_TEXT: Final = 2_000  # characters of a passage that a query repeats, or names are read from


def standalone(question: str, turns: Sequence[str]) -> str:
    """Give a follow-up the names of the last turn that has some.

    Args:
        question: The question.
        turns: What was said before, the last turn first.

    Returns:
        The question as it is, if it names something itself, or refers to nothing.
    """
    if not _follows(question):
        return question
    for turn in turns:
        # The capitals of our own sentences are no names.
        said = turn.replace(BY_RULE, "").replace(UNCLEAR, "")
        if found := names(said, question):
            # A turn begins with what was asked about, and ends with what was answered.
            named = unique([*found[:NAMES], *found[-NAMES:]])
            return f"{', '.join(named)}: {_without_joiner(question)}"[:_MOST_TEXT]
    return question


def _follows(question: str) -> bool:
    words = [word.lower() for word in _PLAIN_WORD.findall(question)]
    # The first word has a capital whatever it is.
    if not words or names(question.partition(" ")[2], ""):
        return False
    refers = words[0] in _GOING_ON or not _REFERRING.isdisjoint(words)
    return refers or not content_words(question)


def _without_joiner(question: str) -> str:
    """Leave out an "and" at the beginning, where `split` would break."""
    first, _, rest = question.partition(" ")
    return rest.strip() if first.lower().strip(",") in _GOING_ON and rest.strip() else question


def split(question: str) -> list[str]:
    """Return the questions that a text asks, if they are several: `Who …, and when …?`."""
    parts = [part.strip(" ,;?") for part in _BREAK.split(question)]
    parts = [part for part in parts if content_words(part)]
    return [f"{part}?" for part in parts] if len(parts) > 1 else []


def follow_ups(question: str, passages: Sequence[Passage]) -> list[str]:
    """Return the second queries that the best passages suggest, most promising first.

    The first is the question with the best passage's text. Each other is a name that stands in a
    passage and not in the question, with the words of the question that the passage leaves open.
    """
    if not passages:
        return []
    whole = f"{question} {_read(passages[0])}"
    named = [
        f"{name} {left_open}".strip()
        for passage in passages[:PASSAGES_READ]
        for left_open in [_left_open(question, passage)]
        for name in names(_read(passage), question)
    ]
    return unique([whole, *named])


def names(text: str, question: str) -> list[str]:
    """Return the names in a text that bring words which the question does not have."""
    known = set(content_words(question))
    found = (" ".join(_trimmed(run)) for run in _capitalised_runs(text))
    return unique(name for name in found if not name.isdigit() and _is_new(name, known))


def _is_new(name: str, known: set[str]) -> bool:
    words = content_words(name)
    return any(len(word) > 1 for word in words) and not known.issuperset(words)


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
    """Leave out the stop words at both ends: "The" of a sentence's beginning is no name."""
    kept = [number for number, word in enumerate(run) if word.lower() not in _STOP_WORDS]
    return run[kept[0] : kept[-1] + 1] if kept else []


def _left_open(question: str, passage: Passage) -> str:
    covered = {*content_words(_read(passage)), *_STOP_WORDS}
    words = _PLAIN_WORD.findall(question)
    return " ".join(word for word in words if word.lower() not in covered)


def _read(passage: Passage) -> str:
    return passage["text"][:_MOST_TEXT]


def content_words(text: str) -> list[str]:
    """Return a text's words in small letters, each once, without those that say nothing."""
    words = (word.lower() for word in _PLAIN_WORD.findall(text))
    return unique(word for word in words if word not in _STOP_WORDS)


def ranked(found: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    """Make one ranking of what was found, each in a round of a number."""
    rounds = sorted({number for number, _ in found})
    return merge_rounds([[ids for at, ids in found if at == number] for number in rounds])


def merge_rounds(rounds: Iterable[Sequence[Sequence[str]]]) -> list[str]:
    """Make one ranking of each round's: within a round, and then of the rounds, in turn."""
    return interleave([interleave(rankings) for rankings in rounds])


def quotes(question: str, passages: Sequence[Passage]) -> list[Quote]:
    """Quote the sentences that together have most of the question's words.

    Args:
        question: The question.
        passages: The passages, best first.

    Returns:
        Pairs of a passage's number, from 1, and a sentence of it, in the passages' order; none
        if too few of the question's words are in them.
    """
    wanted = frozenset(map(_stem, content_words(question)))
    left = _candidates(wanted, passages)
    chosen: Quotes = {}
    linked: set[int] = set()
    while left and len(chosen) < QUOTES:
        score = _scorer(chosen, linked, left)
        best = max(left, key=score)
        if score(best) < LEAST:
            break
        chosen[best] = left.pop(best)
        linked |= _linked(passages[best[0] - 1], question, passages)
    covered = frozenset().union(*chosen.values())
    return sorted(chosen) if len(covered) > ENOUGH_WORDS * len(wanted) else []


def nearest(question: str, passages: Sequence[Passage]) -> list[Quote]:
    """Quote sentences that share most words with the question, or else stand first.

    Returns:
        As `quotes`; none if the passages are empty.
    """
    found = _candidates(frozenset(map(_stem, content_words(question))), passages)
    sharing = sorted(found, key=lambda one: len(found[one]) - PER_RANK * one[0], reverse=True)
    first = [
        (number, sentence)
        for number, passage in enumerate(passages, start=1)
        for sentence in _SENTENCE_END.split(_read(passage))[:1]
        if sentence.strip()
    ]
    return sorted(unique([*sharing, *first])[:NEAREST])


def _candidates(wanted: frozenset[str], passages: Sequence[Passage]) -> Quotes:
    """Return the sentences that have words of the question, with the stems of these."""
    found = {
        (number, sentence): wanted.intersection(
            _stem(word.lower()) for word in _PLAIN_WORD.findall(sentence)
        )
        for number, passage in enumerate(passages, start=1)
        for sentence in _SENTENCE_END.split(_read(passage))
    }
    return {one: words for one, words in found.items() if words}


@functools.lru_cache(maxsize=4_096)
def _stem(word: str) -> str:
    """Return a word without its English ending: "hunts", "hunting" and "hunter" have one stem."""
    stem = _ENDING.sub("", word)
    return stem[:-1] if stem[-2:-1] == stem[-1:] else stem  # "runn" is "run"


def _linked(quoted: Passage, question: str, passages: Sequence[Passage]) -> set[int]:
    """Return the numbers of the passages that begin with a name that a quoted one has."""
    named = names(_read(quoted), question)
    openings = enumerate((passage["text"][:_OPENING] for passage in passages), start=1)
    return {number for number, opening in openings if any(name in opening for name in named)}


def _scorer(chosen: Quotes, linked: Container[int], left: Quotes) -> Callable[[Quote], float]:
    """Return what a sentence is worth beside those that are chosen."""
    covered = frozenset().union(*chosen.values())
    quoted = {number for number, _ in chosen}

    def score(one: Quote) -> float:
        number, _ = one
        words = left[one]
        again = len(words & covered)
        worth = len(words) - again + COVERED * again
        if number in quoted:
            worth *= AGAIN
        elif number in linked:
            worth += LINKED
        return worth - PER_RANK * number

    return score
