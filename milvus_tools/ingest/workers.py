"""Processes that read and split files, each with limits of memory and time.

A file is hostile: it may crash a reader, or make it run for ever. Then its process ends, another
takes its place, and only this file is reported as bad.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import math
import multiprocessing
import os
import resource
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from milvus_tools.ingest.formats import Content, UnreadableError, reader_of
from milvus_tools.ingest.splitting import Passage, split, title_of

MAX_MEMORY: Final = 4 << 30  # bytes of address space, of which a worker's libraries take a part
MAX_TEXT: Final = 200_000_000  # characters
SECONDS: Final = 120.0
_CRASHED: Final = "Its reader crashed; it may be damaged."
_NO_MEMORY: Final = "It takes too much memory to read."


@dataclasses.dataclass(frozen=True)
class Splitting:
    """How files are read and split.

    Attributes:
        size: The most characters of a passage.
        overlap: The most characters that a passage repeats from the one before.
        max_bytes: The largest file to read.
    """

    size: int = 1_000
    overlap: int = 100
    max_bytes: int = 50_000_000


@dataclasses.dataclass(frozen=True)
class Converted:
    """A file that was read and split.

    Attributes:
        digest: The SHA-256 of its bytes.
        title: Its title, or `""`.
        passages: Its passages, in order.
    """

    digest: str
    title: str
    passages: list[Passage]


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file, and follow no link to it.

    Raises:
        UnreadableError: If it is not a regular file, too large, or can't be read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(number, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            is_regular = stat.S_ISREG(os.fstat(number).st_mode)
            content = file.read(most + 1) if is_regular else b""
    except OSError as error:
        raise UnreadableError(f"It can't be read: {error.strerror}.") from error
    if not is_regular:
        raise UnreadableError("It is not a regular file.")
    if len(content) > most:
        raise UnreadableError(f"It is larger than {most} bytes.")
    return content


def convert(path: Path, splitting: Splitting, name: str = "") -> Converted:
    """Read and split a file.

    Args:
        path: Its path.
        splitting: How to do so.
        name: A name whose suffix tells its format, if the path has none that does.

    Raises:
        UnreadableError: If it can't be read.
    """
    try:
        content = read_bytes(path, splitting.max_bytes)
        text = _text(name or path.name, content)
        passages = split(text, splitting.size, splitting.overlap)
        return Converted(hashlib.sha256(content).hexdigest(), title_of(text), passages)
    except UnreadableError:
        raise
    except MemoryError as error:
        raise UnreadableError(_NO_MEMORY) from error
    except Exception as error:
        # The readers of formats raise errors of any type for damaged files.
        raise UnreadableError(f"It is damaged ({type(error).__name__}).") from error


def _text(name: str, content: bytes) -> Content:
    reader = reader_of(name, content)
    if reader is None:
        raise UnreadableError("It is of no kind that can be read.")
    text = reader(content)
    # A table repeats the names of its columns in each row, so that little can become much.
    if sum(len(part.text) for part in text.parts) > MAX_TEXT:
        raise UnreadableError(
            f"Its text has more than {MAX_TEXT // 1_000_000} million characters."
        )
    return text


class Workers:
    """Processes that convert files.

    Example:
        ```python
        async with Workers.started(2, Splitting()) as workers:
            converted = await workers.convert(path)
        ```
    """

    def __init__(self) -> None:
        """Have no processes yet; `started` starts them."""
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all: list[_Worker] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def started(
        cls, count: int, splitting: Splitting, seconds: float = SECONDS
    ) -> AsyncIterator["Workers"]:
        """Start processes, and end them with the block."""
        self = cls()
        try:
            for _ in range(count):
                worker = _Worker(splitting, seconds)
                self._all.append(worker)
                self._idle.put_nowait(worker)
            yield self
        finally:
            for worker in self._all:
                worker.end()

    async def convert(self, path: Path, name: str = "") -> Converted:
        """Read and split a file in the next process that is idle.

        Args:
            path: Its path.
            name: A name whose suffix tells its format, if the path has none that does.

        Raises:
            UnreadableError: If the file can't be read, crashes its reader, or takes too long.
        """
        worker = await self._idle.get()
        try:
            answer = await asyncio.to_thread(worker.convert, path, name)
        finally:
            self._idle.put_nowait(worker)
        if isinstance(answer, str):
            raise UnreadableError(answer)
        return answer


class _Worker:
    """A process, and another one after it when it had to be ended."""

    def __init__(self, splitting: Splitting, seconds: float) -> None:
        self._splitting = splitting
        self._seconds = seconds
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def convert(self, path: Path, name: str) -> Converted | str:
        """Return a converted file, or why it could not be converted."""
        pipe = self._pipe or self._start()
        try:
            pipe.send((path, name))
            if pipe.poll(self._seconds):
                answer: Converted | str = pipe.recv()
                return answer
        except (EOFError, OSError):
            self.end()
            return _CRASHED
        self.end()
        return f"It takes longer than {self._seconds:g} s to read."

    def _start(self) -> Connection:
        # The server of forks imports the package once for all workers. A plain fork would copy
        # the threads' locks, and the connections of a store.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        ours, theirs = context.Pipe()
        serving = (theirs, self._splitting, self._seconds)
        process = context.Process(target=_serve, args=serving, daemon=True)
        with _interrupts_blocked():
            process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        return ours

    def end(self) -> None:
        """End the process, in the middle of a file if it has one."""
        # First, because a thread that reads the pipe calls this too when the process has ended.
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None and pipe is not None:
            process.kill()
            process.join()
            pipe.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let processes that are started get no interrupt, which a terminal sends to all of its group.

    The server of forks would print a traceback of its imports.
    """
    # Now, because it unblocks interrupts when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, splitting: Splitting, seconds: float) -> None:
    """Convert files until the other end of the pipe is closed."""
    # The parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    with contextlib.suppress(EOFError, OSError):
        while True:
            path, name = pipe.recv()
            # It ends this process if a file hangs and the parent, who would do so, was killed.
            signal.alarm(math.ceil(seconds) + 1)
            answer = _answer(path, splitting, name)
            signal.alarm(0)
            pipe.send(answer)


def _answer(path: Path, splitting: Splitting, name: str) -> Converted | str:
    # Readers print warnings about damaged files; what matters is in the answer.
    with (
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - the system's name for it
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            return convert(path, splitting, name)
        except UnreadableError as error:
            return str(error)
