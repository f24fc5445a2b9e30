"""The worth of an answer beside the one that is right. Pure functions.

Exact match and F1 follow the rules of SQuAD (Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions
for Machine Comprehension of Text"): small letters, without punctuation and articles, tokens
between white space.
"""

import collections
import re
import string
from collections.abc import Iterator
from typing import Final

from milvus_tools.english import content_words

_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_ARTICLE: Final = re.compile(r"\b(?:a|an|the)\b")
_CITED: Final = re.compile(r"\[(\d+)\]")
# With the citations behind it; not after an initial, as "M. Ward" is one name.
_SENTENCE_END: Final = re.compile(
    r"(?<!\b[A-Z])[.!?][\"'\u201d\u2019)]*(?:\s*\[\d+\])*(?=\s|$)|(?<=[A-Z]\.)(?:\s*\[\d+\])+"
)


def tokens(text: str) -> list[str]:
    """Return a text's tokens by the rules of SQuAD."""
    return _ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, gold: str) -> float:
    """Return 1 if both have the same tokens, else 0."""
    return float(tokens(answer) == tokens(gold))


def f1(answer: str, gold: str) -> float:
    """Return the harmonic mean of precision and recall of the answer's tokens."""
    said, wanted = tokens(answer), tokens(gold)
    if not said or not wanted:
        return float(said == wanted)
    shared = (collections.Counter(said) & collections.Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))


def is_yes_or_no(gold: str) -> bool:
    """Tell whether an answer is a judgement, which no document holds word for word."""
    return tokens(gold) in (["yes"], ["no"])


def holds(text: str, gold: str) -> bool:
    """Tell whether a text has the tokens of an answer one behind the other.

    A yes or no must come first: inside a quoted sentence it answers nothing.
    """
    said, wanted = tokens(text), tokens(gold)
    if is_yes_or_no(gold):
        return said[:1] == wanted
    return f" {' '.join(wanted)} " in f" {' '.join(said)} "


def statements(answer: str) -> list[str]:
    """Return the sentences of an answer with their citations, without lines that only lead in."""
    lines = (line.strip() for line in answer.splitlines())
    return [one for line in lines if not line.endswith(":") for one in _sentences(line)]


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for end in (*(found.end() for found in _SENTENCE_END.finditer(line)), len(line)):
        sentence = line[start:end].strip(" -*")
        if content_words(without_citations(sentence)):
            yield sentence
        start = end


def cited(sentence: str) -> list[int]:
    """Return the numbers that a sentence cites."""
    return [int(number) for number in _CITED.findall(sentence)]


def without_citations(text: str) -> str:
    """Leave out each `[n]`."""
    return " ".join(_CITED.sub(" ", text).split())


def supports(passage: str, sentence: str, gold: str) -> bool:
    """Tell whether a passage has a content word of the sentence that cites it, or of the answer.

    This finds citations that are surely wrong. One that passes may still be.
    """
    wanted = content_words(f"{without_citations(sentence)} {gold}")
    return not set(wanted).isdisjoint(content_words(passage))
