"""Splitting of a file's text into passages, by headings where there are any."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from milvus_tools.ingest.formats import Content, Part

MAX_HEADING: Final = 200  # characters
_SEPARATOR: Final = " > "
_HEADING: Final = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_UNDERLINE: Final = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}[ \t]*")
_CLOSING: Final = " #\t"


@dataclasses.dataclass(frozen=True)
class Passage:
    """A passage of a file.

    Attributes:
        text: The text.
        headings: The headings above it, from the outermost: `Install > On Debian`.
        page: The page, slide or chapter, from 1, or `None`.
    """

    text: str
    headings: str = ""
    page: int | None = None


@dataclasses.dataclass(frozen=True)
class _Section:
    text: str
    path: tuple[str, ...]


def split(content: Content, size: int, overlap: int) -> list[Passage]:
    """Split a file's text into passages of at most `size` characters.

    Args:
        content: The text.
        size: The most characters of a passage.
        overlap: The most characters that a passage repeats from the one before.
    """
    splitter = _splitter(content.syntax, size, overlap)
    return [
        Passage(text, _SEPARATOR.join(section.path), part.page)
        for part, section in _sections(content)
        for text in map(_clean, splitter.split_text(section.text))
        if text
    ]


def _sections(content: Content) -> Iterator[tuple[Part, _Section]]:
    cut = _CUTTERS.get(content.syntax)
    for part in content.parts:
        sections = [_Section(part.text, ())] if cut is None else cut(part.text)
        yield from ((part, section) for section in sections)


def title_of(content: Content) -> str:
    """Return a file's title: the one it gives itself, its first heading, or `""`."""
    headings = (section.path[0] for _, section in _sections(content) if section.path)
    return _clean(" ".join(content.title.split()))[:MAX_HEADING] or next(headings, "")


def _splitter(syntax: str, size: int, overlap: int) -> Any:
    from langchain_text_splitters import (  # noqa: PLC0415 - imports much
        Language,
        RecursiveCharacterTextSplitter,
    )

    arguments: dict[str, Any] = {"chunk_size": size, "chunk_overlap": overlap}
    if syntax == "text":
        return RecursiveCharacterTextSplitter(**arguments)
    return RecursiveCharacterTextSplitter.from_language(Language(syntax), **arguments)


def _clean(text: str) -> str:
    # Milvus takes neither a null character nor half of a surrogate pair.
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()


def _markdown_sections(text: str) -> list[_Section]:
    return _cut(text.splitlines(), _markdown_headings)


def _rst_sections(text: str) -> list[_Section]:
    return _cut(text.splitlines(), _rst_headings)


# The number of a heading's first line, its level and its text.
_Heading = tuple[int, int, str]


def _cut(
    lines: Sequence[str], headings_of: Callable[[Sequence[str]], Iterable[_Heading]]
) -> list[_Section]:
    found = list(headings_of(lines))
    starts = [start for start, _, _ in found]
    sections = [_Section("\n".join(lines[: starts[0] if starts else None]), ())]
    open_: list[tuple[int, str]] = []
    for (start, level, text), end in itertools.zip_longest(found, starts[1:]):
        open_ = [one for one in open_ if one[0] < level]
        open_.append((level, _clean(text)[:MAX_HEADING]))
        path = tuple(name for _, name in open_)
        sections.append(_Section("\n".join(lines[start:end]), path))
    return sections


def _markdown_headings(lines: Sequence[str]) -> Iterator[_Heading]:
    fence = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark:
            # A fence is closed by the mark that opened it.
            fence = "" if mark[1] == fence else fence or mark[1]
        heading = None if fence or mark else _HEADING.fullmatch(line)
        if heading:
            yield number, len(heading[1]), heading[2].rstrip(_CLOSING)


def _rst_headings(lines: Sequence[str]) -> Iterator[_Heading]:
    """Yield the headings of reStructuredText, whose styles have levels by their first use."""
    levels: dict[str, int] = {}
    for number, (line, under) in enumerate(itertools.pairwise(lines)):
        title = line.strip()
        mark = _UNDERLINE.fullmatch(under)
        # An underline is as long as the title; a title is no line of marks itself.
        if not mark or len(under.rstrip()) < len(title) or not title or _UNDERLINE.fullmatch(line):
            continue
        above = lines[number - 1] if number else ""
        overlined = above.strip() == under.strip()
        style = under[0] * (2 if overlined else 1)
        yield number - overlined, levels.setdefault(style, len(levels)), title


_CUTTERS: Final = {"markdown": _markdown_sections, "rst": _rst_sections}
