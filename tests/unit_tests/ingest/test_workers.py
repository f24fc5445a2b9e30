"""The limits of a process that reads files."""

import os
import pathlib
import signal

import pytest

from milvus_tools.ingest import workers
from milvus_tools.ingest.formats import UnreadableError
from milvus_tools.ingest.workers import Splitting, convert
from tests.helpers.programs import Finished, start_python

# The process is a reader, and a thread of it the one that hands it a file.
SERVE = """
import multiprocessing, pathlib, resource, signal, sys, threading
from milvus_tools.ingest import workers

def hand_over(pipe):
    pipe.send((pathlib.Path(sys.argv[1]), ""))
    print(pipe.recv())
    pipe.close()

ours, theirs = multiprocessing.Pipe()
MOST, SECONDS = 500_000_000, int(sys.argv[2])
"""
SERVED = """
threading.Thread(target=hand_over, args=(ours,), daemon=True).start()
workers._serve(theirs, workers.Splitting(max_bytes=MOST), SECONDS)
"""
HANG = "workers.convert = lambda *_: signal.pause()"
# What the process has now and a good deal more, but less than the file.
LITTLE = """
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
workers.MAX_MEMORY = pages * resource.getpagesize() + MOST // 2
"""


def serve(code: str, file: pathlib.Path, seconds: int) -> Finished:
    """Have a process read a file, after other code."""
    return start_python("-c", SERVE + code + SERVED, str(file), str(seconds))


def test_a_reader_that_hangs_ends_without_its_parent(tmp_path: pathlib.Path) -> None:
    """Its alarm ends it, when the parent that would do so was killed."""
    ended = serve(HANG, tmp_path / "a.txt", 0)
    assert (ended.returncode, ended.stdout) == (-signal.SIGALRM, ""), ended.stderr


def test_a_file_that_takes_too_much_memory_is_bad(tmp_path: pathlib.Path) -> None:
    """The process goes on, and says why."""
    (tmp_path / "a.txt").touch()
    os.truncate(tmp_path / "a.txt", 400_000_000)  # holds nothing
    ended = serve(LITTLE, tmp_path / "a.txt", 60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "It takes too much memory to read.\n"


def test_a_small_file_does_not_become_a_long_text(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table's rows repeat the names of the columns, but not without end."""
    monkeypatch.setattr(workers, "MAX_TEXT", 1_000_000)
    table = tmp_path / "a.csv"
    table.write_bytes(b"a" * 1_000 + b",b\n" + b"1,2\n" * 900)
    assert convert(table, Splitting()).passages
    table.write_bytes(b"a" * 1_000 + b",b\n" + b"1,2\n" * 1_100)
    with pytest.raises(UnreadableError, match="more than 1 million characters"):
        convert(table, Splitting())
