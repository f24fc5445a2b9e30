"""Every example and every block of the README runs, and prints what the README says."""

import ast
import asyncio
import inspect
import os
import pathlib
import pty
import re
import subprocess
import sys
import types
from collections.abc import Coroutine
from typing import Any

import pytest
from benchmarking.report import summary
from benchmarking.results import Results

from tests.helpers.openai_answers import Reply, ToolCall
from tests.helpers.openai_service import OpenAIService

ROOT = pathlib.Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_MEASURED = re.compile(r"\d+\.\d s|(?<=requests to Milvus: )\d+")


def run_example(
    name: str,
    folder: pathlib.Path,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    **environment: str,
) -> str:
    """Run an example as a user would, warnings being errors, and return what it prints."""
    script = ROOT / "examples" / name
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        stdin=stdin,
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
    """The README's output is the quickstart's own, but for what was measured."""
    printed = run_example("quickstart.py", tmp_path)

    shown = block_after("output of examples/quickstart.py")
    assert _MEASURED.sub("…", printed.strip()) == _MEASURED.sub("…", shown.strip())


@pytest.mark.parametrize(
    ("arguments", "decision", "left"),
    [([], "approve", 989), (["--yes"], "approve", 989), (["--no"], "reject", 994)],
)
def test_the_agent_deletes_what_was_approved(
    tmp_path: pathlib.Path, arguments: list[str], decision: str, left: int
) -> None:
    """The script's agent searches, mends its mistake, asks, and does as it is told."""
    printed = run_example("agent.py", tmp_path, *arguments)
    spoken = [line.strip() for line in printed.splitlines()]
    for line in (
        "tool answers  Demon Dice, Demon algorithm, Maha Sona",
        "'sentences'? Fix the arguments and try again.",
        "to approve    Delete where sentences is more than 13, in the collection wikipedia?",
        f"decision      {decision}",
        f"{left} paragraphs are left.",
    ):
        assert line in spoken, printed


def test_the_agent_asks_the_human_at_a_terminal(tmp_path: pathlib.Path) -> None:
    """Who types no is heard."""
    typing, terminal = pty.openpty()
    try:
        os.write(typing, b"no\n")
        printed = run_example("agent.py", tmp_path, stdin=terminal)
    finally:
        os.close(typing)
        os.close(terminal)
    assert "approve? [Y/n]" in printed
    assert "994 paragraphs are left." in printed


def test_the_agent_takes_a_model_of_one_s_own(tmp_path: pathlib.Path) -> None:
    """`--model` makes one of LangChain's; here an OpenAI-compatible service is behind it."""
    search = ToolCall("milvus_search", {"query": "a demon made of dice", "k": 1})
    delete = ToolCall("milvus_delete", {"ids": ["p0000"]})
    script = [Reply(tool_calls=[search]), "Demon Dice.", Reply(tool_calls=[delete]), "Done."]
    with OpenAIService(script) as service:
        environment = {"OPENAI_BASE_URL": service.base_url, "OPENAI_API_KEY": "any"}
        printed = run_example("agent.py", tmp_path, "--model", "openai:scripted", **environment)
        asked, *_ = service.chat_requests
    assert 'Delete where id is one of "p0000", in the collection wikipedia?' in printed
    assert "993 paragraphs are left." in printed
    assert asked["messages"][0]["role"] == "system"
    assert "It has 994 documents." in asked["messages"][0]["content"]


def test_the_chain_finds_by_its_second_query_what_answers(tmp_path: pathlib.Path) -> None:
    """Without a model, both queries are shown with what they found, and a sentence answers."""
    printed = run_example("rag_chain.py", tmp_path)
    spoken = [line.strip() for line in printed.splitlines()]
    assert "found     Carry On (franchise) (query 1 at 2, query 2 at 2)" in spoken
    assert "found     Carry On Cruising (query 2 at 3)" in spoken
    assert "Answer      Carry On (franchise): The Carry On franchise primarily" in printed


def test_the_chain_takes_a_model_of_one_s_own(tmp_path: pathlib.Path) -> None:
    """It makes the queries, and answers from what they found."""
    made = {"queries": ["Demon Dice collectible game"]}
    with OpenAIService([made, "Lester Smith and Tim Brown."]) as service:
        environment = {"OPENAI_BASE_URL": service.base_url, "OPENAI_API_KEY": "any"}
        arguments = ("Who made the game of demons?", "--model", "openai:scripted")
        printed = run_example("rag_chain.py", tmp_path, *arguments, **environment)
        _, answering = service.chat_requests
    assert "query 2   Demon Dice collectible game" in printed
    assert printed.strip().endswith("Answer      Lester Smith and Tim Brown.")
    assert "Demon Dice, originally published as" in answering["messages"][1]["content"]


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


def test_the_graph_prints_what_the_readme_shows(tmp_path: pathlib.Path) -> None:
    """What the README shows of its command's output comes in that order."""
    module, question = re.findall(r'python -m (\S+) "(.*)"', block_after("graph"))[0]
    command = [sys.executable, "-W", "error", "-m", module, question]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    printed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=240
    ).stdout
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    position = 0
    for shown in block_after("output of the graph").strip().split("\n…\n"):
        position = lines.index(shown, position) + len(shown)


RESULTS = ROOT / "examples" / "results"


def table_after(marker: str) -> str:
    """Return the README's table that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n((?:\|.*\n)+)", README)
    assert found is not None, marker
    return found[1]


def test_the_readme_s_figures_are_those_of_the_benchmark() -> None:
    """The table is made of the results that are kept beside the examples."""
    kept = [Results.load(RESULTS / f"benchmark-{one}.json") for one in ("lite", "server")]
    assert table_after("figures of the benchmark") == summary(kept)


def test_the_readme_s_shares_are_those_of_the_evaluation() -> None:
    """Each line of the table stands in the results that are kept beside the examples."""
    kept = (RESULTS / "evaluation.md").read_text(encoding="utf-8")
    by_name = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", kept, re.MULTILINE))
    shown = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", table_after("shares"), re.MULTILINE)
    assert len(shown) > 4
    assert {name: by_name[name] for name, _ in shown[2:]} == dict(shown[2:])


def test_the_readme_s_benchmarks_can_be_run(tmp_path: pathlib.Path) -> None:
    """What the README says to type is understood."""
    commands = re.findall(r"python examples/(benchmark\.py[^`]*)", README)
    assert commands
    for command in commands:
        name, *arguments = command.split()
        assert "searches" in run_example(name, tmp_path, *arguments, "--list")


@pytest.mark.parametrize("marker", ["quickstart", "tests", "graph"])
def test_the_readme_has_one_command_for_each_job(marker: str) -> None:
    """One line sets up and shows the main job, one line sets up and passes the tests."""
    assert len(block_after(marker).strip().splitlines()) == 1


def test_every_example_is_run_by_a_test() -> None:
    """No example is left without a test."""
    tests = (ROOT / "tests").rglob("test_*.py")
    all_tests = "".join(path.read_text(encoding="utf-8") for path in tests)
    for example in (ROOT / "examples").glob("*.py"):
        assert f'"{example.name}"' in all_tests, example.name
