"""Ranking by links: Documents that the question or another good Document names come first."""

import re
from collections.abc import Sequence
from typing import Final

from langchain_core.documents import Document

from milvus_tools._io.loop import portal
from milvus_tools.english import names, words

# Chosen on development sets of HotpotQA, MuSiQue and 2WikiMultihopQA together.
HEADS: Final = 5
"""The number of first texts whose mentions count."""

DECAY: Final = 10
"""The place at which a text is worth half of the first."""

LINKED: Final = 0.5
"""The worth of a link: at the top, it makes up for ten places."""

LINK_FETCH_K: Final = 50
"""The number of hits to rank by links: what they raise stands mostly in the first 50."""

_MOST_READ: Final = 2_000  # characters of a text, so that long texts are no load
_MOST_TITLE: Final = 300
_OPENING: Final = 100  # characters that tell what a text is about
_BRACKETED_END: Final = re.compile(r"\([^()]*\)$")


def link_order(query: str, titles: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Order texts by their places and by links.

    A text is linked if its title stands in the query or in another of the first `HEADS` texts.
    Its score is `DECAY / (DECAY + place)`, with places from 0, and `LINKED` more if it is linked.
    A question of two steps names the subject of the first; what that text names is the subject of
    the second, which a search for the question alone ranks low.

    Args:
        query: The question.
        titles: The titles, best text first; one that is empty makes no link.
        texts: The texts, as many.

    Returns:
        The indices of the texts, best first.
    """
    asked = plain(query)
    heads = [plain(text[:_MOST_READ]) for text in texts[:HEADS]]

    def score(place: int) -> float:
        title = plain(titles[place][:_MOST_TITLE])
        named = title in asked or any(
            title in head for number, head in enumerate(heads) if number != place
        )
        return DECAY / (DECAY + place) + (LINKED if named and title.strip() else 0)

    # `sorted` is stable, also when reversed: equal scores keep their order.
    return sorted(range(len(texts)), key=score, reverse=True)


def rank_by_links(
    query: str, documents: Sequence[Document], title_field: str = "title"
) -> list[Document]:
    """Return Documents in the order of `link_order`.

    Args:
        query: The question.
        documents: The Documents, best first.
        title_field: The metadata key of the titles. A Document without one has the first name of
            its text as its title.
    """
    titles = [title_of(one.metadata.get(title_field), one.page_content) for one in documents]
    order = link_order(query, titles, [one.page_content for one in documents])
    return [documents[index] for index in order]


async def arank_by_links(
    query: str, documents: Sequence[Document], title_field: str = "title"
) -> list[Document]:
    """Return what `rank_by_links` does; in a thread, because many long titles take time."""
    return await portal().computing.run(rank_by_links, query, documents, title_field)


def title_of(title: object, text: str) -> str:
    """Return a title without what is in brackets at its end, or else the first name of a text.

    A number alone is no name.
    """
    if isinstance(title, str) and title.strip():
        whole = title.strip()
        return _BRACKETED_END.sub("", whole).strip() or whole
    found = names(text[:_OPENING])
    return next((name for name in found if not name.isdigit()), "")


def plain(text: str) -> str:
    """Return a text's words in small letters, with a space on both sides of each."""
    return f" {' '.join(words(text.lower()))} "
