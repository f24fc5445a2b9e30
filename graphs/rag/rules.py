"""The work of a planning model, by rule: split a question, follow what was found. Pure functions.

Nothing here knows a question or a collection: the words are English, and what is not English is
searched as it stands.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from graphs.rag.quoting import BY_RULE, UNCLEAR, title
from graphs.rag.state import Passage
from milvus_tools.english import STOP_WORDS, content_words, names, stem, stems, words
from milvus_tools.links import link_order
from milvus_tools.ranking import interleave, unique

# Chosen on development sets of HotpotQA, MuSiQue and 2WikiMultihopQA together.
PASSAGES_READ: Final = 2
"""The number of best passages that are read for names to follow."""

NEAR: Final = 6
"""The number of words before and after a name in which words of the question make it promising."""

NAMES: Final = 2
"""The most names of a turn's beginning, and of its end, that a follow-up gets."""

_REFER: Final = "he her hers him his it its she their theirs them these they this those"
_GO_ON: Final = "also and but or so then"
_REFERRING: Final = frozenset(_REFER.split())
_GOING_ON: Final = frozenset(_GO_ON.split())
# Names of dates, nations and directions stand in every other text.
_COMMON: Final = """
january february march april may june july august september october november december monday
tuesday wednesday thursday friday saturday sunday north south east west northern southern eastern
western central african american arab arabic argentine asian australian austrian bangladeshi
belgian bengali brazilian british bulgarian cambodian canadian caribbean catalan catholic chilean
chinese christian colombian croatian cuban czech danish dutch egyptian english estonian ethiopian
european filipino finnish french georgian german ghanaian greek hebrew hindi hindu hungarian
icelandic indian indonesian iranian iraqi irish islamic israeli italian jamaican japanese jewish
kannada kenyan korean latin latvian lebanese lithuanian malay malayalam malaysian marathi mexican
moroccan muslim nepali nigerian norwegian ottoman pakistani persian peruvian polish portuguese
protestant punjabi roman romanian russian scottish serbian sinhalese slovak slovenian soviet
spanish swedish swiss syrian tamil telugu thai tunisian turkish ukrainian urdu venezuelan
vietnamese welsh
"""
_LEAD_NOWHERE: Final = frozenset(_COMMON.split())
_NUMBER: Final = re.compile(r"\d+(?:st|nd|rd|th|s)?")
_ANOTHER: Final = r"(?:who|whom|whose|what|when|where|which|why|how)\b"
# Possessive, and from the first space of a run on, so that it takes linear time (R03).
_BREAK: Final = re.compile(rf"\?\s+|(?:,|(?<!\s))\s++and\s++(?={_ANOTHER})", re.IGNORECASE)
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
        if found := new_names(said, question):
            # A turn begins with what was asked about, and ends with what was answered.
            named = unique([*found[:NAMES], *found[-NAMES:]])
            return f"{', '.join(named)}: {_without_joiner(question)}"[:_MOST_TEXT]
    return question


def _follows(question: str) -> bool:
    said = [word.lower() for word in words(question)]
    # The first word has a capital whatever it is.
    if not said or new_names(question.partition(" ")[2], ""):
        return False
    refers = said[0] in _GOING_ON or not _REFERRING.isdisjoint(said)
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
    The passages take turns, each with its names in the order of `_promising`.
    """
    if not passages:
        return []
    whole = f"{question} {_read(passages[0])}"
    return unique(
        [whole, *interleave([_searches(question, one) for one in passages[:PASSAGES_READ]])]
    )


def _searches(question: str, passage: Passage) -> list[str]:
    text = _read(passage)
    left_open = _left_open(question, text)
    return [f"{name} {left_open}".strip() for name in _promising(text, question)]


def _promising(text: str, question: str) -> list[str]:
    """Return the new names in a text; those come first that stand near words of the question.

    Of "directed by John Boorman", a question for the director is about the name.
    """
    found = [name for name in new_names(text, question) if not _leads_nowhere(name)]
    read, wanted = list(map(stem, words(text))), stems(question)
    return sorted(found, key=lambda name: _nearness(name, read, wanted), reverse=True)


def _leads_nowhere(name: str) -> bool:
    said = [word.lower() for word in words(name)]
    return all(word in _LEAD_NOWHERE or _NUMBER.fullmatch(word) for word in said)


def _nearness(name: str, read: Sequence[str], wanted: frozenset[str]) -> int:
    """Return the most words of a question that stand round one occurrence of a name."""
    named = list(map(stem, words(name)))
    ends = [
        (at, at + len(named)) for at in range(len(read)) if read[at : at + len(named)] == named
    ]
    around = ([*read[max(0, at - NEAR) : at], *read[end : end + NEAR]] for at, end in ends)
    return max((len(wanted.intersection(near)) for near in around), default=0)


def new_names(text: str, question: str) -> list[str]:
    """Return the names in a text that bring words which the question does not have."""
    known = set(content_words(question))
    return [name for name in names(text) if not name.isdigit() and _is_new(name, known)]


def _is_new(name: str, known: set[str]) -> bool:
    found = content_words(name)
    return any(len(word) > 1 for word in found) and not known.issuperset(found)


def _left_open(question: str, text: str) -> str:
    covered = {*content_words(text), *STOP_WORDS}
    return " ".join(word for word in words(question) if word.lower() not in covered)


def _read(passage: Passage) -> str:
    return passage["text"][:_MOST_TEXT]


def ranked(
    question: str, found: Sequence[tuple[int, Sequence[str]]], known: Mapping[str, Passage]
) -> list[str]:
    """Make one ranking of what was found: rounds and searches take turns, then links count.

    Args:
        question: The question.
        found: For each search the number of its round, and the ids of what it found, best first.
        known: The passages by id. One that is missing keeps its place without links.
    """
    rounds = sorted({number for number, _ in found})
    order = merge_rounds([[ids for at, ids in found if at == number] for number in rounds])
    passages = [known.get(id_) for id_ in order]
    titles = ["" if one is None else title(one) for one in passages]
    texts = ["" if one is None else one["text"] for one in passages]
    return [order[place] for place in link_order(question, titles, texts)]


def merge_rounds(rounds: Iterable[Sequence[Sequence[str]]]) -> list[str]:
    """Make one ranking of each round's: within a round, and then of the rounds, in turn."""
    return interleave([interleave(rankings) for rankings in rounds])
