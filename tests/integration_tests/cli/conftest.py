"""The command, run in this process, on a collection of the test's own."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools.cli import main
from tests.helpers.sample_files import SAMPLES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    uri: str,
    collection_name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run `milvus-tools`, and return its exit code, its output and its errors."""
    monkeypatch.setenv("MILVUS_TOOLS_URI", uri)
    monkeypatch.setenv("MILVUS_TOOLS_COLLECTION", collection_name)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(map(str, arguments)))
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def report(run: Run) -> Callable[..., Any]:
    """Run a command with `--json`, and return what it says."""

    def report(*arguments: object, code: int = 0) -> Any:
        ended, output, errors = run(*arguments, "--json")
        assert ended == code, errors
        return json.loads(output)

    return report


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with a file of each format."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, content in SAMPLES.items():
        (folder / name).write_bytes(content)
    return folder
