"""Ranking by links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from milvus_tools.links import DECAY, HEADS, link_order, rank_by_links, title_of

SHOT = "Leland is a town, where Maximum Overdrive was shot."
TEXTS = [SHOT, "Kites.", "Bees.", "A film by King."]
TITLES = ["Leland", "Kite", "Bee", "Maximum Overdrive"]


def test_a_title_in_a_good_text_is_a_link() -> None:
    """It moves up past the texts without one."""
    assert link_order("Who?", TITLES, TEXTS) == [3, 0, 1, 2]


@pytest.mark.parametrize("query", ["What is a bee?", "BEE!", "a (bee)"])
def test_a_title_in_the_query_is_a_link(query: str) -> None:
    """Letters and signs make no difference; whole words do."""
    assert link_order(query, TITLES, ["a", "b", "c", "d"]) == [2, 0, 1, 3]
    assert link_order("What is a beetle?", TITLES, ["a", "b", "c", "d"]) == [0, 1, 2, 3]


def test_no_text_links_itself() -> None:
    """Every text names what it is about."""
    assert link_order("Who?", TITLES, [*TEXTS[1:], "Maximum Overdrive is a film."]) == [0, 1, 2, 3]


def test_only_the_first_texts_make_links() -> None:
    """A name in a text far down says little."""
    texts = [f"Text {number}." for number in range(HEADS + 2)]
    titles = ["", "Alpha", *[""] * HEADS]
    texts[HEADS] = "It names Alpha."
    assert link_order("Who?", titles, texts) == list(range(HEADS + 2))
    texts[HEADS - 1] = "It names Alpha."
    assert link_order("Who?", titles, texts)[0] == 1


def test_a_link_is_worth_ten_places_at_the_top() -> None:
    """A far text does not pass the first one for a link alone."""
    texts = ["It names Alpha."] + ["x"] * 2 * DECAY
    for place, first in ((DECAY - 1, True), (DECAY + 1, False)):
        titles = ["", *[""] * 2 * DECAY]
        titles[place] = "Alpha"
        assert (link_order("Who?", titles, texts)[0] == place) is first


texts = st.lists(st.text(max_size=30), max_size=12)


@given(texts, st.text(max_size=30), st.data())
def test_nothing_is_lost_and_equals_keep_their_order(
    given_texts: list[str], query: str, data: st.DataObject
) -> None:
    """The order has each place once; linked texts, and the others, keep their order."""
    size = len(given_texts)
    titles = data.draw(st.lists(st.text(max_size=10), min_size=size, max_size=size))
    order = link_order(query, titles, given_texts)
    assert sorted(order) == list(range(size))
    unnamed = link_order(query, [""] * size, given_texts)
    assert unnamed == list(range(size))


@pytest.mark.parametrize(
    ("title", "text", "found"),
    [
        ("Jaws (film)", "Text.", "Jaws"),
        ("(film)", "Text.", "(film)"),
        (None, "The Eiffel Tower is in Paris.", "Eiffel Tower"),
        ("  ", "in Paris", "Paris"),
        (None, "1889 saw Paris", "Paris"),
        (7, "no name", ""),
        (None, "", ""),
    ],
)
def test_the_title_is_given_or_the_first_name(title: object, text: str, found: str) -> None:
    """What is in brackets at the end tells titles apart, and is not said in texts."""
    assert title_of(title, text) == found


def test_documents_are_ranked_by_a_field() -> None:
    """A field that is missing leaves the first name of the text."""
    documents = [
        Document(text, metadata={"name": title}) for title, text in zip(TITLES, TEXTS, strict=True)
    ]
    assert rank_by_links("Who?", documents, "name") == [documents[one] for one in (3, 0, 1, 2)]
    assert rank_by_links("Who has kites?", documents)[0] == documents[1]
    assert rank_by_links("Who?", []) == []
