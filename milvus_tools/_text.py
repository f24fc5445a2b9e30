"""Text for people and models to read: short, on one line where it should be, nothing hidden.

What can't be seen is found by Unicode property. `str.isprintable` is false for control, format,
private-use, surrogate and unassigned characters; only those that look like letters, marks or
symbols to Python, and have no look of their own, are listed here.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

MAX_CHARS: Final = 200
MAX_VALUES: Final = 20
_MAX_REPR: Final = 40
_MAX_COUNTED: Final = 10_000  # characters beyond what is shown
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)
_LAST_OF_FOUR: Final = 0xFFFF
_PLAIN: Final = re.compile(r"\w[\w.-]*")

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, as far as `isprintable` does
# not tell, and U+2800, a Braille cell without dots.
_BLANK: Final = frozenset(
    map(
        chr,
        [
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
        ],
    )
)
_KEYS: Final = frozenset("0123456789#*")
_KEYCAP: Final = "\u20e3"
_VIRAMA: Final = 9  # its combining class
_SKIN_TONES: Final = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_OTHER_EMOJI: Final = frozenset("\u203c\u2049\u2139\u3030")  # by category they are no symbols
# The only flags that are written in invisible characters: England, Scotland and Wales.
_FLAGS: Final = "|".join(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_UNUSUAL: Final = re.compile(rf"{_FLAGS}|[^\n\t -~]")


def visible(text: str) -> str:
    r"""Write out what can't be seen: `\u200b` for U+200B.

    Line ends, tabs and spaces stay. So do joiners between letters whose script needs them, and
    what makes an emoji of several characters.
    """
    return _UNUSUAL.sub(functools.partial(_written_out, _as_python), text)


def as_json(value: object, most: int | None = None) -> str:
    """Write a value as JSON on one line, with what can't be seen written out.

    Args:
        value: The value; what JSON has no form for becomes its `str`.
        most: The most characters, or `None` for all.

    Raises:
        ValueError: If it holds an integer of thousands of digits, or itself.
        RecursionError: If it is too deep.
    """
    if most is None:
        return _visible_json(_ENCODER.encode(value))
    text = _beginning(value, most + _MAX_COUNTED)
    over = "over " if len(text) > most + _MAX_COUNTED else ""
    return cut(text[: most + _MAX_COUNTED], most, clean=_visible_json, counted=over)


def _beginning(value: object, most: int) -> str:
    """Return the beginning of a value's JSON, a little longer than `most` if it goes on."""
    if isinstance(value, str):
        return _ENCODER.encode(value[: most + 1])
    parts: list[str] = []
    length = 0
    for part in _ENCODER.iterencode(value):
        parts.append(part)
        length += len(part)
        if length > most:
            break
    return "".join(parts)


def _visible_json(text: str) -> str:
    return _UNUSUAL.sub(functools.partial(_written_out, _as_json), text)


def _written_out(escaped: Callable[[str], str], found: re.Match[str]) -> str:
    character = found[0]
    if len(character) > 1 or not _is_hidden(character) or _is_needed(found):
        return character
    return escaped(character)


def _as_python(character: str) -> str:
    point = ord(character)
    return f"\\u{point:04x}" if point <= _LAST_OF_FOUR else f"\\U{point:08x}"


def _as_json(character: str) -> str:
    return json.dumps(character)[1:-1]


@functools.lru_cache(maxsize=4_096)
def _is_hidden(character: str) -> bool:
    space = unicodedata.category(character) == "Zs"
    return character in _BLANK or not (character.isprintable() or space)


def _is_needed(found: re.Match[str]) -> bool:
    """Tell whether a joiner or a selector does here what it is for.

    The rules for scripts are those of RFC 5892, appendix A, without its tables of joining types.
    """
    text, start = found.string, found.start()
    before, after = text[start - 1 : start], text[start + 1 : start + 2]
    match found[0]:
        case "\u200c" | "\u200d" if _joins_letters(before, after):
            return True
        case "\u200d":
            return _is_emoji_part(before) and _is_emoji(after)
        case "\ufe0e" | "\ufe0f":
            return _is_emoji(before) or (after == _KEYCAP and before in _KEYS)
        case "\u180b" | "\u180c" | "\u180d" | "\u180e":
            return unicodedata.name(before or " ", "").startswith("MONGOLIAN LETTER ")
    return False


def _joins_letters(before: str, after: str) -> bool:
    conjunct = _is_virama(before) or (before.isalpha() and _is_virama(after))
    # Persian puts a non-joiner between a foreign word, or a number, and its own ending.
    return conjunct or (_is_arabic(after) and (before.isalnum() or _is_arabic(before)))


def _is_virama(character: str) -> bool:
    return character != "" and unicodedata.combining(character) == _VIRAMA


def _is_arabic(character: str) -> bool:
    return character != "" and unicodedata.name(character, "").startswith(("ARABIC ", "SYRIAC "))


def _is_emoji(character: str) -> bool:
    symbol = character > "\x7f" and unicodedata.category(character) in {"So", "Sm"}
    return (symbol and character not in _BLANK) or character in _OTHER_EMOJI


def _is_emoji_part(character: str) -> bool:
    return _is_emoji(character) or character == "\ufe0f" or character in _SKIN_TONES


def cut(text: str, most: int, *, clean: Callable[[str], str] = str, counted: str = "") -> str:
    """Cut a text, and say how much is left out.

    Args:
        text: The text.
        most: The most characters to keep.
        clean: Cleans what is kept, which may make it longer; the rest is not read.
        counted: A word before the number, if the text was longer.
    """
    kept = clean(text[:most])
    rest = max(len(text) - most, 0) + max(len(kept) - most, 0)
    return f"{kept[:most]} … ({counted}{rest} more characters)" if rest else kept


def quoted(value: object) -> str:
    """Return a value as JSON has it, with what can't be seen written out."""
    try:
        text = as_json(value, MAX_CHARS)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in itself
        return f"a value of type {type(value).__name__}"
    # Who confirms a value must be able to tell a joiner, or another space, from nothing.
    return "".join(one if one.isprintable() else _as_json(one) for one in text)


def listed(values: Sequence[Any]) -> str:
    """Return values as JSON has them, the first ones if there are many."""
    some = ", ".join(map(quoted, values[:MAX_VALUES]))
    more = len(values) - MAX_VALUES
    return f"{some} and {more} more" if more > 0 else some


def named(field: str) -> str:
    """Return a field's name, in quotes if it could be read as more than a name."""
    plain = _PLAIN.fullmatch(field) and visible(field) == field
    return field if plain and len(field) <= MAX_CHARS else quoted(field)


def shown(value: object) -> str:
    """Return a value as Python has it, for a sentence that says what is wrong with it."""
    if isinstance(value, str | bytes | list | tuple):  # each item has a character at least
        value = value[: _MAX_REPR + 1]
    try:
        return cut(repr(value), _MAX_REPR)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
