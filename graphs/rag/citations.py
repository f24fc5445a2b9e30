"""Citations: every `[n]` in an answer means a passage. Pure functions."""

import re
from collections.abc import Sequence
from typing import Final

from graphs.rag.state import Citation, Passage
from milvus_tools.ranking import unique

# As models write them: [1], [1, 2], [1-3], also in other brackets, with a word or a mark before
# the number. Each part is bounded, so that no text makes the search slow.
_MARK: Final = re.compile(
    r"[\[\u3010]\s{0,2}(?:(?:document|doc|source|passage)s?\s{0,2})?[#^]?"
    r"(\d{1,9}(?:\s{0,2}[,;\u2013-]\s{0,2}[#^]?\d{1,9}){0,30})"
    r"\s{0,2}(?:\u2020[^\]\u3011]{0,100})?[\]\u3011]",
    re.IGNORECASE,
)
_WITH_SPACE: Final = re.compile(rf"(?<![ \t])([ \t]*){_MARK.pattern}", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(\d+)(?:\s*[\u2013-]\s*[#^]?(\d+))?")


def cite(text: str, passages: Sequence[Passage]) -> tuple[str, list[Citation]]:
    """Keep the citations that are right, one number in each bracket, and drop the others.

    Args:
        text: An answer.
        passages: What it may cite, as `[1]` and so on.

    Returns:
        The answer, and what its citations mean, in the order in which they stand.
    """
    known = range(1, len(passages) + 1)
    cited: list[int] = []

    def mended(found: re.Match[str]) -> str:
        numbers = [number for number in _numbers(found[2], len(known)) if number in known]
        cited.extend(numbers)
        marks = "".join(f"[{number}]" for number in numbers)
        return f"{found[1]}{marks}" if marks else ""

    return _WITH_SPACE.sub(mended, text).strip(), [
        _citation(number, passages) for number in unique(cited)
    ]


def uncited(text: str) -> str:
    """Turn what looks like a citation, in a text that is quoted, into something else."""
    return _MARK.sub(lambda found: f"({found[1]})", text)


def _numbers(text: str, most: int) -> list[int]:
    """Read `1, 3-5`; a range that ends past what there is ends there."""
    numbers: list[int] = []
    for first, last in _NUMBERS.findall(text):
        end = min(int(last or first), most)
        numbers += range(int(first), end + 1)
    return unique(numbers)


def _citation(number: int, passages: Sequence[Passage]) -> Citation:
    passage = passages[number - 1]
    return Citation(n=number, id=passage["id"], source=passage["source"])
