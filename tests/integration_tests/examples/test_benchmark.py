"""The benchmark runs with small sizes, and its output is true; no figure is looked at."""

import dataclasses
import os
import pathlib
import re
import sys

import benchmark
import matplotlib.image
import pytest
from benchmarking.chart import draw
from benchmarking.comparing import OURS, PEER, Case, Measured
from benchmarking.report import Results
from benchmarking.scenarios import TITLES
from benchmarking.scenarios.calls import RAW
from benchmarking.scenarios.queries import CLASSIC, CLASSIC_ON_OURS

from tests.helpers.programs import ROOT, start_python


def run_benchmark(*arguments: str) -> str:
    """Run it as a user would, warnings being errors; return what it prints."""
    finished = start_python("examples/benchmark.py", *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@dataclasses.dataclass(frozen=True)
class Output:
    """The files and the text of a run."""

    folder: pathlib.Path
    printed: str

    def cells(self, scenario: str) -> dict[tuple[str, str], str]:
        """Return the cell of each case and side of a scenario."""
        cells = {}
        title = ""
        for line in self.printed.partition("## All cases")[2].splitlines():
            case, side, cell = cells_of(line) if line.startswith("|") else ("", "", "")
            if case.startswith("**"):
                title = case.strip("*")
            elif side and title == TITLES[scenario]:
                cells[case, side] = cell
        return cells


def cells_of(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def requests(cell: str) -> tuple[int, int]:
    """Return the requests to the embedding service and to Milvus that a cell tells."""
    found = re.search(r"· embedding (\d+), Milvus (\d+)$", cell)
    assert found, cell
    return int(found[1]), int(found[2])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """A run of every scenario on Milvus Lite."""
    folder = tmp_path_factory.mktemp("benchmark")
    arguments = [*TITLES, "--fast", "--backend", "lite", "--out", str(folder)]
    return Output(folder, run_benchmark(*arguments))


def call_benchmark(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run it in this process, where all is imported already: it is to measure nothing."""
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    benchmark.main()


def test_every_scenario_runs(
    output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """All that are listed have cases, and each case has a figure or a problem for each side."""
    call_benchmark(monkeypatch, "--list")
    titles = dict([line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()])
    assert titles == TITLES
    for scenario in titles:
        assert len(output.cells(scenario)) > 1
        assert all(output.cells(scenario).values())


def test_a_million_vectors_are_measured_only_if_named(monkeypatch: pytest.MonkeyPatch):
    """All other scenarios run by default."""
    monkeypatch.setattr(sys, "argv", ["benchmark.py"])
    assert [*benchmark.parsed().scenarios, "scale"] == [*TITLES]


def test_recall_is_measured_and_rows_are_counted(output: Output):
    """FLAT finds what NumPy finds, with a filter too; and a tenth of the rows is deleted."""
    cells = {case: cell for (case, _), cell in output.cells("scale").items()}
    exact = [cell for case, cell in cells.items() if re.fullmatch(r"FLAT.*: \d at once", case)]
    assert len(exact) == 4
    assert all(cell.endswith(", recall@10 1") for cell in exact), exact
    assert "· deleted 100, " in cells["delete 100 of 1000 rows"]


def test_the_answers_of_both_sides_are_equal(output: Output):
    """Nothing fails and no answer differs, but for the traps T10 (lost adds) and T47 (queries)."""
    problems = {
        (scenario, side): cell
        for scenario in TITLES
        for (_, side), cell in output.cells(scenario).items()
        if not re.match(r"\d[\d.]* (ms|s|MB)\b", cell)
    }
    classic = [("retriever", CLASSIC), ("retriever", CLASSIC_ON_OURS)]
    assert list(problems) == [("adds", PEER), *classic]
    lost = r"fails: \d of 5 calls .*, \d of 5 documents are there"
    assert re.fullmatch(lost, problems["adds", PEER])


def test_requests_are_counted(output: Output):
    """Searches at the same time are embedded in one request by ours, in one each by the peer."""
    counted = {key: requests(cell) for key, cell in output.cells("searches").items()}
    assert counted == {
        (f"{count} at once", side): expected
        for count in (1, 2, 5, 20)
        for side, expected in ((PEER, (count, count)), (OURS, (1, 1)))
    }


def test_r37_the_search_of_each_tenant_is_a_request(output: Output):
    """Milvus takes one filter per request, from ours as from pymilvus."""
    sent = {key: cell.rpartition("Milvus ")[2] for key, cell in output.cells("tenants").items()}
    assert sent == {
        (f"{count} tenants at once", side): str(count) for count in (2, 5) for side in (RAW, OURS)
    }


def test_the_report_is_markdown(output: Output):
    """Its tables are whole, and what is printed is what is saved."""
    lines = [cells_of(line) for line in output.printed.splitlines() if line.startswith("|")]
    heads = [number for number, cells in enumerate(lines) if set("".join(cells)) <= set("- ")]
    assert len(heads) == 2
    for start, end in zip(heads, [*heads[1:], len(lines) + 1], strict=True):
        assert {len(cells) for cells in lines[start - 1 : end - 1]} == {len(lines[start])}
    assert (output.folder / "benchmark.md").read_text(encoding="utf-8") in output.printed


def test_the_report_says_what_it_measured(output: Output):
    """Versions and cores, what is left out, and no path of the machine."""
    assert "## What is left out" in output.printed
    assert re.search(
        r"^- packages: milvus_tools \S+, langchain-milvus \S+,", output.printed, re.MULTILINE
    )
    assert f"- cores: {os.cpu_count()}\n" in output.printed
    for path in (str(ROOT), str(output.folder), str(pathlib.Path.home())):
        assert path not in output.printed


def test_one_chart_shows_several_backends(output: Output, tmp_path: pathlib.Path):
    """It has a panel for each."""
    alone = matplotlib.image.imread(output.folder / "benchmark.png")
    measured = (Measured(PEER, (1.0,)), Measured(OURS, (0.1,)))
    results = Results("Lite", {}, [Case("a job", measured, headline="a job")])
    draw([results, dataclasses.replace(results, backend="server")], tmp_path / "both.png")
    both = matplotlib.image.imread(tmp_path / "both.png")
    assert both.shape[1] == pytest.approx(2 * alone.shape[1], abs=2)
    assert (alone[0, 0, :3] == 1).all()  # a light ground
    assert alone.std() > 0


@pytest.mark.server
def test_it_measures_a_server_that_runs(server_uri: str, tmp_path: pathlib.Path):
    """Scenarios are chosen by name; there langchain-milvus loses no add, and the answers agree."""
    names = ["adds", "lone"]
    where = ["--backend", "server", "--uri", server_uri]
    output = Output(tmp_path, run_benchmark(*names, "--fast", *where, "--out", str(tmp_path)))
    assert [len(output.cells(name)) for name in TITLES] == [
        {"adds": 2, "lone": 3}.get(name, 0) for name in TITLES
    ]
    figures = [cell for name in names for cell in output.cells(name).values()]
    assert all(re.match(r"\d[\d.]* (ms|s)\b", cell) for cell in figures), figures
    assert server_uri not in output.printed


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
