"""The benchmark runs, small, and its output is true; no figure is looked at."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import benchmark
import matplotlib.image
import pytest
from benchmarking.results import OURS, PEER, Measured, Results
from benchmarking.scenarios.retrieving import CLASSIC, CLASSIC_ON_OURS

ROOT = pathlib.Path(__file__).parents[3]


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a user would, warnings being errors."""
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "benchmark.py"), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "agg"}
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert finished.returncode == 0, finished.stderr
    return finished


@dataclasses.dataclass(frozen=True)
class Output:
    """What a run left behind."""

    folder: pathlib.Path
    printed: str
    progress: str

    @property
    def results(self) -> Results:
        return Results.load(next(self.folder.glob("*.json")))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """A run of every scenario on Milvus Lite."""
    folder = tmp_path_factory.mktemp("benchmark")
    finished = run_benchmark("--fast", "--backend", "lite", "--out", str(folder))
    return Output(folder, finished.stdout, finished.stderr)


def call_benchmark(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run it in this process, where all is imported already: it is to measure nothing."""
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    benchmark.main()


def sides(results: Results, scenario: str) -> list[Measured]:
    """What became of the sides in a scenario."""
    return [one for case in results.cases if case.scenario == scenario for one in case.measured]


def table_lines(text: str) -> list[list[str]]:
    """The cells of each line of a table."""
    return [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]


def test_every_scenario_runs(
    output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """All that are listed have figures, and a part of the report."""
    call_benchmark(monkeypatch, "--list")
    titles = dict([line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()])
    assert list(dict.fromkeys(case.scenario for case in output.results.cases)) == list(titles)
    for title in titles.values():
        assert f"## {title}\n" in output.printed


def test_the_answers_of_both_sides_are_equal(output: Output):
    """Nothing fails and no answer differs, but for the traps T10 (lost adds) and T47 (queries)."""
    problems = [
        (case.scenario, one.side)
        for case in output.results.cases
        for one in case.measured
        if one.problem or not one.values
    ]
    classic = [("retriever", CLASSIC), ("retriever", CLASSIC_ON_OURS)]
    assert problems == [("adds", PEER), *classic]
    (lost, _) = sides(output.results, "adds")
    assert re.fullmatch(r"fails: \d of 5 calls .*, \d of 5 documents are there", lost.problem)


def test_requests_are_counted(output: Output):
    """Searches at the same time are embedded in one request by ours, in one each by the peer."""
    asked = [case for case in output.results.cases if case.scenario == "searches"]
    counted = {case.name: [one.counts["embedding"] for one in case.measured] for case in asked}
    assert counted == {f"{count} at once": [count, 1] for count in (1, 2, 5, 20)}
    assert all(case.of(OURS).counts["Milvus"] == 1 for case in asked)


def test_the_report_is_markdown(output: Output):
    """Its tables are whole, and what is printed is what is saved."""
    lines = table_lines(output.printed)
    assert len(lines) > len(output.results.cases)
    heads = [number for number, cells in enumerate(lines) if set("".join(cells)) <= set("- ")]
    for start, end in zip(heads, [*heads[1:], len(lines) + 1], strict=True):
        assert {len(cells) for cells in lines[start - 1 : end - 1]} == {len(lines[start])}
    assert (output.folder / "benchmark-lite.md").read_text(encoding="utf-8") in output.printed


def test_the_report_says_what_it_measured(output: Output):
    """Versions and cores, what is left out, and no path of the machine."""
    assert "## What is left out" in output.printed
    assert re.search(
        r"^- packages: milvus_tools \S+, langchain-milvus \S+,", output.printed, re.MULTILINE
    )
    assert f"- cores: {os.cpu_count()}\n" in output.printed
    for path in (str(ROOT), str(output.folder), str(pathlib.Path.home())):
        assert path not in output.printed


def test_one_chart_shows_several_backends(
    output: Output, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    """Drawn from saved results, it has a panel for each."""
    alone = matplotlib.image.imread(output.folder / "benchmark.png")
    other = dataclasses.replace(
        output.results, about={**output.results.about, "backend": "server"}
    )
    saved = [output.folder / "benchmark-lite.json", tmp_path / "other.json"]
    other.save(saved[1])
    call_benchmark(monkeypatch, "--draw", *map(str, saved), "--out", str(tmp_path))
    both = matplotlib.image.imread(tmp_path / "benchmark.png")
    assert both.shape[1] == pytest.approx(2 * alone.shape[1], abs=2)
    assert (alone[0, 0, :3] == 1).all()  # a light ground
    assert alone.std() > 0
    assert {path.name for path in tmp_path.glob("*.md")} == {
        *("benchmark.md", "benchmark-lite.md", "benchmark-server.md")
    }


@pytest.mark.server
def test_it_measures_a_server_that_runs(server_uri: str, tmp_path: pathlib.Path):
    """Scenarios are chosen by name; there langchain-milvus loses no add, and the answers agree."""
    names = ["adds", "lone"]
    where = ["--backend", "server", "--uri", server_uri]
    run_benchmark(*names, "--fast", *where, "--out", str(tmp_path))
    results = Results.load(tmp_path / "benchmark-server.json")
    assert [case.scenario for case in results.cases] == names
    assert [one.problem for case in results.cases for one in case.measured] == [""] * 5
    assert server_uri not in (tmp_path / "benchmark-server.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "no scenario is called nothing; --list lists them"),
        (["--repeat", "0"], "--repeat must be 1 or more"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """With a sentence, before anything is started."""
    with pytest.raises(SystemExit):
        call_benchmark(monkeypatch, *arguments)
    assert sentence in capsys.readouterr().err
