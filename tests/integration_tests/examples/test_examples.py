"""Every example and every block of the pages runs, and prints what the pages say."""

import ast
import asyncio
import functools
import importlib.util
import inspect
import itertools
import json
import os
import pathlib
import pty
import re
import shlex
import subprocess
import tomllib
import types
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from graphs import served
from graphs.rag import graph
from milvus_tools.cli import main as milvus_tools_command
from tests.helpers.openai_answers import Reply, ToolCall
from tests.helpers.openai_service import OpenAIService
from tests.helpers.programs import ROOT, complaint_of, output_of, run_here, start_python

EVALUATE = str(ROOT / "examples" / "evaluate.py")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("*.md", ".github/*.md", "graphs/**/*.md", "examples/**/*.md", "tests/*.md")
    for path in sorted(ROOT.glob(pattern))
}
README, GRAPHS, EXAMPLES = (
    PAGES[name] for name in ("README.md", "graphs/README.md", "examples/README.md")
)
_BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
_MEASURED = re.compile(r"\d+\.\d s|(?<=requests to Milvus: )\d+")


def run_example(
    name: str,
    folder: pathlib.Path,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    **environment: str,
) -> str:
    """Run an example as a user would, and return what it prints."""
    script = str(ROOT / "examples" / name)
    return output_of(start_python(script, *arguments, cwd=folder, stdin=stdin, **environment))


def block_after(marker: str, page: str = README) -> str:
    """Return the fenced block of a page that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found is not None, marker
    return found[1]


def test_the_quickstart_prints_what_the_readme_shows(tmp_path: pathlib.Path) -> None:
    """The README's output is the quickstart's own, but for what was measured."""
    printed = run_example("quickstart.py", tmp_path)

    shown = block_after("output of examples/quickstart.py")
    assert _MEASURED.sub("…", printed.strip()) == _MEASURED.sub("…", shown.strip())


def test_the_command_prints_what_the_readme_shows(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of the block prints what follows it, on a folder of two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "birds.md").write_text("# Birds\n\nA list.\n\n## Kites\n\nThey soar.")
    (tmp_path / "notes" / "owls.txt").write_text("The barn owl hunts at night.")
    shown = block_after("output of milvus-tools").replace("/home/ann", str(tmp_path))
    for command, output in re.findall(r"\$ milvus-tools (.*)\n((?:[^$].*\n)*)", shown):
        assert milvus_tools_command(shlex.split(command)) == 0
        printed, errors = capsys.readouterr()
        assert _MEASURED.sub("…", printed) == _MEASURED.sub("…", output)
        assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "decision", "left"),
    [([], "approve", 989), (["--yes"], "approve", 989), (["--no"], "reject", 994)],
)
def test_the_agent_deletes_what_was_approved(
    tmp_path: pathlib.Path, arguments: list[str], decision: str, left: int
) -> None:
    """The script's agent searches, corrects its mistake, asks, and follows the decision."""
    printed = output_of(run_here("examples/agent.py", *arguments, cwd=tmp_path))
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
    printed = output_of(run_here("examples/rag_chain.py", cwd=tmp_path))
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


SERVED = "chat over the SDK"
"""The block that `test_served_unconfigured.py` runs, as it needs a server."""


def blocks(page: str, kind: str, but: str = "") -> list[str]:
    """Return a page's blocks of a kind, without the one that follows a marker."""
    found = _BLOCK.findall(PAGES[page])
    return [text for marker, of, text in found if of == kind and (not but or marker != but)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_a_page_s_python_blocks_run(
    page: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks run one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    async def type_them() -> None:
        for block in blocks(page, "python", but=SERVED):
            code = compile(block, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            typed: Coroutine[Any, Any, None] | None = types.FunctionType(code, names)()
            if inspect.isawaitable(typed):
                await typed

    asyncio.run(type_them())


def test_each_block_is_of_a_kind_that_a_test_runs_or_compares() -> None:
    """Python and shell run; a text is some command's output; a drawing is the graph's."""
    outputs = ("examples/quickstart.py", "milvus-tools", "the graph")
    compared = {f"output of {name}": "text" for name in outputs}
    compared["mcp client"] = "json"  # which an agent starts, in tests of `milvus_tools.mcp`
    for page, text in PAGES.items():
        for marker, kind, _ in _BLOCK.findall(text):
            assert kind in ("python", "bash") or compared.get(marker, "mermaid") == kind, page


def commands() -> Iterator[str]:
    """Yield each command that a page tells the reader to type, in a block or in a sentence."""
    for page, text in PAGES.items():
        typed = "\n".join(blocks(page, "bash"))
        said = re.findall(r"`((?:pip|python3?|langgraph) [^`\n]+)`", _BLOCK.sub("", text))
        for line in [*typed.splitlines(), *said]:
            yield from re.split(r"\s+&&\s+", line.partition("  #")[0].strip())


def put_birds(folder: pathlib.Path, **paragraph: Any) -> None:
    """Write a small set of questions for the evaluation."""
    question = {"id": "q1", "question": "Who hunts?", "answer": "owls", "relevant_ids": ["p1"]}
    texts = [{"id": "p2", "title": "Kite", "text": "It glides."}, {"id": "p1", **paragraph}]
    for name, lines in {"questions": [question], "paragraphs": texts}.items():
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / f"birds_{name}.jsonl").write_text(text, encoding="utf-8")


def test_the_evaluation_measures_a_set_of_one_s_own(tmp_path: pathlib.Path) -> None:
    """It counts what is found, and the searches: RM3 takes two, ranking by links one."""
    put_birds(tmp_path, title="Owl", text="It hunts at night.")
    evaluate = functools.partial(run_here, EVALUATE, "--data", ".", cwd=tmp_path)
    printed = output_of(evaluate("--only", "hybrid"))
    assert printed.startswith("## birds: 1 questions, 2 paragraphs\n")
    assert printed == (tmp_path / "results" / "evaluation.md").read_text(encoding="utf-8") + "\n"
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    searches = {row[0].removeprefix("| "): row[-2] for row in rows}
    shares = {row[0].removeprefix("| "): row[1] for row in rows}
    assert searches["single query, hybrid"] == searches["50 hits by links, hybrid"] == "1.0"
    assert searches["RM3, hybrid"] == "2.0"
    assert shares["graph, hybrid"] == "100 (100 to 100)"
    answered = output_of(evaluate("--answers", "--only", "BM25"))
    assert answered.startswith("## birds\n\n| | right answer in it |")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "There is no folder 'nowhere'."),
        (["--data", "."], "birds_paragraphs.jsonl, line 2: title: Field required."),
    ],
)
def test_the_evaluation_names_what_a_set_lacks(
    tmp_path: pathlib.Path, arguments: list[str], sentence: str
) -> None:
    """In one line, and measures nothing."""
    put_birds(tmp_path, text="It hunts at night.")
    assert complaint_of(run_here(EVALUATE, *arguments, cwd=tmp_path)) == f"{sentence}\n"


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_page_s_commands_can_be_typed(
    command: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    """Extras, groups, files and arguments are there; what takes long is told to be short."""
    match shlex.split(command):
        case ["pip", *arguments] | ["python", "-m", "pip", *arguments]:
            require_installable(arguments)
        case ["python", "-m", "pytest", *arguments]:
            require_runnable(arguments, request.config)
        case ["python", *arguments] if {"graphs.rag", "examples/chat.py"} & {*arguments}:
            output_of(run_here(*arguments, "--help"))
        case ["python" | "python3", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", "examples/quickstart.py"]:
            pass  # what it prints is compared above
        case ["python", "examples/benchmark.py", *arguments]:
            listed = run_here("examples/benchmark.py", *arguments, "--list", cwd=tmp_path)
            assert "searches" in output_of(listed)
        case ["python", "examples/tutorial.py" | "examples/evaluate.py" as script, *arguments]:
            *short, row = shorter(script, arguments, tmp_path)
            assert row in output_of(run_here(script, *arguments, *short))
        case ["export" | "source", *arguments]:
            known = r"[A-Z_]+=\S+|\.venv/bin/activate"
            assert all(re.fullmatch(known, one) for one in arguments)
        case [tool, *arguments]:
            require_tool(tool, arguments)


def require_tool(tool: str, arguments: list[str]) -> None:
    """Demand that a tool is ours and takes the arguments, or that a group installs it."""
    if tool == "milvus-tools":
        assert milvus_tools_command([*arguments, "--help"]) == 0
    else:
        assert {tool, f"{tool}-cli"} & packages()


def shorter(script: str, arguments: list[str], folder: pathlib.Path) -> list[str]:
    """Return what makes a script short, and then a part of a row that it prints."""
    if pathlib.PurePath(script).name == "tutorial.py":
        return ["--requests", "2", "| `from_texts` | 2 |"]
    name = "by rule, dense" if "--answers" in arguments else "single query, dense"
    return ["--questions", "1", "--only", name, "--out", str(folder), f"| {name} |"]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages() -> set[str]:
    """Return the packages that the groups of pyproject.toml install."""
    required = itertools.chain.from_iterable(PROJECT["dependency-groups"].values())
    return {re.split(r"[^\w-]", one)[0] for one in required if isinstance(one, str)}


def require_installable(arguments: list[str]) -> None:
    """Demand that pyproject.toml has the extras, groups and packages that pip is told."""
    known = {*PROJECT["project"]["optional-dependencies"], *PROJECT["dependency-groups"]}
    known |= {*packages(), "pip", "inmem", "langsmith", "otel"}
    assert arguments.pop(0) == "install"
    named = [one for one in arguments if one not in ("-e", "-U", "--group")]
    assert named
    for one in named:
        assert set(re.findall(r"[a-z][\w-]*", one)) <= known, one


def require_runnable(arguments: list[str], config: pytest.Config) -> None:
    """Demand that pytest has the options and marks, and the repository the folders."""
    marks = {one.partition(":")[0] for one in config.getini("markers")}
    for option, value in itertools.pairwise([*arguments, ""]):
        if option.startswith("tests/"):
            assert (ROOT / option).is_dir()
        if option.startswith("-"):
            config.getoption(option)  # an error for one that it does not have
        if option == "-m":
            assert {*re.findall(r"\w+", value)} <= {*marks, "not", "and", "or"}


def test_the_graph_prints_what_its_page_shows() -> None:
    """The output has the lines that the page shows, in their order."""
    module, question = re.findall(r'python -m (\S+) "(.*)"', block_after("graph", GRAPHS))[0]
    printed = output_of(run_here("-m", module, question, COLUMNS="80"))
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    position = 0
    for shown in block_after("output of the graph", GRAPHS).strip().split("\n…\n"):
        position = lines.index(shown, position) + len(shown)


def the_graphs() -> dict[str, Any]:
    """Return the graphs as they are served, by their names; none of them runs."""
    return {
        "rag": graph,
        "agent": served._agent((), runs=False),
        "index": served._index((), runs=False),
    }


# As the page calls them, by what they do.
_MIDDLEWARE = {
    r"SummarizationMiddleware\2ebefore_model": "summarize",
    r"HumanInTheLoopMiddleware\2eafter_model": "approve",
}


@pytest.mark.parametrize("name", ["rag", "agent", "index"])
def test_each_graph_is_drawn_as_it_is(name: str) -> None:
    """The drawing on the page has the edges of the graph, and no others."""
    edge = re.compile(r"(\w+ -\.?-> \w+);")
    drawn = the_graphs()[name].get_graph().draw_mermaid()
    for node, called in _MIDDLEWARE.items():
        drawn = drawn.replace(node, called)
    assert sorted(edge.findall(block_after(f"drawing of {name}", GRAPHS))) == sorted(
        edge.findall(drawn)
    )


def test_all_graphs_that_are_served_are_drawn() -> None:
    """Those that `langgraph.json` names."""
    config = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    assert config["graphs"].keys() == the_graphs().keys()
    assert len(blocks("graphs/README.md", "mermaid")) == len(config["graphs"])


RESULTS = ROOT / "examples" / "results"


def table_after(marker: str) -> str:
    """Return the table on the examples' page that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n((?:\|.*\n)+)", EXAMPLES)
    assert found is not None, marker
    return found[1]


def test_the_shown_figures_are_those_of_the_benchmark() -> None:
    """The table stands in the report that is kept beside the examples."""
    kept = (RESULTS / "benchmark.md").read_text(encoding="utf-8")
    assert f"\n\n{table_after('figures of the benchmark')}\n" in kept


def test_the_readme_s_figures_are_those_of_the_table() -> None:
    """Both sides of both backends, as the table has them."""
    row = re.search(r"\| 100 searches \|(.*)\|\n", table_after("figures of the benchmark"))
    assert row is not None
    peer_lite, lite, peer, server = (cell.partition(" (")[0].strip() for cell in row[1].split("|"))
    sentence = (
        f"100 concurrent searches take {lite} on Milvus Lite and {server} on a server, "
        f"where langchain-milvus takes {peer_lite} and {peer} "
    )
    assert sentence in " ".join(README.split())


@pytest.mark.parametrize("marker", ["shares", "searches"])
def test_the_shown_shares_are_those_of_the_evaluation(marker: str) -> None:
    """Each line of the table stands in the results that are kept beside the examples."""
    kept = (RESULTS / "evaluation.md").read_text(encoding="utf-8").splitlines()
    _, _, *shown = table_after(marker).splitlines()
    assert len(shown) > 4
    assert set(shown) <= set(kept)


def test_the_readme_s_shares_are_those_of_the_evaluation() -> None:
    """Of one search and of the graph, on the three sets; of the first ten."""
    rows = [line.split("|") for line in table_after("shares").splitlines()]
    shares = {
        row[1].strip(): [cell.partition("/")[0].strip() for cell in row[2:-1:3]] for row in rows
    }
    once, graph = shares["single query, hybrid"], shares["graph, hybrid"]
    sentence = (
        f"in {graph[0]} % of 100 questions of HotpotQA, {graph[1]} % of 200 of MuSiQue and "
        f"{graph[2]} % of 164 of 2WikiMultihopQA, where one search finds them in {once[0]}, "
        f"{once[1]} and {once[2]} %"
    )
    assert sentence in " ".join(README.split())


def test_the_shown_figures_of_answers_are_those_of_the_evaluation() -> None:
    """The whole table stands in the results that are kept beside the examples."""
    kept = (RESULTS / "answers.md").read_text(encoding="utf-8")
    assert f"\n\n{table_after('answers')}\n" in kept


@pytest.mark.parametrize(
    ("marker", "page"), [("quickstart", README), ("tests", README), ("graph", GRAPHS)]
)
def test_there_is_one_command_for_each_job(marker: str, page: str) -> None:
    """One line sets up and shows the main job, one line sets up and passes the tests."""
    assert len(block_after(marker, page).strip().splitlines()) == 1


def test_the_readme_is_short() -> None:
    """It has 150 lines at most; the rest is on other pages."""
    assert len(README.splitlines()) <= 150


def links(page: str) -> Iterator[tuple[str, str]]:
    """Yield the page or file, and the anchor, that each relative link of a page leads to."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", PAGES[page])):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            to = (folder / path).resolve() if path else ROOT / page
            yield to.relative_to(ROOT).as_posix(), anchor


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", PAGES[page]), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_links_lead_somewhere(page: str) -> None:
    """The file is there, and so is the heading."""
    for target, anchor in links(page):
        assert (ROOT / target).exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_every_page_is_linked() -> None:
    """A reader who begins with the README can reach every page."""
    reached: set[str] = set()
    pending = {"README.md"}
    while pending:
        reached |= pending
        pending = {to for page in pending for to, _ in links(page) if to in PAGES} - reached
    assert reached == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_test_files_that_a_page_names_exist(page: str) -> None:
    """By their names, or with the last of their folders."""
    for name in re.findall(r"`((?:\w+/)*test_[\w*]+\.py)`", PAGES[page]):
        assert list((ROOT / "tests").rglob(name)), name


def test_every_example_is_run_by_a_test() -> None:
    """No example is left without a test."""
    tests = (ROOT / "tests").rglob("test_*.py")
    all_tests = "".join(path.read_text(encoding="utf-8") for path in tests)
    for example in (ROOT / "examples").glob("*.py"):
        assert f'"{example.name}"' in all_tests, example.name
