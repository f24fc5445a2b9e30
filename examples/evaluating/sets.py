"""Sets of questions, with the paragraphs that they are asked of."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphs.rag.wikipedia import PARAGRAPHS, paragraphs

DATA: Final = PARAGRAPHS.parent
OWN: Final = "HotpotQA"
"""The name of the set in `examples/data`."""

_QUESTIONS: Final = "questions.jsonl"
_PARAGRAPHS: Final = "paragraphs.jsonl"


class DataError(ValueError):
    """A set that can't be read; the message is a sentence on what is wrong."""


class Question(BaseModel):
    """A question, the paragraphs that hold its answer together, and that answer."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(min_length=1)
    text: str = Field(alias="question", min_length=1)
    needed: tuple[str, ...] = Field(alias="relevant_ids", min_length=1)
    gold: str = Field(alias="answer")


class Paragraph(BaseModel):
    """The fields of a paragraph; the set may have more."""

    id: str = Field(min_length=1)
    title: str
    text: str


Record = TypeVar("Record", Question, Paragraph)


@dataclasses.dataclass(frozen=True)
class QuestionSet:
    """Questions, and the paragraphs that they are asked of."""

    name: str
    questions: Sequence[Question]
    paragraphs: Sequence[Document]

    @functools.cached_property
    def absent(self) -> list[Document]:
        """The paragraphs that no question needs: the topics without the answers."""
        needed = {id_ for question in self.questions for id_ in question.needed}
        return [one for one in self.paragraphs if one.id not in needed]


def read_sets(folders: Iterable[pathlib.Path]) -> list[QuestionSet]:
    """Read all sets of some folders.

    Raises:
        DataError: If one can't be read, or two have one name.
    """
    sets = [one for folder in folders for one in sets_in(folder)]
    if repeated := _repeated(one.name for one in sets):
        raise DataError(f"There are two sets with the name {repeated!r}.")
    return sets


def sets_in(folder: pathlib.Path) -> list[QuestionSet]:
    """Read the sets of a folder: `questions.jsonl` and `paragraphs.jsonl`, or with a prefix each.

    Raises:
        DataError: If there is none, or one can't be read.
    """
    folder = folder.resolve()  # the name of "." is that of the folder
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder.name!r}.")
    prefixes = sorted(_prefixes(folder, _QUESTIONS) | _prefixes(folder, _PARAGRAPHS))
    if not prefixes:
        raise DataError(f"The folder {folder.name!r} has no file {_QUESTIONS} or *_{_QUESTIONS}.")
    return [_set(folder, prefix) for prefix in prefixes]


def _prefixes(folder: pathlib.Path, name: str) -> set[str]:
    found = [file.name.removesuffix(name) for file in folder.glob(f"*{name}")]
    return {prefix for prefix in found if not prefix or prefix.endswith("_")}


def _set(folder: pathlib.Path, prefix: str) -> QuestionSet:
    asked, texts = folder / f"{prefix}{_QUESTIONS}", folder / f"{prefix}{_PARAGRAPHS}"
    questions = _records(asked, Question)
    known = {one.id for one in _records(texts, Paragraph)}
    for question in questions:
        if missing := [id_ for id_ in question.needed if id_ not in known]:
            raise DataError(
                f"{asked.name}: the question {question.id!r} needs {missing[0]!r}, which "
                f"{texts.name} does not have."
            )
    name = prefix.rstrip("_") or (OWN if folder == DATA else folder.name)
    return QuestionSet(name, questions, paragraphs(texts))


def _records(file: pathlib.Path, kind: type[Record]) -> list[Record]:
    """Read a file with an object a line, and check its fields."""
    if not file.is_file():
        raise DataError(f"The folder {file.parent.name!r} has no file {file.name}.")
    lines = file.read_bytes().splitlines()
    records = [_record(line, f"{file.name}, line {n}", kind) for n, line in enumerate(lines, 1)]
    if not records:
        raise DataError(f"{file.name} is empty.")
    if repeated := _repeated(one.id for one in records):
        raise DataError(f"{file.name} has the id {repeated!r} more than once.")
    return records


def _repeated(names: Iterable[str]) -> str:
    """Return a name that is there more than once, or nothing."""
    return next((name for name, times in collections.Counter(names).items() if times > 1), "")


def _record(line: bytes, place: str, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = f"{problem['loc'][0]}: " if problem["loc"] else ""
        raise DataError(f"{place}: {field}{problem['msg']}.") from error
