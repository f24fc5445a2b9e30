"""Citations: every `[n]` in an answer means a passage. Pure functions."""

import re
from collections.abc import Sequence
from typing import Final

from langchain_core.documents import Document
from langchain_core.messages.content import Annotation, create_citation

from graphs.rag.state import Citation, Passage
from milvus_tools.ranking import unique
from milvus_tools.tools.formatting import as_data

# As models write them: [1], [1, 2], [1-3], [**1**], also in other brackets, with words or a mark
# before the number, a page behind it, or as a link. Nothing here is read twice: each part is
# bounded, or does not give back what it has read.
_OPENING, _CLOSING = "[\u3010\uff3b\ufe47", "]\u3011\uff3d\ufe48"
_OPEN, _CLOSE = f"\\{_OPENING}", f"\\{_CLOSING}"  # a bracket comes first in both
_SIGNS: Final = r"[\s*_`~'\"\ufe0f\u20e3]{0,4}+"
_WORDS: Final = r"(?:(?:document|doc|source|passage|n)s?[\s=:#.'\"-]{0,3}+){0,2}"
_NUMBER: Final = rf"{_SIGNS}{_WORDS}[#^]?\d{{1,9}}{_SIGNS}"
_NUMBER_LIST: Final = rf"{_NUMBER}(?:(?:[,;&\u2013-]|and\b|or\b){_NUMBER})*+"
_PAGE: Final = rf"(?:\u2020|,?\s{{0,2}}p(?:p|ages?)?\b)[^{_OPEN}{_CLOSE}]{{0,100}}"
_LINKS: Final = r"(?:\([a-z]{2,10}:[^()\s]{0,1000}\))*+"
_MARK: Final = re.compile(
    rf"[{_OPEN}]({_NUMBER_LIST})[.:^]?{_SIGNS}(?:{_PAGE})?[{_CLOSE}]{_LINKS}", re.IGNORECASE
)
_WITH_SPACE: Final = re.compile(rf"(?<![ \t])([ \t]*+){_MARK.pattern}", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(\d+)(?:[\s*_`~'\"]{0,4}[\u2013-][\s*_`~'\"]{0,4}[#^]?(\d+))?")
_CITED: Final = re.compile(r"\[(\d{1,9})\]")
_ROUND: Final = str.maketrans(_OPENING + _CLOSING, "(((())))")


def cite(text: str, passages: Sequence[Passage]) -> tuple[str, list[Citation]]:
    """Keep the citations that are right, one number in each bracket, and drop the others.

    Args:
        text: An answer.
        passages: What it may cite, as `[1]` and so on.

    Returns:
        The answer, and what its citations mean, in the order in which they stand.
    """
    text = as_data(text)
    cited: list[int] = []

    def right(found: re.Match[str]) -> str:
        numbers = _numbers(found[1], len(passages))
        cited.extend(numbers)
        return "".join(f"[{number}]" for number in numbers) or f"({found[1]})"

    def without_wrong(found: re.Match[str]) -> str:
        after_word = (
            not found[1] and text[max(found.start() - 1, 0) : found.start()].isalnum()
        )  # as in x[0]
        return found[0] if after_word or _numbers(found[2], len(passages)) else ""

    # What is left out may bring brackets together: those that are wrong then are no brackets.
    answer = _MARK.sub(right, _WITH_SPACE.sub(without_wrong, text))
    return answer.strip(), [citation(number, passages) for number in unique(cited)]


def uncited(text: str) -> str:
    """Make sure that a text that is quoted holds no citation of its own.

    Where a number stands between brackets, all its brackets become round: whatever else is
    between them, nothing in the text looks like a citation then.
    """
    first = next((place for place, one in enumerate(text) if one in _OPENING), len(text))
    last = max(map(text.rfind, _CLOSING))
    numbered = any(map(str.isdigit, text[first : max(first, last)]))
    return text.translate(_ROUND) if numbered else text


def _numbers(text: str, most: int) -> list[int]:
    """Read `1, 3-5`, without what there is not."""
    numbers: list[int] = []
    for first, last in _NUMBERS.findall(text):
        end = min(int(last or first), most)
        numbers += range(max(int(first), 1), end + 1)
    return unique(numbers)


def citation(number: int, passages: Sequence[Passage]) -> Citation:
    """Return what a number means."""
    passage = passages[number - 1]
    return Citation(n=number, id=passage["id"], source=passage["source"])


def annotations(answer: str, passages: Sequence[Passage]) -> list[Annotation]:
    """Return the citations of a finished answer as annotations, in the places of its `[n]`.

    Args:
        answer: A text whose every `[n]` is right, as `cite` makes it.
        passages: What it cites.
    """
    return [
        _annotation(found, passages[int(found[1]) - 1])
        for found in _CITED.finditer(answer)
        if 1 <= int(found[1]) <= len(passages)
    ]


def _annotation(found: re.Match[str], passage: Passage) -> Annotation:
    return create_citation(
        url=passage["url"] or None,
        title=passage["title"] or passage["source"],
        start_index=found.start(),
        end_index=found.end(),
        n=int(found[1]),
        document_id=passage["id"],
    )


def document(passage: Passage) -> Document:
    """Return a passage as the Document that it was found as, as far as it was kept."""
    kept = {name: passage[name] for name in ("source", "title", "url") if passage[name]}
    return Document(id=passage["id"], page_content=passage["text"], metadata=kept)
