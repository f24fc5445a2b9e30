"""The output of the command: text without hidden characters, or JSON."""

import asyncio
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from langchain_core.documents import Document
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from milvus_tools._text import as_json, cut, visible
from milvus_tools.ingest.files import FilesProgress

TEXT_CHARS: Final = 600
_SURE: Final = ("y", "yes")


def line(text: str = "") -> None:
    """Write a line to the standard output, with hidden characters and breaks written out."""
    _write(sys.stdout, visible(text).replace("\n", "\\n"))


def note(text: str) -> None:
    """Write a line to the standard error, for people who watch."""
    _write(sys.stderr, visible(text))


def error_line(text: str) -> None:
    """Write an error on one line."""
    note("Error: " + " ".join(text.split()))


def json_line(value: Any) -> None:
    """Write a value as JSON."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")


def _write(stream: Any, text: str) -> None:
    # A terminal or a pipe may have an encoding that lacks a character.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


async def is_sure(question: str) -> bool:
    """Ask a person, whose answer must be `y` or `yes`."""
    sys.stderr.write(f"{visible(question)} [y/N] ")
    sys.stderr.flush()
    # Reading would block the loop, and with it an interrupt. A terminal has whole lines to read.
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, answered.set)
    try:
        await answered.wait()
    except asyncio.CancelledError:
        note("")
        raise
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in _SURE


def result(number: int, document: Document, score: float) -> None:
    """Write a found Document, with its number and its score."""
    metadata = document.metadata
    place = [str(metadata[name]) for name in ("source", "headings") if metadata.get(name)]
    page = f", page {metadata['page']}" if metadata.get("page") is not None else ""
    line(f"{number}. {_short(' · '.join(place) or document.id or '')}{page} ({score:.2g})")
    for one in cut(document.page_content, TEXT_CHARS).splitlines():
        if one.strip():
            line(f"   {one}")


def as_result(document: Document, score: float) -> Mapping[str, Any]:
    """Return a found Document for JSON."""
    return {
        "id": document.id,
        "score": round(score, 6),
        "text": document.page_content,
        "metadata": json.loads(as_json(document.metadata)),
    }


def _short(text: str) -> str:
    return cut(" ".join(text.split()), 300)


@contextmanager
def progress_bar() -> Iterator[Callable[[FilesProgress], None]]:
    """Show the progress of a load, if the standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("files, {task.fields[written]} passages, {task.fields[rate]:.0f}/s"),),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Loading", total=None, written=0, rate=0.0)

        def show(now: FilesProgress) -> None:
            rate = now.written / (bar.tasks[0].elapsed or 1)
            bar.update(task, total=now.files, completed=now.done, written=now.written, rate=rate)

        yield show


@contextmanager
def quiet(*, verbose: bool) -> Iterator[None]:
    """Show neither warnings nor logs of libraries, unless they are asked for."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        if not verbose:
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            # pymilvus and Milvus Lite log what they raise, with addresses and paths.
            logging.disable()
        try:
            yield
        finally:
            logging.disable(before)
