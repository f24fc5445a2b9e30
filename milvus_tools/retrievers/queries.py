"""The queries of one retrieval: what may be one, which are the same, and how much each counts."""

import dataclasses
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Final

from milvus_tools.errors import InvalidInputError

# Control characters and lone surrogates, which no embedding service takes alike.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        text: The text.
        weight: How much its hits count beside those of others.
    """

    text: str
    weight: float = 1.0


def tidy(text: str) -> str:
    """Return a text on one line, without control characters and lone surrogates."""
    return " ".join(_UNFIT.sub(" ", text).split())


def chosen(texts: Iterable[str], *, most: int, max_chars: int) -> list[str]:
    """Return what of some texts will be searched for.

    Args:
        texts: What a model or a function made.
        most: How many to take.
        max_chars: Those that are longer are left out: no query, but a model in a loop.
    """
    tidied = [text for text in map(tidy, texts) if text]
    fitting = [text for text in tidied if len(text) <= max_chars]
    if len(fitting) < len(tidied):
        _log.warning(
            "%d of %d queries were left out: they have more than %d characters.",
            len(tidied) - len(fitting),
            len(tidied),
            max_chars,
        )
    return [query.text for query in distinct(map(Query, fitting))][:most]


def distinct(queries: Iterable[Query]) -> list[Query]:
    """Return queries in their order, each once, whatever its case and white space."""
    firsts: dict[str, Query] = {}
    for query in queries:
        firsts.setdefault(" ".join(query.text.casefold().split()), query)
    return list(firsts.values())


def require_question(question: object) -> None:
    """Refuse what can't be searched for.

    Raises:
        InvalidInputError: If it is no text, one with nothing to read in it, or no Unicode.
    """
    if not isinstance(question, str):
        raise InvalidInputError(
            f"A retriever is asked with a string, not with a {type(question).__name__}; in a "
            "chain, take the question out first: itemgetter('question') | retriever."
        )
    if _SURROGATE.search(question):
        raise InvalidInputError(
            "The question holds a lone surrogate, which is not valid Unicode; it is not changed."
        )
    if not tidy(question):
        raise InvalidInputError("The question is empty.")


def planned(
    question: str, made: Sequence[Query], *, include_original: bool, original_weight: float
) -> list[Query]:
    """Return all queries of one retrieval, the question first.

    If nothing else was made, the question is asked all the same.
    """
    asked = include_original or not made
    original = [Query(question, original_weight if include_original else 1.0)] if asked else []
    return distinct([*original, *made])
