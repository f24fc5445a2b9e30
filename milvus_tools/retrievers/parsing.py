"""The queries in a language model's answer.

Small models often ignore the form that the prompt asks for. They write a preamble, number the
lines, put JSON into text, leave it unfinished, or answer with one string in place of a list. All
functions here are pure, and none raises for any answer.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

# Bounds of what is read: a model in a loop can answer without end.
_MAX_TEXT: Final = 50_000  # characters of an answer
_MAX_ITEMS: Final = 500
_MAX_DEPTH: Final = 4
_MAX_OPENINGS: Final = 20  # each may be read to the end of the text
_MAX_PAIRS: Final = 20  # pairs of quotes around one query

# To the end of the answer if the model never closed it.
_THOUGHT: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r"```\w*")
_OPENING: Final = re.compile(r"[\[{]")
_LIST: Final = re.compile(r'\[\s*(?=")')
_STRING: Final = re.compile(r'[^"]*(?P<text>"(?:[^"\\]|\\.)*")')
_LISTED: Final = re.compile(
    r"""[*_]{0,2}(?:
        (?P<number>\d{1,3})[.):]\s            # 1. what
        | \((?P<bracketed>\d{1,3})\)\s        # (1) what
        | [-*+•‣·\u2013\u2014]\s              # - what
        | [a-z]\)\s                           # a) what
        | \#{1,6}\s                           # # what
        | (?i:(?:\w+[ -])?(?:query|question)) # Query 1: what; sub-question: what
          (?:\s*\#?\d+\s*[-.):]|\s*:)
        | Q\d+\s*[-.):]                       # Q1: what
    )\s*""",
    re.VERBOSE,
)
_INLINE: Final = re.compile(r"\s(?=\(?\d{1,2}[.)]\s)")
_CHATTER: Final = re.compile(
    r"(?:sure|certainly|of course|okay|ok|absolutely)[,!.:]|here (?:are|is)\b[^?]*$|.*:$",
    re.IGNORECASE,
)
_AFTER_QUESTION: Final = re.compile(r"(?<=\?)\s")
_AROUND: Final = " \t,*"
_PAIRS: Final = ('""', "''", "``", "__", "“”", "\u2018\u2019", "«»")


def read_answer(answer: Any) -> list[str]:
    """Return the queries in a model's answer.

    Args:
        answer: A text, a message, or the object of a structured output.

    Returns:
        The queries in the order of the answer, with repetitions.
    """
    match answer:
        case AIMessage(tool_calls=calls, invalid_tool_calls=broken) if calls or broken:
            # The arguments of a call that was cut short are text, and read as such.
            answer = [call["args"] for call in (*calls, *broken)]
        case BaseMessage():
            answer = str(answer.text)
        case BaseModel():
            answer = answer.model_dump()
    return _from_text(answer) if isinstance(answer, str) else _from_items(list(_strings(answer)))


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the strings in a JSON value; of an object with `queries`, only those in there."""
    match value:
        case str():
            yield value
        case {"queries": inner} if depth < _MAX_DEPTH:
            yield from _strings(inner, depth + 1)
        case Mapping() if depth < _MAX_DEPTH:
            yield from _strings(list(value.values()), depth + 1)
        case list() | tuple() if depth < _MAX_DEPTH:
            for one in value:
                yield from _strings(one, depth + 1)


def _from_text(text: str) -> list[str]:
    text = _FENCE.sub("", _THOUGHT.sub("", text[:_MAX_TEXT])).strip()
    found = _from_json(text)
    if found is not None:
        return _from_items(found)
    return [query for line in _lines(text) for query in _questions(line)]


def _from_items(items: list[str]) -> list[str]:
    """Return the queries in the strings of a list. A string can contain several queries."""
    items = _bounded(items)
    marks = [_LISTED.match(item) for item in items]
    # Only if all items have a mark: a single "3. " can be a part of a query.
    if len(marks) > 1 and all(marks):
        items = [item[mark.end() :] for item, mark in zip(items, marks, strict=True) if mark]
    return [query for item in items for query in _from_text(item)]


def _bounded(items: list[str]) -> list[str]:
    items = items[:_MAX_ITEMS]
    starts = itertools.accumulate(map(len, items), initial=0)  # and, last, the end of all
    return [
        item[: _MAX_TEXT - start]
        for item, start in zip(items, starts, strict=False)
        if start < _MAX_TEXT
    ]


def _from_json(text: str) -> list[str] | None:
    """Return the strings of the JSON in a text, or `None` if it has none."""
    decoder = json.JSONDecoder()
    for opening in itertools.islice(_OPENING.finditer(text), _MAX_OPENINGS):
        try:
            value, end = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            continue
        found = list(_strings(value))
        # Brackets without strings, such as `[1]`, belong to a query, unless they are all of it.
        if found or end - opening.start() == len(text):
            return found
    return _from_cut_json(text)


def _from_cut_json(text: str) -> list[str] | None:
    """Return the complete strings of a JSON list that the model did not finish."""
    opening = _LIST.search(text)
    if opening is None:
        return None
    found: list[str] = []
    position = opening.end()
    while len(found) < _MAX_ITEMS and (string := _STRING.match(text, position)):
        with contextlib.suppress(ValueError):  # an escape that is not valid JSON
            found.append(json.loads(string["text"]))
        position = string.end()
    return found


def _lines(text: str) -> list[str]:
    """Return the lines of a list. If some are marked as items, return only those."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()][:_MAX_ITEMS]
    if len(lines) == 1 and lines[0].startswith(("1.", "1)", "(1)")):
        lines = _INLINE.split(lines[0])
    marks = [_LISTED.match(line) for line in lines]
    if not _begins_with_one(marks):
        marks = [mark if mark and not _number(mark) else None for mark in marks]
    if any(marks):
        return [line[mark.end() :] for line, mark in zip(lines, marks, strict=True) if mark]
    return [line for line in lines if not _CHATTER.match(line)]


def _begins_with_one(marks: list[re.Match[str] | None]) -> bool:
    """Tell whether the numbers of a list are marks, and not parts of the items."""
    return next((_number(mark) for mark in marks if mark and _number(mark)), "") in ("0", "1")


def _number(mark: re.Match[str]) -> str:
    return mark["number"] or mark["bracketed"] or ""


def _questions(line: str) -> list[str]:
    return [_bare(part) for part in _AFTER_QUESTION.split(line)]


def _bare(text: str) -> str:
    """Return a text without the quotes and the emphasis around it."""
    text = text.strip(_AROUND)
    for _ in range(_MAX_PAIRS):
        if len(text) < 2 or text[0] + text[-1] not in _PAIRS:  # noqa: PLR2004
            break
        text = text[1:-1].strip(_AROUND)
    return text
