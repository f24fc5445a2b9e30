"""The files of paths and folders, chosen by the rules of `.gitignore`."""

import dataclasses
import datetime as dt
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from milvus_tools.errors import InvalidInputError
from milvus_tools.ingest.formats import reader_of

HERE: Final = "."  # the source of the folder that sources are relative to
_SNIFFED: Final = 8_192


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file to load.

    Attributes:
        path: Its path, without links.
        source: Its name in the metadata.
        size: Its bytes.
        modified: The time of its last change, in UTC.
    """

    path: Path
    source: str
    size: int
    modified: dt.datetime


@dataclasses.dataclass(frozen=True)
class Found:
    """The files of paths and folders.

    Attributes:
        files: Those that can be read, in the order of their names.
        roots: The sources of the given paths.
        left_out: The number of files of kinds that can't be read.
        bad: The sources of files that can't be read, with the reasons.
        base: The folder that sources are relative to; `None` for absolute sources.
    """

    files: Sequence[SourceFile]
    roots: Sequence[str]
    left_out: int
    bad: Sequence[tuple[str, str]]
    base: Path | None = None

    def path_of(self, source: str) -> Path:
        """Return the path of a source, which may not exist any more."""
        return Path(source) if self.base is None else self.base / source


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which files of a folder are meant; patterns are those of `.gitignore`.

    Attributes:
        include: Patterns of files; none for all.
        exclude: Patterns of files and folders to leave out.
        hidden: Whether names that begin with a dot are meant, too.
        relative_to: The folder that sources are relative to; `None` for absolute sources.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    hidden: bool = False
    relative_to: Path | None = None

    def source(self, path: Path) -> str:
        """Return the name of a file in the metadata.

        Raises:
            InvalidInputError: If the path is not in the folder that sources are relative to.
        """
        if self.relative_to is None:
            return str(path)
        try:
            return path.relative_to(self.relative_to.resolve()).as_posix()
        except ValueError as error:
            raise InvalidInputError("Each path must be in the folder of --relative-to.") from error


def find(paths: Iterable[Path], rules: Rules) -> Found:
    """Find the files of paths and folders.

    A link that is given is followed. A link in a folder is not: it may lead out of the folder, or
    back to it.

    Args:
        paths: Files and folders.
        rules: Which files of a folder are meant. A file that is given itself always is.

    Raises:
        InvalidInputError: If a path does not exist, or if a pattern is malformed.
    """
    choice = _Choice(rules)
    for path in paths:
        choice.add(path)
    files = sorted(choice.files.values(), key=lambda file: file.source)
    base = rules.relative_to and rules.relative_to.resolve()
    roots = tuple(dict.fromkeys(choice.roots))
    return Found(files, roots, len(choice.left_out), choice.bad, base)


class _Choice:
    """The files that were found so far. A file that is found twice counts once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._include = _patterns(rules.include)
        self._exclude = _patterns(rules.exclude)
        self.files: dict[Path, SourceFile] = {}
        self.roots: list[str] = []
        self.left_out: set[Path] = set()
        self.bad: list[tuple[str, str]] = []

    def add(self, given: Path) -> None:
        try:
            path = given.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise InvalidInputError(f"There is no file or folder {str(given)!r}.") from error
        self.roots.append(self._rules.source(path))
        if path.is_dir():
            for inner in self._inside(path):
                self._add_file(inner, given=False)
        else:
            self._add_file(path, given=True)

    def _inside(self, root: Path) -> Iterator[Path]:
        for folder, folders, names in os.walk(root, onerror=self._unlisted):
            here = Path(folder)
            relative = here.relative_to(root)
            # In place, so that `os.walk` goes on with these alone; it follows no link.
            folders[:] = sorted(one for one in folders if self._enters(relative / one))
            yield from (here / one for one in sorted(names) if self._takes(relative / one))

    def _unlisted(self, error: OSError) -> None:
        source = _printable(self._rules.source(Path(error.filename)))
        self.bad.append((source, f"The folder can't be listed: {error.strerror}."))

    def _enters(self, relative: Path) -> bool:
        return self._is_shown(relative) and not self._exclude.match_file(f"{relative}/")

    def _takes(self, relative: Path) -> bool:
        if not self._is_shown(relative) or self._exclude.match_file(relative):
            return False
        return not self._rules.include or bool(self._include.match_file(relative))

    def _is_shown(self, relative: Path) -> bool:
        return self._rules.hidden or not relative.name.startswith(".")

    def _add_file(self, path: Path, *, given: bool) -> None:
        try:
            self._file(path, given=given)
        except OSError as error:  # it vanished, or its disk fails
            source = _printable(self._rules.source(path))
            self.bad.append((source, f"It can't be read: {error.strerror}."))

    def _file(self, path: Path, *, given: bool) -> None:
        state = path.lstat()
        if path in self.files or (not given and not stat.S_ISREG(state.st_mode)):
            return
        source = self._rules.source(path)
        reason = _why_bad(path, source, state)
        if reason:
            self.bad.append((_printable(source), reason))
        elif not _is_readable(path):
            self._leave_out(path, source, given=given)
        else:
            modified = dt.datetime.fromtimestamp(int(state.st_mtime), dt.UTC)
            self.files[path] = SourceFile(path, source, state.st_size, modified)

    def _leave_out(self, path: Path, source: str, *, given: bool) -> None:
        if given:
            self.bad.append((source, "It is of no kind that can be read."))
        else:
            self.left_out.add(path)


def _why_bad(path: Path, source: str, state: os.stat_result) -> str:
    if not stat.S_ISREG(state.st_mode):
        return "It is not a regular file."
    if _printable(source) != source:
        return "Its name is not UTF-8: rename it."
    return "" if os.access(path, os.R_OK) else "You may not read it."


def _printable(source: str) -> str:
    return source.encode("utf-8", "backslashreplace").decode()


def _is_readable(path: Path) -> bool:
    with path.open("rb") as file:
        return reader_of(path.name, file.read(_SNIFFED)) is not None


def _patterns(lines: Sequence[str]) -> Any:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - a package of the extra `cli`
    from pathspec.patterns.gitignore import GitIgnorePatternError  # noqa: PLC0415

    try:
        return GitIgnoreSpec.from_lines(lines)
    except GitIgnorePatternError as error:
        raise InvalidInputError("A pattern is not one of .gitignore's.") from error
