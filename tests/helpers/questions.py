"""Reads the questions that people are asked before a write, as a person would: by their words.

Nothing here is taken from what writes them.
"""

import json
import re
from typing import Any

from milvus_tools.filters import All, Any_, Condition, Filter, Not, Operator

_ONE_VALUE = {
    " is not ": Operator.NE,
    " is more than ": Operator.GT,
    " is at least ": Operator.GTE,
    " is less than ": Operator.LT,
    " is at most ": Operator.LTE,
    " begins with ": Operator.PREFIX,
    " is ": Operator.EQ,
}
_SEVERAL = {" is one of ": Operator.IN, " is none of ": Operator.NOT_IN}
_DELETE = re.compile(r"Delete where (.*), in the collection (\w+)\?", re.DOTALL)
_UPSERT = re.compile(r"Write (\d+) documents? to the collection (\w+)\?")
_NAME = re.compile(r"\w+")


def is_refusal(question: str) -> bool:
    """Tell whether a question says that nothing would happen."""
    return question.startswith("Nothing would happen: ")


def read_delete(question: str) -> Filter:
    """Return the condition that a question names."""
    found = _DELETE.fullmatch(question)
    assert found, question
    reader = _Reader(found[1])
    filter_ = reader.group()
    assert reader.at_end(), question
    return filter_


def read_upsert(question: str) -> list[tuple[str | None, str, Any]]:
    """Return the ids, texts and metadata that a question names."""
    first, *lines = question.split("\n")
    found = _UPSERT.fullmatch(first)
    assert found, question
    assert int(found[1]) == len(lines)
    return [_document(line) for line in lines]


def _document(line: str) -> tuple[str | None, str, Any]:
    reader = _Reader(line)
    reader.take("- ")
    id_ = None if reader.take("a new id") else reader.value_after("id ")
    text = reader.value_after(": text ")
    metadata = reader.value_after(", metadata ")
    assert reader.at_end(), line
    return id_, text, metadata


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        """Tell whether all is read."""
        return self._at == len(self._text)

    def take(self, words: str) -> bool:
        """Read words if they come next."""
        there = self._text.startswith(words, self._at)
        self._at += len(words) if there else 0
        return there

    def value(self) -> Any:
        """Read JSON."""
        value, self._at = json.JSONDecoder().raw_decode(self._text, self._at)
        return value

    def value_after(self, words: str) -> Any:
        """Read words that must come next, and JSON."""
        assert self.take(words), self._text[self._at :]
        return self.value()

    def group(self) -> Filter:
        """Read conditions that are joined by `and`, or by `or`."""
        parts = [self._part()]
        while self.take(" and "):
            parts.append(self._part())
        if len(parts) > 1:
            return All(parts)
        while self.take(" or "):
            parts.append(self._part())
        return Any_(parts) if len(parts) > 1 else parts[0]

    def _part(self) -> Filter:
        negated = self.take("not ")
        if self.take("("):
            inner = self.group()
            assert self.take(")"), self._text
            return Not(inner) if negated else inner
        return self._condition()

    def _condition(self) -> Filter:
        quoted = self._text.startswith('"', self._at)
        name = self.value() if quoted else self._name()
        for words, there in ((" is there", True), (" is missing", False)):
            if self.take(words):
                return Condition(name, Operator.EXISTS, there)
        if self.take(" is from "):
            low = self.value()
            return Condition(name, Operator.BETWEEN, [low, self.value_after(" to ")])
        for words, operator in _SEVERAL.items():
            if self.take(words):
                return Condition(name, operator, self._values())
        words = next(one for one in _ONE_VALUE if self._text.startswith(one, self._at))
        return Condition(name, _ONE_VALUE[words], self.value_after(words))

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        assert found, self._text
        self._at = found.end()
        return found[0]

    def _values(self) -> list[Any]:
        values = [self.value()]
        while self.take(", "):
            values.append(self.value())
        return values
