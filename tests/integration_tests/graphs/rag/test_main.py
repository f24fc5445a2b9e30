"""`python -m graphs.rag` and the evaluation, run as a user runs them."""

import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.helpers.openai_clients import KEY
from tests.helpers.openai_service import CHAT, OpenAIService
from tests.helpers.programs import (
    ROOT,
    Finished,
    complaint_of,
    output_of,
    run_here,
    start_python,
)
from tests.helpers.rag_graph import PlayedModel, plan, reflection

QUESTION = "Who directed the film that was shot in or around Leland, North Carolina in 1986"


def answer(*arguments: str, **environment: str) -> Finished:
    """Run the graph's command here."""
    return run_here("-m", "graphs.rag", *arguments, **environment)


def evaluate(*arguments: str, **environment: str) -> Finished:
    """Run the evaluation here."""
    return run_here("examples/evaluate.py", *arguments, **environment)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that the tests share, so that the paragraphs are loaded once."""
    return str(tmp_path_factory.mktemp("cli") / "wikipedia.db")


def test_one_command_answers_from_two_sources() -> None:
    """Without key, server or file, it shows the sub-questions, the answer and its sources."""
    printed = output_of(start_python("-m", "graphs.rag", QUESTION))
    assert "Round 2" in printed
    assert "Maximum Overdrive directed film → Maximum Overdrive" in printed
    assert "quoted by rule; whether they answer it is not checked:" in " ".join(printed.split())
    assert "directed by Stephen King. [" in " ".join(printed.split())
    sources = printed.rpartition("Sources\n")[2]
    assert "Leland, North Carolina (p0035)" in sources
    assert "Maximum Overdrive (p0030)" in sources


def test_the_same_command_takes_a_model(file: str) -> None:
    """With an address in the environment and a model named, that model plans and answers."""
    model = PlayedModel(
        [plan("Which film was shot around Leland?", ("Who directed #1?", [1]))],
        [reflection(answers={2: "Maximum Overdrive"}), reflection(answerable=True)],
        ["Stephen King [1]."],
    )
    with OpenAIService(model) as service:
        environment = {"OPENAI_BASE_URL": service.base_url, "OPENAI_API_KEY": KEY}
        options = ["--model", "openai:scripted", "--db", file, "--k", "5"]
        printed = output_of(start_python("-m", "graphs.rag", QUESTION, *options, **environment))
    assert "Who directed Maximum Overdrive? → Maximum Overdrive" in printed
    assert "\nStephen King [1].\n" in printed
    assert "Sources\n[1] " in printed
    assert service.requests[CHAT] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "ValueError: The question is empty."),
        ([QUESTION, "--k", "0"], "ValueError: k: "),
        ([QUESTION, "--model", "nobody:x"], "ValueError: "),
        ([QUESTION, "--rounds", "9", "--db", "no/such/folder.db"], "ValueError: max_rounds: "),
    ],
)
def test_what_is_wrong_is_said_in_a_line(file: str, arguments: list[str], said: str) -> None:
    """No traceback, and an exit code."""
    printed = complaint_of(answer("--db", file, *arguments))
    assert printed.startswith(said)
    assert "Traceback" not in printed


def test_options_say_what_they_mean() -> None:
    """With their defaults, and what there is to choose from."""
    help_ = " ".join(output_of(answer("--help")).split())
    for said in (
        "rounds of searches (default: 2 by rule, 3 with a model)",
        "{json_schema,function_calling,json_mode}",
    ):
        assert said in help_


def test_an_error_stands_on_a_line_of_its_own(file: str) -> None:
    """Earlier output ends first, even if both streams are one file."""
    command = [sys.executable, "-m", "graphs.rag", " ", "--db", file]
    printed = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    assert "\nValueError: The question is empty." in printed


def test_a_model_that_fails_ends_the_command(file: str) -> None:
    """It does not go on by rule, and shows no key."""
    with OpenAIService() as service:
        service.fail_next(9, 401)
        environment = {"OPENAI_BASE_URL": service.base_url, "OPENAI_API_KEY": KEY}
        options = ["--model", "openai:scripted", "--db", file]
        printed = complaint_of(start_python("-m", "graphs.rag", QUESTION, *options, **environment))
    assert "by rule" not in printed
    assert KEY not in printed


def rows(text: str) -> dict[str, list[str]]:
    """Read the lines of a Markdown table by their first column."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {name: values for name, *values in (line.strip("| ").split(" | ") for line in lines)}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The evaluation of a few questions: what it printed, and where its files are."""
    folder = tmp_path_factory.mktemp("evaluated")
    arguments = ("--questions", "12", "--only", "hybrid", "--out", str(folder))
    printed = output_of(evaluate(*arguments))
    return printed, folder


def test_the_evaluation_compares_ways_and_parts(evaluated: Any) -> None:
    """A line for each, in percent, with intervals; the graph finds more than one query."""
    printed, folder = evaluated
    table = rows(printed)
    ways = {"single query", "RM3", "50 hits by links", "graph"}
    assert {f"{way}, hybrid" for way in ways} <= table.keys()
    gain, searches = table["graph, hybrid"][-3:-1]
    assert float(gain.split()[0]) > 0
    assert 1 < float(searches) <= 9
    assert table["single query, hybrid"][-3:-1] == ["", "1.0"]
    assert "the figures of these sets are optimistic" in printed
    assert sum(name.startswith("graph, hybrid: ") for name in table) >= 3
    assert float(table["graph, hybrid"][0].split()[0]) > float(
        table["single query, hybrid"][0].split()[0]
    )
    assert (folder / "evaluation.md").read_text(encoding="utf-8").strip() == printed.strip()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--questions", "0"], 2, "at least 1"),
        (["--only", "zzz"], 1, "No way to search has 'zzz' in its name"),
        (["--answers", "--only", "zzz"], 1, "No way to answer has 'zzz' in its name"),
        (["--model", "openai:scripted"], 2, "give --answers too"),
    ],
)
def test_an_evaluation_of_nothing_is_refused(options: list[str], code: int, said: str) -> None:
    """No question, no way to search or to answer, or a model that nothing is asked of."""
    assert said in complaint_of(evaluate(*options), code)


def test_the_evaluation_draws_a_chart(evaluated: Any) -> None:
    """As a picture."""
    _, folder = evaluated
    assert (folder / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_the_evaluation_measures_answers_by_rule_and_by_a_model(tmp_path: pathlib.Path) -> None:
    """The rules quote, and never deny what was found; this model's answer is right, and cites."""
    gold = {"question": "If Gallu is a demon Lilu is what?", "answer": "A spirit [1]."}
    model = PlayedModel([plan()], [reflection(answerable=True)], [gold["answer"]])
    with OpenAIService(model) as service:
        finished = start_python(
            *(
                "examples/evaluate.py",
                "--answers",
                "--questions",
                "1",
                "--only",
                ", hybrid",
                "--out",
                str(tmp_path),
            ),
            *("--model", "openai:scripted"),
            OPENAI_BASE_URL=service.base_url,
            OPENAI_API_KEY=KEY,
        )
    printed = output_of(finished)
    table = rows(printed)
    means = {name: [cell.partition(" ")[0] for cell in cells] for name, cells in table.items()}
    in_it, exact, f1, *_, absent = means["openai:scripted, hybrid"]
    assert (in_it, exact, f1, absent) == ("100", "100", "100", "100")
    in_it, exact, f1, citing, supported, denied, _ = means["by rule, hybrid"]
    assert (in_it, exact, citing, supported, denied) == ("100", "0", "100", "100", "0")
    assert 0 < int(f1) < 50
    assert gold["question"] in str(model.messages)
    assert "the figures of these sets are optimistic" in printed
    assert (tmp_path / "answers.md").read_text(encoding="utf-8").strip() == printed.strip()
