"""Text for people and models: short, on one line if needed, without hidden characters.

Unicode properties tell which characters are invisible. `str.isprintable` is false for control,
format, private-use, surrogate and unassigned characters. This module lists only the invisible
characters that Python takes for letters, marks or symbols.
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
_MAX_COUNTED: Final = 10_000  # characters that are counted after the last one that is shown
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)
_LAST_OF_FOUR: Final = 0xFFFF
_PLAIN: Final = re.compile(r"\w[\w.-]*")

# Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt, without the characters that
# `isprintable` finds, and U+2800, a Braille cell without dots.
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
_OTHER_EMOJI: Final = frozenset("\u203c\u2049\u2139\u3030")  # symbols by another category
# The only flags that contain invisible characters: England, Scotland and Wales.
_FLAGS: Final = "|".join(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_UNUSUAL: Final = re.compile(rf"{_FLAGS}|[^\n\t -~]")


def visible(text: str) -> str:
    r"""Return a text with its invisible characters written out: `\u200b` for U+200B.

    Line breaks, tabs and spaces stay. So do joiners between letters whose script needs them, and
    the characters that form an emoji of several characters.
    """
    return _UNUSUAL.sub(functools.partial(_written_out, _as_python), text)


def as_json(value: object, most: int | None = None) -> str:
    """Write a value as JSON on one line, with its invisible characters written out.

    Args:
        value: The value. Parts that JSON can't hold are written as their `str`.
        most: The most characters, or `None` for all.

    Raises:
        ValueError: If the value contains an integer of thousands of digits, or itself.
        RecursionError: If the value is nested too deeply.
    """
    if most is None:
        return _visible_json(_ENCODER.encode(value))
    text = _beginning(value, most + _MAX_COUNTED)
    over = "over " if len(text) > most + _MAX_COUNTED else ""
    return cut(text[: most + _MAX_COUNTED], most, clean=_visible_json, counted=over)


def _beginning(value: object, most: int) -> str:
    """Return the beginning of a value's JSON: more than `most` characters if there are more."""
    # `iterencode` yields a string in one part, however long it is.
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
    """Tell whether a joiner or a variation selector has an effect at this position.

    The rules for scripts follow RFC 5892, appendix A, without its tables of joining types.
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
    # Persian has a non-joiner between a foreign word, or a number, and a Persian ending.
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
    """Cut a text, and add the number of characters that are left out.

    Args:
        text: The text.
        most: The most characters to keep.
        clean: A function that cleans the kept part, and may make it longer. It does not see the
            rest.
        counted: Text before the number, such as "over " if the number is a lower bound.
    """
    kept = clean(text[:most])
    rest = max(len(text) - most, 0) + max(len(kept) - most, 0)
    return f"{kept[:most]} … ({counted}{rest} more characters)" if rest else kept


def quoted(value: object) -> str:
    """Return a value as JSON, with all its invisible characters written out, and cut."""
    try:
        text = as_json(value, MAX_CHARS)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in itself
        return f"a value of type {type(value).__name__}"
    # A person who confirms a value must see every joiner, and every space that is not U+0020.
    return "".join(one if one.isprintable() else _as_json(one) for one in text)


def listed(values: Sequence[Any]) -> str:
    """Return the first values as JSON, and the number of the others."""
    some = ", ".join(map(quoted, values[:MAX_VALUES]))
    more = len(values) - MAX_VALUES
    return f"{some} and {more} more" if more > 0 else some


def named(field: str) -> str:
    """Return a field's name, in quotes if it could be read as something else than a name."""
    plain = _PLAIN.fullmatch(field) and visible(field) == field
    return field if plain and len(field) <= MAX_CHARS else quoted(field)


def shown(value: object) -> str:
    """Return the beginning of a value's `repr`, for an error message."""
    # Each item has at least one character in the `repr`, so the first ones are enough.
    if isinstance(value, str | bytes | list | tuple):
        value = value[: _MAX_REPR + 1]
    try:
        return cut(repr(value), _MAX_REPR)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
