"""Every example and every block of the README runs, and prints what the README says."""

import ast
import asyncio
import inspect
import os
import pathlib
import re
import subprocess
import sys
import types
from collections.abc import Coroutine
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_SECONDS = re.compile(r"\d+\.\d s")


def run_example(name: str, folder: pathlib.Path) -> str:
    """Run an example as a user would, warnings being errors, and return what it prints."""
    script = ROOT / "examples" / name
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def block_after(marker: str) -> str:
    """Return the README's fenced block that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, marker
    return found[1]


def test_the_quickstart_prints_what_the_readme_shows(tmp_path: pathlib.Path) -> None:
    """The README's output is the quickstart's own, but for the seconds it took."""
    printed = run_example("quickstart.py", tmp_path)

    shown = block_after("output of examples/quickstart.py")
    assert _SECONDS.sub("… s", printed.strip()) == _SECONDS.sub("… s", shown.strip())


def test_the_readme_s_python_blocks_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks run one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}

    async def type_them() -> None:
        for block in blocks:
            code = compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            typed: Coroutine[Any, Any, None] | None = types.FunctionType(code, names)()
            if inspect.isawaitable(typed):
                await typed

    assert len(blocks) >= 4
    asyncio.run(type_them())


@pytest.mark.parametrize("marker", ["quickstart", "tests"])
def test_the_readme_has_one_command_for_each_job(marker: str) -> None:
    """One line sets up and shows the main job, one line sets up and passes the tests."""
    assert len(block_after(marker).strip().splitlines()) == 1


def test_every_example_is_run_here() -> None:
    """No example is left without a test."""
    here = pathlib.Path(__file__).read_text(encoding="utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        assert f'run_example("{example.name}"' in here, example.name
