"""`milvus-tools ingest`: every file once, whatever happens in between."""

import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from milvus_tools import MilvusStore
from milvus_tools.ingest import workers
from milvus_tools.ingest.formats import UnreadableError
from tests.helpers.sample_files import SAMPLES, WORDS
from tests.integration_tests.cli.conftest import Run

Report = Callable[..., Any]
COMMAND = "import sys; from milvus_tools.cli import main; sys.exit(main())"
FILES, LINES = 50, 60
# The process and those of its group get a signal when the first batch is written.
SIGNALLED = """
import contextlib, os, signal
from milvus_tools.cli import output

@contextlib.contextmanager
def progress_bar():
    signals = iter([signal.SIG])
    yield lambda now: now.written and [os.killpg(0, one) for one in signals]

os.setpgid(0, 0)
output.progress_bar = progress_bar
"""


@pytest.fixture
def held(make_store: Callable[..., MilvusStore], collection_name: str) -> Iterator[Any]:
    """What the collection holds: the ids of the passages of each source."""
    store = make_store(collection_name=collection_name)

    def held() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for document in store.search_by_metadata(limit=10_000, consistency_level="Strong"):
            name = pathlib.PurePath(document.metadata["source"]).name
            found.setdefault(name, set()).add(str(document.id))
        return found

    yield held
    store.close()


def test_each_format_is_found(report: Report, folder: pathlib.Path) -> None:
    """A search for a word of a file finds this file, with where it is."""
    assert report("ingest", folder)["converted"] == len(SAMPLES)
    answers = report("search", *WORDS.values(), "-k", 3)
    for (name, word), answer in zip(WORDS.items(), answers, strict=True):
        found = [one for one in answer["results"] if word in one["text"].lower()]
        assert [one["metadata"]["source"] for one in found] == [str(folder / name)]
        assert found[0]["metadata"]["modified"].endswith("+00:00")
    places = {answer["query"]: answer["results"][0]["metadata"] for answer in answers}
    assert places["cormorant"]["page"] == 2
    assert places["avocet"]["headings"] == "Birds > Waders"
    assert places["tawny"]["title"] == "Owls"


def test_a_second_run_reads_and_writes_nothing(report: Report, folder: pathlib.Path) -> None:
    """Files whose passages are there are not even read, when they were only touched either."""
    first = report("ingest", folder)
    os.utime(folder / "guide.md")
    again = report("ingest", folder)
    assert first["written"] > len(SAMPLES)
    assert again["unchanged"] == len(SAMPLES)
    assert again["converted"] == again["written"] == again["skipped"] == 0


def test_what_is_missing_of_a_file_is_written(
    report: Report, held: Any, folder: pathlib.Path
) -> None:
    """A run that was interrupted within a file goes on with its missing passages."""
    report("ingest", folder)
    before = held()
    lost = min(before["guide.md"])
    report("delete", lost, "--yes")
    again = report("ingest", folder)
    assert (again["converted"], again["written"]) == (1, 1)
    assert held() == before


def test_prune_deletes_exactly_what_changed_or_vanished(
    report: Report, held: Any, folder: pathlib.Path
) -> None:
    """Passages of a changed and a removed file go; all others stay, also those outside."""
    outside = folder.parent / "docs2"
    outside.mkdir()
    (outside / "other.md").write_text("Another folder, whose name begins alike.")
    report("ingest", folder, outside)
    before = held()
    (folder / "guide.md").write_text("# Birds\n\nintro, changed\n")
    (folder / "note.eml").unlink()
    (outside / "other.md").unlink()
    kept = report("ingest", folder)
    assert kept["pruned"] == 0
    pruned = report("ingest", folder, "--prune")
    after = held()
    assert pruned["pruned"] == len(before["guide.md"]) + len(before["note.eml"])
    assert not after["guide.md"] & before["guide.md"]
    assert after["guide.md"]
    unchanged = before.keys() - {"guide.md", "note.eml"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert "note.eml" not in after


def test_prune_keeps_what_exists_but_was_not_read(
    report: Report, held: Any, folder: pathlib.Path
) -> None:
    """Neither a file that is excluded nor one that can't be read any more loses its passages."""
    report("ingest", folder)
    before = held()
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4 damaged")
    pruned = report("ingest", folder, "--prune", "--exclude", "*.md", code=3)
    assert [one["source"] for one in pruned["bad"]] == [str(folder / "paper.pdf")]
    assert pruned["pruned"] == 0
    assert held() == before


def test_prune_reads_more_entities_than_one_read_returns(
    report: Report, held: Any, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passages of a large folder are read in parts."""
    monkeypatch.setattr("milvus_tools.ingest.files._PAGE", 5)
    report("ingest", folder)
    before = held()
    for name in list(SAMPLES)[1:]:
        (folder / name).unlink()
    assert report("ingest", folder, "--prune")["pruned"] == sum(
        len(ids) for name, ids in before.items() if name != "plain.txt"
    )
    assert held() == {"plain.txt": before["plain.txt"]}


def test_a_bad_file_stops_nothing(run: Run, folder: pathlib.Path) -> None:
    """A bad file is told at the end, the others are loaded, and the exit code tells it."""
    (folder / "bad.pdf").write_bytes(b"no pdf")
    (folder / "bad.json").write_bytes(b"{")
    code, output, errors = run("ingest", folder)
    assert code == 3
    assert f"{len(SAMPLES)} read, 2 bad" in output
    assert [line.rpartition("/")[2] for line in errors.splitlines()] == [
        "bad.json: It is not valid JSON.",
        "bad.pdf: It is not a valid PDF.",
    ]


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_disk_that_fails_stops_nothing(report: Report, folder: pathlib.Path) -> None:
    """A file that opens but can't be read is bad, whoever reads it first."""
    failing = pathlib.Path("/proc/self/mem")  # whose first bytes no process has
    answer = report("ingest", folder, failing, code=3)
    assert answer["converted"] == len(SAMPLES)
    assert answer["bad"] == [
        {"source": str(failing.resolve()), "reason": "It can't be read: Input/output error."}
    ]
    with pytest.raises(UnreadableError, match="can't be read: Input/output error"):
        workers.read_bytes(failing, 100)


def test_a_reader_that_hangs_is_ended(
    report: Report, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that takes too long is bad; its process is ended, and another reads the rest."""
    monkeypatch.setattr(workers.Workers.started.__wrapped__, "__defaults__", (0.001,))
    answer = report("ingest", folder, "--workers", 1, code=3)
    assert len(answer["bad"]) == len(SAMPLES)
    assert {one["reason"] for one in answer["bad"]} == {"It takes longer than 0.001 s to read."}


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_links_and_pipes_in_a_folder_are_not_followed(
    report: Report, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A link in a folder leads nowhere, not to itself either; a pipe is not waited for."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "loop").symlink_to(folder)
    (folder / "out.txt").symlink_to(secret)
    os.mkfifo(folder / "pipe.txt")
    found = report("ingest", folder, "--dry-run")
    assert {pathlib.Path(one["source"]).name for one in found["files"]} == SAMPLES.keys()
    given = report("ingest", folder / "out.txt", "--dry-run")
    assert [one["source"] for one in given["files"]] == [str(secret)]


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--include", "*.md"], {"guide.md", "sub/inner.md"}),
        (["--include", "*.md", "--exclude", "sub/"], {"guide.md"}),
        (
            ["--include", "*.md", "--include", "/plain.txt"],
            {"guide.md", "plain.txt", "sub/inner.md"},
        ),
        (["--include", "*.md", "--hidden"], {"guide.md", "sub/inner.md", ".git/x.md"}),
        (["--include", "*.md", "--exclude", "*", "--exclude", "!guide.md"], {"guide.md"}),
    ],
)
def test_patterns_choose_files(
    report: Report, folder: pathlib.Path, options: list[str], names: set[str]
) -> None:
    """Patterns have the rules of .gitignore, relative to the folder that is given."""
    for name in ("sub/inner.md", ".git/x.md"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("text")
    found = report("ingest", folder, "--dry-run", "--relative-to", folder, *options)
    assert {one["source"] for one in found["files"]} == names


def test_a_tenant_has_passages_of_its_own(report: Report, folder: pathlib.Path) -> None:
    """The same file in two scopes is there twice, and each scope finds and deletes its own."""
    plain = folder / "plain.txt"
    for team in ("red", "blue"):
        assert report("ingest", plain, "--tenant", f"team={team}")["written"] == 1
    [answer] = report("search", "albatross", "--tenant", "team=red")
    assert [one["metadata"]["team"] for one in answer["results"]] == ["red"]
    plain.write_text("changed")
    assert report("ingest", plain, "--prune", "--tenant", "team=blue")["pruned"] == 1
    assert len(report("search", "albatross")[0]["results"]) == 2
    assert report("delete", "--filter", "position>=0", "--yes", "--tenant", "team=red") == {
        "deleted": 1
    }


def run_alone(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, after other code."""
    return subprocess.run(
        [sys.executable, "-c", code + COMMAND, *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd()), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_run_that_is_killed_or_interrupted_is_completed_by_the_next(
    report: Report, tmp_path: pathlib.Path
) -> None:
    """After SIGKILL and after Ctrl-C, the next run writes the rest: every passage is there once.

    Ctrl-C, which reaches the readers too, ends with a line that tells what was written.
    """
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(FILES):
        lines = (f"Line {line} of file {number}: {'word ' * 12}" for line in range(LINES))
        (folder / f"{number:03}.txt").write_text("\n".join(lines))
    uri = ["--uri", str(tmp_path / "killed.db")]
    arguments = ["ingest", str(folder), *uri, "--chunk-size", "100", "--chunk-overlap", "0"]
    killed = run_alone(SIGNALLED.replace("SIG]", "SIGKILL]"), *arguments)
    assert killed.returncode == -signal.SIGKILL
    interrupted = run_alone(SIGNALLED.replace("SIG]", "SIGINT]"), *arguments)
    assert interrupted.returncode == 128 + signal.SIGINT
    assert re.fullmatch(r"Interrupted\. \d+ passages were written.*\n", interrupted.stderr)
    second, third = (report(*arguments) for _ in range(2))
    assert second["written"] < FILES * LINES
    assert third["unchanged"] == FILES
    assert third["converted"] == third["written"] == 0
    assert report("info", *uri)["entities"] == FILES * LINES


def test_a_full_disk_is_told_in_one_line(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    """What Milvus Lite logs of it stays out of the output; the line says what to do."""
    (folder / "long.txt").write_text("\n".join(f"Line {n}: {'word ' * 12}" for n in range(3_000)))
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1));"
    ended = run_alone(full, "ingest", str(folder), MILVUS_TOOLS_URI=str(tmp_path / "full.db"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert "too large" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert str(tmp_path) not in ended.stderr


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_hybrid_collection_is_searched_by_words(report: Report, folder: pathlib.Path) -> None:
    """What `--hybrid` made is found by a word that the embedding model does not know."""
    (folder / "code.txt").write_text("The part has the number XQ7-3391.")
    report("ingest", folder, "--hybrid")
    assert report("info")["indexes"]["sparse"].endswith("BM25")
    [answer] = report("search", "XQ7-3391", "-k", 1, "--filter", "passages>=1")
    assert [one["metadata"]["title"] for one in answer["results"]] == ["code"]


def test_a_collection_without_words_is_not_made_hybrid(
    run: Run, report: Report, folder: pathlib.Path, backend: str
) -> None:
    """An old server, and a collection that exists, refuse `--hybrid` in one line."""
    if backend == "lite":
        report("ingest", folder / "plain.txt")
    code, _, errors = run("ingest", folder, "--hybrid")
    assert code == 1
    assert ("for a new one" if backend == "lite" else "need Milvus 2.5") in errors
    assert errors.count("\n") == 1
