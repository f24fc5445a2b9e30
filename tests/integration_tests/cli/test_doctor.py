"""`doctor`, `ask` and `serve-mcp`: what works, and what to do about what does not."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusStore
from tests.integration_tests.cli.conftest import Run

Report = Callable[..., Any]


def findings(told: list[dict[str, Any]]) -> dict[str, tuple[bool, str]]:
    """Return whether each check is well, and the advice."""
    return {one["check"]: (one["ok"], one["advice"]) for one in told}


def test_a_store_that_works_is_well(report: Report, tmp_path: pathlib.Path) -> None:
    """The connection and the collection are checked, whether it exists or not."""
    for _ in range(2):
        told = findings(report("doctor"))
        assert told["connection"] == told["collection"] == (True, "")
        (tmp_path / "a.txt").write_text("A text.")
        report("ingest", tmp_path / "a.txt")


def test_another_dimension_is_told(
    report: Report, make_store: Callable[..., MilvusStore], collection_name: str
) -> None:
    """A collection that another model wrote does not fit, and the advice names the variable."""
    make_store(collection_name=collection_name).add_texts(["a"])
    ok, advice = findings(report("doctor", code=1))["connection"]
    assert not ok
    assert "MILVUS_TOOLS_EMBEDDINGS" in advice


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_server_that_is_down_is_told(report: Report) -> None:
    """The advice names the variable with the address."""
    ok, advice = findings(report("doctor", "--uri", "http://127.0.0.1:9", code=1))["connection"]
    assert not ok
    assert "MILVUS_TOOLS_URI" in advice


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_a_question_is_answered_from_the_files(report: Report, tmp_path: pathlib.Path) -> None:
    """In a clone, `ask` answers from the collection and cites the file."""
    (tmp_path / "kite.txt").write_text("The red kite was first described by Linnaeus in 1758.")
    report("ingest", tmp_path / "kite.txt")
    told = report("ask", "Who first described the red kite?")
    assert "Linnaeus" in told["answer"]
    assert [one["metadata"]["title"] for one in told["documents"]] == ["kite"]


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "module", "said"),
    [
        (["ask", "x"], "graphs.rag.graph", "clone it"),
        (["serve-mcp"], "milvus_tools.mcp", "milvus_tools[mcp]"),
    ],
)
def test_what_is_missing_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], module: str, said: str
) -> None:
    """Without the graphs, or the extra, the error is a line that says how to get them."""
    # What Python does for a module that can't be found.
    monkeypatch.setitem(sys.modules, module, None)
    code, _, errors = run(*arguments)
    assert (code, errors.count("\n")) == (1, 1)
    assert said in errors
