"""Text that people and models read: nothing hidden, and scripts and emoji as they are."""

import json
import re
import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from milvus_tools._text import as_json, cut, listed, named, quoted, visible
from milvus_tools.tools.formatting import as_data

EVERY = [chr(point) for point in range(sys.maxunicode + 1)]
# By the tables of another package, and a Braille cell that has no dots.
HIDDEN = regex.compile(r"[\p{DI}\p{C}\p{Zl}\p{Zp}\u2800--[\n\t]]", regex.V1)
TAG = re.compile(r"<\W*document", re.IGNORECASE)
READABLE = {
    "Persian": "می\u200cخواهم کتاب\u200cها را بخوانم",
    "Persian after a foreign word": "PDF\u200cها و ۲۰\u200cساله",
    "Persian with a vowel sign": "خانه\u0650\u200cها",
    "Hindi": "क\u094d\u200dष और क\u094d\u200cष, शक\u094dति",
    "Bengali": "র\u200d\u09cdয\u09be\u09ac",
    "Malayalam": "അവന\u0d4d\u200d വന്നു",
    "Sinhala": "ශ\u0dca\u200dර\u0dd3",
    "Mongolian": "\u1828\u180b\u1820 \u1830\u180e\u1820",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "scientist with a skin tone": "\U0001f469\U0001f3fd\u200d\U0001f52c",
    "rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "runner to the right": "\U0001f3c3\u200d\u2640\ufe0f\u200d\u27a1\ufe0f",
    "heart": "\u2764\ufe0f and \u263a\ufe0e",
    "keycap": "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "country": "\U0001f1ee\U0001f1f7",
    "Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "spaces": "a\u00a0b\u3000c\u202fd\te\nf",
    "marks": "e\u0301 Zalgo\u0338",
}


def test_r06_every_hidden_code_point_is_written_out() -> None:
    """Whatever has no look of its own, by its Unicode property, is not passed on."""
    shown = visible(" ".join(EVERY))
    assert HIDDEN.search(shown) is None
    assert visible("\u200b\U000e0041") == r"\u200b\U000e0041"


def test_r06_no_code_point_makes_a_tag() -> None:
    """Whichever character stands where in the name of a block, no text opens or closes one."""
    assigned = [one for one in EVERY if unicodedata.category(one) not in {"Cn", "Co", "Cs"}]
    for made in ("<{}/document>", "<{0}{0}/{0}document", "{}</document"):
        assert TAG.search(as_data("\n".join(map(made.format, assigned)))) is None


@pytest.mark.parametrize("name", READABLE)
def test_r06_text_with_joiners_and_emoji_stays_readable(name: str) -> None:
    """Joiners and selectors that scripts and emoji need are kept."""
    assert visible(READABLE[name]) == READABLE[name]
    assert json.loads(as_json(READABLE[name])) == READABLE[name]


@pytest.mark.parametrize(
    "hidden", ["\u200c", "\u200d", "\ufe0e", "\ufe0f", "\u180b", "\U000e0067"]
)
def test_r06_joiners_elsewhere_are_written_out(hidden: str) -> None:
    """Between signs, digits and Latin letters, and twice in a row, they would carry a message."""
    for around in ("a{}b", "<{}/", "[{}1]", "[1{}]", " {} ", "{}", "\u2764\ufe0f{}{}{}x"):
        assert visible(around.format(*[hidden] * 3)).count(hidden) <= around.count("\ufe0f")


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]) | st.sampled_from("\n\t")))
def test_what_can_be_seen_is_kept(text: str) -> None:
    """A text without hidden characters stays as it is."""
    plain = HIDDEN.sub("", text)
    assert visible(plain) == plain


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_reads_back(value: object) -> None:
    """Hidden characters are written as JSON's own escapes."""
    assert json.loads(as_json(value)) == value


def test_what_is_cut_says_so() -> None:
    """A text, a value and a list say how much is left out."""
    assert cut("abcdef", 4) == "abcd … (2 more characters)"
    assert quoted("x" * 300).endswith("… (102 more characters)")
    assert listed(range(22)).endswith("19 and 2 more")
    assert named("x" * 300).endswith("… (102 more characters)")
    assert named("a\u3164b") == r'"a\u3164b"'
