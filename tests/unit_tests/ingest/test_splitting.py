"""Splitting: passages within bounds, under their headings."""

from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.ingest.formats import Content, Part
from milvus_tools.ingest.splitting import Passage, split, title_of

SIZE = 80


def passages(text: str, syntax: str = "markdown") -> list[Passage]:
    """Split a text."""
    return split(Content([Part(text)], syntax), SIZE, 0)


def paths(text: str, syntax: str = "markdown") -> list[str]:
    """Return the headings above each passage."""
    return [passage.headings for passage in passages(text, syntax)]


def test_markdown_is_split_at_its_headings() -> None:
    """A passage knows the headings above it; a heading closes those of its level and below."""
    text = "intro\n\n# A\na\n## B #\nb\n### C\nc\n## D\nd\n# E\ne"
    assert paths(text) == ["", "A", "A > B", "A > B > C", "A > D", "E"]


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    """A fence hides its lines, and only the mark that opened it closes it."""
    assert paths("# A\n```\n# no\n~~~\n# no\n```\n# B\n") == ["A", "B"]


def test_restructured_text_is_split_at_its_headings() -> None:
    """The levels of underlines are those of their first use; overlined ones are another style."""
    text = "===\nTop\n===\n\nt\n\nOne\n===\n\na\n\nSub\n---\n\nb\n\nTwo\n===\n\nc\n"
    assert paths(text, "rst") == ["Top", "Top > One", "Top > One > Sub", "Top > Two"]


def test_a_plain_text_has_no_headings() -> None:
    """A line that begins with a number sign is a heading in Markdown alone."""
    assert paths("# not a heading", "text") == [""]


def test_the_title_is_the_files_own_or_its_first_heading() -> None:
    """A file without a title of its own has that of its first heading, if there is one."""
    parts = [Part("# First\nx")]
    assert title_of(Content(parts, "markdown", "Own\n title")) == "Own title"
    assert title_of(Content(parts, "markdown")) == "First"
    assert title_of(Content([Part("x")])) == ""


@given(st.text(alphabet=st.characters() | st.sampled_from("# `\n=-"), max_size=400))
def test_passages_are_within_bounds_and_can_be_written(text: str) -> None:
    """Whatever the text, passages are short, not empty, and valid UTF-8 without nulls."""
    for syntax in ("markdown", "rst", "text", "python"):
        for passage in passages(text, syntax):
            assert 0 < len(passage.text) <= SIZE
            assert "\0" not in passage.text + passage.headings
            (passage.text + passage.headings).encode()


@given(st.lists(st.text("abcdefgh", min_size=1), min_size=1))
def test_no_word_is_lost(words: list[str]) -> None:
    """Each word of a text is in a passage."""
    found = " ".join(passage.text for passage in passages(" ".join(words), "text"))
    assert "".join(found.split()) == "".join(words)
