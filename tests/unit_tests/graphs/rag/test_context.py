"""The context of a run."""

import json
import pathlib
import tomllib
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from graphs.rag import Context, build_graph
from graphs.rag.graph import graph


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0),
        ("k", 101),
        ("k", "many"),
        ("max_passages", 51),
        ("max_chars", 99),
        ("max_subquestions", 0),
        ("max_subquestions", 33),
        ("max_rounds", 7),
        ("search_timeout", 0),
        ("search_timeout", float("nan")),
        ("search_timeout", float("inf")),
        ("retries", -1),
        ("model_timeout", 3_601),
        ("max_answer_chars", 99),
        ("structured_output", "prayer"),
        ("store", "http://127.0.0.1"),
        ("model", 5),
        ("planner", 5),
        ("answerer", ["openai:x"]),
        ("paraphrases", 6),
        ("filter", "year > 2000"),
        ("filter", {"field": "year"}),
        ("filter", [{"field": "year", "operator": "near", "value": 1}]),
        ("scope", {"tenant": ["a"]}),
        ("unknown", 1),
    ],
)
def test_every_value_has_a_bound(name: str, value: Any) -> None:
    """A wrong value is refused in a sentence that names it."""
    with pytest.raises(ValueError, match=rf"^{name}.*\.$"):
        Context(**{name: value})


def test_the_schema_is_for_callers_over_the_network() -> None:
    """Objects are not in it; numbers have their bounds."""
    schema = graph.get_context_jsonschema()
    assert schema is not None
    assert "store" not in schema["properties"] or schema["properties"]["store"] == {}
    assert schema["properties"]["k"]["maximum"] == 100


def test_a_run_s_context_leaves_open_what_the_graph_was_built_with() -> None:
    """Model and scope are the graph's where the run says nothing."""
    model = FakeListChatModel(responses=["a"])
    default = Context(model=model, scope={"tenant": "a"})
    both = Context(k=3, scope={"year": 1}).over(default)
    assert both.model is model
    assert both.k == 3
    assert both.scope == {"tenant": "a", "year": 1}


def test_a_run_can_t_leave_the_graph_s_scope() -> None:
    """Another value for a field that is fixed is refused."""
    with pytest.raises(ValueError, match="fixes tenant already"):
        Context(scope={"tenant": "b"}).over(Context(scope={"tenant": "a"}))


def test_a_run_s_context_leaves_open_what_the_graph_was_told() -> None:
    """Every setting, not only those of the store; what a run says itself counts."""
    default = Context(max_rounds=1, max_chars=500, structured_output="json_mode", k=5)
    run = Context(k=3, search_mode=None).over(default)
    assert (run.max_rounds, run.max_chars, run.structured_output) == (1, 500, "json_mode")
    assert run.k == 3
    assert Context(search_mode="dense").over(default).search_mode == "dense"


def test_a_run_lowers_the_graph_s_numbers_and_never_passes_them() -> None:
    """Those that the graph leaves open have the bounds of the schema alone."""
    run = Context(k=50, retries=0, search_timeout=600, max_chars=9_000).over(
        Context(k=5, retries=1, search_timeout=10)
    )
    assert (run.k, run.retries, run.search_timeout, run.max_chars) == (5, 0, 10, 9_000)


def test_a_run_gives_no_other_model_than_the_graph_s() -> None:
    """A model that the graph was built with is fixed; one that it leaves open is the run's."""
    with pytest.raises(ValueError, match="takes no other"):
        Context(model="openai:dear").over(Context(model="openai:cheap"))
    assert Context(model="openai:cheap").over(Context(model="openai:cheap"))
    assert Context(model="openai:dear").over(Context()).model == "openai:dear"


def test_input_output_and_context_have_schemas() -> None:
    """They tell a server's callers what to give and what comes back."""
    given, output = graph.get_input_jsonschema(), graph.get_output_jsonschema()
    assert given["properties"].keys() == {"question", "messages"}
    assert "required" not in given
    assert given["properties"]["question"]["type"] == "string"
    named = {"messages", "answer", "citations", "documents", "subquestions", "notes"}
    assert named <= output["properties"].keys()


def test_no_checkpointer_is_compiled_in() -> None:
    """The server, or the application, brings its own."""
    assert graph.checkpointer is None
    assert build_graph().checkpointer is None


def test_an_image_has_what_the_graph_imports() -> None:
    """An extra can't be named for a folder: its requirements are, as it has them."""
    root = pathlib.Path(__file__).parents[4]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = json.loads((root / "langgraph.json").read_text())["dependencies"]
    langchain, langgraph = extras["agents"]
    assert named == [".", langchain, *extras["local"]]
    assert langgraph.startswith("langgraph")  # which every image has


def test_the_drawing_has_the_steps() -> None:
    """Plan, retrieve, merge, reflect, answer, and back from reflect to retrieve."""
    drawn = graph.get_graph().draw_mermaid()
    for edge in ("plan -.-> retrieve", "retrieve --> merge", "reflect -.-> retrieve"):
        assert edge in drawn


def test_planner_and_answerer_may_differ() -> None:
    """Each counts for its part, and `model` for both."""
    both = Context(model="openai:both")
    assert (both.planning_model, both.answering_model) == ("openai:both", "openai:both")
    split = Context(model="openai:dear", planner="openai:cheap")
    assert (split.planning_model, split.answering_model) == ("openai:cheap", "openai:dear")


@pytest.mark.parametrize("name", ["planner", "answerer"])
def test_a_run_gives_no_other_planner_and_answerer_than_the_graph_s(name: str) -> None:
    """Neither beside the same of the graph, nor beside its model for both; else it may."""
    for fixed in ("model", name):
        with pytest.raises(ValueError, match="takes no other"):
            Context(**{name: "openai:dear"}).over(Context(**{fixed: "openai:cheap"}))
    assert getattr(Context(**{name: "openai:a"}).over(Context()), name) == "openai:a"


def test_a_run_s_model_leaves_the_graph_s_planner() -> None:
    """It is for what the graph leaves open."""
    run = Context(model="openai:dear").over(Context(planner="openai:cheap"))
    assert (run.planning_model, run.answering_model) == ("openai:cheap", "openai:dear")


RECENT = {"field": "year", "operator": "gte", "value": 2000}
TAGGED = {"any": [{"field": "tag", "operator": "eq", "value": tag} for tag in "ab"]}


@pytest.mark.parametrize(
    ("own", "graph_s", "both"),
    [
        (RECENT, None, RECENT),
        (None, [RECENT], [RECENT]),
        (RECENT, TAGGED, [TAGGED, RECENT]),
        ([RECENT, TAGGED], [RECENT], [{"all": [RECENT]}, {"all": [RECENT, TAGGED]}]),
    ],
)
def test_a_run_s_filter_holds_beside_the_graph_s(own: Any, graph_s: Any, both: Any) -> None:
    """A run narrows, and never widens."""
    run = Context(filter=own).over(Context(filter=graph_s))
    assert run.filter == both
    assert Context(filter=run.filter)


@pytest.mark.parametrize(
    ("given", "rounds"),
    [
        ({}, 2),
        ({"model": "openai:gpt"}, 3),
        ({"planner": "openai:gpt"}, 3),
        ({"answerer": "openai:gpt"}, 2),
        ({"max_rounds": 5}, 5),
        ({"max_rounds": 1, "model": "openai:gpt"}, 1),
    ],
)
def test_a_planner_has_a_round_more(given: Any, rounds: int) -> None:
    """Its steps may need the answers of earlier ones; a number that is given counts."""
    assert Context(**given).rounds == rounds
    assert Context(max_rounds=None).over(Context(**given)).rounds == rounds
    assert Context(**given).over(Context(max_rounds=None)).rounds == rounds
