"""The other commands, and what goes wrong: one line, and an exit code."""

import contextlib
import json
import os
import pathlib
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from milvus_tools.cli import main
from tests.conftest import new_name
from tests.helpers.support import raw_client
from tests.integration_tests.cli.conftest import Run

Report = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A file of a kite, and one of a hostile text."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "kite.md").write_text("# Kites\n\nA red kite soars.")
    (folder / "evil.txt").write_text("evil \x1b[2J\u202e text\x07")
    return folder


@pytest.fixture(scope="module")
def load_once(folder: pathlib.Path) -> Iterator[Callable[[str], str]]:
    """A function that loads the folder at an address, the first time, and names the collection."""
    names: dict[str, str] = {}

    def load_once(uri: str) -> str:
        if uri not in names:
            names[uri] = new_name()
            place = ["--uri", uri, "--collection", names[uri]]
            assert main(["ingest", str(folder), *place]) == 0
        return names[uri]

    yield load_once
    for uri, name in names.items():
        with contextlib.closing(raw_client(uri)) as client:
            client.drop_collection(name)


@pytest.fixture
def loaded(
    run: Run,
    uri: str,
    load_once: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The name of a collection that has the folder, which tests share: they only read."""
    name = load_once(uri)
    monkeypatch.setenv("MILVUS_TOOLS_COLLECTION", name)
    return name


@pytest.fixture
def own_loaded(report: Report, folder: pathlib.Path) -> None:
    """The folder in a collection of the test's own."""
    report("ingest", folder)


def test_search_shows_text_and_place(run: Run, loaded: str, folder: pathlib.Path) -> None:
    """A result has its source, its headings, its score and its text."""
    code, output, _ = run("search", "kite", "-k", 1)
    first, _, text, *_ = output.splitlines()
    assert code == 0
    assert first.startswith(f"1. {folder / 'kite.md'} · Kites (")
    assert text.strip() in {"", "A red kite soars."}


def test_control_characters_of_a_text_are_written_out(run: Run, loaded: str) -> None:
    """A text can't clear the screen, ring, or turn a line around."""
    _, output, _ = run("search", "evil text", "-k", 1)
    assert "\\u001b[2J\\u202e text\\u0007" in output
    assert not {"\x1b", "\x07", "\u202e"} & set(output)


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_name_is_one_line_without_control_characters(run: Run, tmp_path: pathlib.Path) -> None:
    """A line break and an escape in a name are written out; a name like an option is a name."""
    for name in ("two\nlines.txt", "red\x1b[31m.txt", "--prune"):
        (tmp_path / name).write_text("text")
    _, output, _ = run("ingest", tmp_path, "--dry-run", "--relative-to", tmp_path)
    assert output == "--prune\nred\\u001b[31m.txt\ntwo\\nlines.txt\n"


def test_filters_narrow_a_search(report: Report, loaded: str) -> None:
    """All filters must hold; dates and titles can be compared."""
    args = ("search", "text", "--filter")
    [found] = report(*args, "title=Kites", "--filter", "modified>=2020-01-01")
    assert [one["metadata"]["title"] for one in found["results"]] == ["Kites"]
    assert report(*args, "modified<2020-01-01")[0]["results"] == []


def test_several_queries_are_answered_in_order(run: Run, loaded: str) -> None:
    """Each query has a heading of its own."""
    _, output, _ = run("search", "kite", "evil", "-k", 1)
    assert [line for line in output.splitlines() if line.startswith("==")] == [
        "== kite",
        "== evil",
    ]


def test_info_describes_the_collection(report: Report, loaded: str, backend: str) -> None:
    """The collections, the fields, the count and the backend are told."""
    told = report("info")
    assert loaded in told["collections"]
    assert told["entities"] == 2
    assert told["fields"]["vector"] == "FLOAT_VECTOR(256)"
    assert told["backend"].startswith("Milvus Lite" if backend == "lite" else "Milvus v2.3.5")


def test_delete_shows_the_count_and_asks(run: Run, report: Report, own_loaded: None) -> None:
    """Without a terminal, and without --yes, nothing is deleted."""
    code, _, errors = run("delete", "--filter", "title=Kites")
    assert (code, errors) == (1, "Error: Deleting without a terminal needs --yes.\n")
    assert report("delete", "--filter", "title=Kites", "--yes") == {"deleted": 1}
    assert report("info")["entities"] == 1


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 2), ("y", 0, 1)])
def test_a_person_at_a_terminal_decides(
    run: Run,
    report: Report,
    own_loaded: None,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
    left: int,
) -> None:
    """The question has the count, and only yes deletes."""
    keyboard, terminal = pty.openpty()
    with os.fdopen(keyboard, "w") as typed, os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        typed.write(f"{answer}\n")
        typed.flush()
        ended, _, errors = run("delete", "--filter", "title=Kites")
    assert (ended, report("info")["entities"]) == (code, left)
    assert errors.startswith("Delete 1 entity? [y/N] ")


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["serch"], 2, "No such command"),
        (["search"], 2, "Missing argument"),
        (["search", "x", "-k", "0"], 2, "-k"),
        (["search", "x"], 1, "does not exist; load files"),
        (["search", "x", "--filter", "year"], 1, "operators are"),
        (["search", "x", "--uri", "missing.db"], 1, "no Milvus Lite file"),
        (["info", "--uri", "docs"], 1, "Set --uri, or MILVUS_TOOLS_URI."),
        (["info", "--uri", " "], 1, "Set --uri, or MILVUS_TOOLS_URI."),
        (["info", "--db-name", "typo"], 1, "Set --db-name, or MILVUS_TOOLS_DB_NAME."),
        (["search", "x", "--embeddings", "openai"], 1, "provider:model"),
        (["delete"], 1, "Name ids, or a filter"),
        (["ingest", "missing"], 1, "no file or folder 'missing'"),
        (["ingest", ".", "--exclude", "!"], 1, "pattern"),
        (["ingest", ".", "--tenant", "red"], 1, "field=value"),
        (["ingest", ".", "--chunk-overlap", "5000"], 2, "less than --chunk-size"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: list[str], code: int, said: str) -> None:
    """What is wrong is said in one line, with the exit code of an error or of wrong usage."""
    # The collection's file exists, so that only the named fault is one.
    run("info")
    ended, output, errors = run(*arguments)
    assert (ended, output) == (code, "")
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert said in errors
    assert "connection_args" not in errors


# Runs commands one after the other, and writes a line of the page-break character after each.
COMMANDS = """
import json, sys
from milvus_tools.cli import main
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    print(chr(12), end="")
    print(chr(12), end="", file=sys.stderr)
sys.exit(code)
"""


def run_alone(*commands: list[str], **variables: str) -> list[tuple[str, str]]:
    """Run commands in a process of their own, and return what each writes."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd()), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    written = zip(ended.stdout.split("\f"), ended.stderr.split("\f"), strict=True)
    return [*written][: len(commands)]


def test_a_server_that_is_down_is_told_without_its_address_or_token() -> None:
    """The error is one line, in which no secret is; --verbose adds where, but no secret either."""
    (output, quiet), (_, loud) = run_alone(
        ["info"],
        ["info", "--verbose"],
        MILVUS_TOOLS_URI="http://127.0.0.1:9",
        MILVUS_TOOLS_TOKEN="root:verysecret",
    )
    assert output == ""
    assert quiet.startswith("Error: ")
    assert quiet.count("\n") == 1
    assert "Check --uri, or MILVUS_TOOLS_URI," in quiet
    assert "Traceback" in loud
    for secret in ("verysecret", "127.0.0.1"):
        assert secret not in quiet
    assert "verysecret" not in loud


def test_output_without_a_terminal_has_no_control_characters(tmp_path: pathlib.Path) -> None:
    """Neither text nor progress writes any, not even if colours are asked for."""
    (tmp_path / "a.md").write_text("# A\n\ntext")
    uri = str(tmp_path / "own.db")
    ingest = ["ingest", str(tmp_path), "--include", "*.md"]
    for output, errors in run_alone(
        ["--help"], ingest, ["search", "a"], MILVUS_TOOLS_URI=uri, FORCE_COLOR="1"
    ):
        assert errors == ""
        assert output
        assert output.replace("\n", "").isprintable()


def test_the_extra_is_named_if_it_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Typer, the command says what to install."""
    monkeypatch.delitem(sys.modules, "milvus_tools.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, errors = run("--help")
    assert code == 1
    assert errors == 'typer is missing. Run: pip install "milvus_tools[cli]"\n'


def test_each_command_has_help(run: Run) -> None:
    """`--help` tells what each command needs."""
    _, whole, _ = run("--help")
    for name in ("ingest", "search", "info", "delete", "ask", "doctor", "serve-mcp"):
        assert f"  {name}  " in whole
        assert f"Usage: milvus-tools {name}" in run(name, "--help")[1]


def test_json_is_one_line_for_each_command(run: Run, loaded: str, folder: pathlib.Path) -> None:
    """A machine reads the output as it stands."""
    for arguments in (["info"], ["search", "a"], ["ingest", str(folder), "--dry-run"]):
        _, output, _ = run(*arguments, "--json")
        assert output.count("\n") == 1
        json.loads(output)
