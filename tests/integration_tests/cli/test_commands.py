"""The other commands, and what goes wrong: one line, and an exit code."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration_tests.cli.conftest import Run

Report = Callable[..., Any]


@pytest.fixture
def loaded(report: Report, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that is in the collection: a file of a kite, and one of a hostile text."""
    folder = tmp_path / "loaded"
    folder.mkdir()
    (folder / "kite.md").write_text("# Kites\n\nA red kite soars.")
    (folder / "evil.txt").write_text("evil \x1b[2J\u202e text\x07")
    report("ingest", folder)
    return folder


def test_search_shows_text_and_place(run: Run, loaded: pathlib.Path) -> None:
    """A result has its source, its headings, its score and its text."""
    code, output, _ = run("search", "kite", "-k", 1)
    first, _, text, *_ = output.splitlines()
    assert code == 0
    assert first.startswith(f"1. {loaded / 'kite.md'} · Kites (")
    assert text.strip() in {"", "A red kite soars."}


def test_control_characters_of_a_text_are_written_out(run: Run, loaded: pathlib.Path) -> None:
    """A text can't clear the screen, ring, or turn a line around."""
    _, output, _ = run("search", "evil text", "-k", 1)
    assert "\\u001b[2J\\u202e text\\u0007" in output
    assert not {"\x1b", "\x07", "\u202e"} & set(output)


def test_filters_narrow_a_search(report: Report, loaded: pathlib.Path) -> None:
    """All filters must hold; dates and titles can be compared."""
    args = ("search", "text", "--filter")
    [found] = report(*args, "title=Kites", "--filter", "modified>=2020-01-01")
    assert [one["metadata"]["title"] for one in found["results"]] == ["Kites"]
    assert report(*args, "modified<2020-01-01")[0]["results"] == []


def test_several_queries_are_answered_in_order(run: Run, loaded: pathlib.Path) -> None:
    """Each query has a heading of its own."""
    _, output, _ = run("search", "kite", "evil", "-k", 1)
    assert [line for line in output.splitlines() if line.startswith("==")] == [
        "== kite",
        "== evil",
    ]


def test_info_describes_the_collection(
    report: Report, loaded: pathlib.Path, collection_name: str, backend: str
) -> None:
    """The collections, the fields, the count and the backend are told."""
    told = report("info")
    assert collection_name in told["collections"]
    assert told["entities"] == 2
    assert told["fields"]["vector"] == "FLOAT_VECTOR(256)"
    assert told["backend"].startswith("Milvus Lite" if backend == "lite" else "Milvus v2.3.5")


def test_delete_shows_the_count_and_asks(run: Run, report: Report, loaded: pathlib.Path) -> None:
    """Without a terminal, and without --yes, nothing is deleted."""
    code, _, errors = run("delete", "--filter", "title=Kites")
    assert (code, errors) == (1, "Error: Deleting without a terminal needs --yes.\n")
    assert report("delete", "--filter", "title=Kites", "--yes") == {"deleted": 1}
    assert report("info")["entities"] == 1


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


def run_alone(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    code = "import sys; from milvus_tools.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd()), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_server_that_is_down_is_told_without_its_address_or_token() -> None:
    """The error is one line, in which no secret is; --verbose adds where, but no secret either."""
    variables = {
        "MILVUS_TOOLS_URI": "http://127.0.0.1:9",
        "MILVUS_TOOLS_TOKEN": "root:verysecret",
    }
    quiet = run_alone("info", **variables)
    assert (quiet.returncode, quiet.stdout) == (1, "")
    assert quiet.stderr.startswith("Error: ")
    assert quiet.stderr.count("\n") == 1
    loud = run_alone("info", "--verbose", **variables)
    assert "Traceback" in loud.stderr
    for secret in ("verysecret", "127.0.0.1"):
        assert secret not in quiet.stderr
    assert "verysecret" not in loud.stderr


def test_output_without_a_terminal_has_no_control_characters(tmp_path: pathlib.Path) -> None:
    """Neither text nor progress writes any, not even if colours are asked for."""
    (tmp_path / "a.md").write_text("# A\n\ntext")
    uri = str(tmp_path / "own.db")
    for arguments in (["ingest", str(tmp_path), "--include", "*.md"], ["--help"], ["search", "a"]):
        ended = run_alone(*arguments, MILVUS_TOOLS_URI=uri, FORCE_COLOR="1")
        assert ended.returncode == 0, ended.stderr
        assert (ended.stdout + ended.stderr).replace("\n", "").isprintable()


def test_the_extra_is_named_if_it_is_missing(tmp_path: pathlib.Path) -> None:
    """Without Typer, the command says what to install."""
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('none', name='typer')")
    path = os.pathsep.join([str(tmp_path), str(pathlib.Path.cwd())])
    ended = run_alone("--help", PYTHONPATH=path)
    assert ended.returncode == 1
    assert ended.stderr == 'typer is missing. Run: pip install "milvus_tools[cli]"\n'


def test_each_command_has_help() -> None:
    """`--help` tells what each command needs."""
    whole = run_alone("--help").stdout
    for name in ("ingest", "search", "info", "delete", "ask", "doctor", "serve-mcp"):
        assert f"  {name}  " in whole
        assert "Usage: milvus-tools " + name in run_alone(name, "--help").stdout


def test_json_is_one_line_for_each_command(run: Run, loaded: pathlib.Path) -> None:
    """A machine reads the output as it stands."""
    for arguments in (["info"], ["search", "a"], ["ingest", str(loaded), "--dry-run"]):
        _, output, _ = run(*arguments, "--json")
        assert output.count("\n") == 1
        json.loads(output)
