"""The allow-list of keyword arguments, limits, and search parameters."""

import math
from typing import Any

import pytest
from pymilvus import Function, FunctionType, RRFRanker

from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.schema import Index
from milvus_tools.store import options as opts

RERANKER = Function("r", FunctionType.RERANK, ["x"], params={"reranker": "decay"})


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({}, opts.SEARCH),
        ({"consistency_level": "Strong", "offset": 3, "round_decimal": -1}, opts.SEARCH),
        ({"group_by_field": "f", "group_size": 2, "strict_group_size": True}, opts.SEARCH),
        ({"fetch_k": 50, "ranker_type": "rrf", "ranker_params": {"k": 1}}, opts.SEARCH),
        ({"reranker": RRFRanker(), "ignore_growing": False}, opts.SEARCH),
        ({"reranker": RERANKER}, opts.SEARCH),
        ({"offset": 1, "consistency_level": "Bounded"}, opts.QUERY),
        ({"consistency_level": "Eventually"}, opts.COUNT),
    ],
)
def test_known_arguments_pass(given: dict[str, Any], known: Any) -> None:
    """Arguments on the list pass unchanged, in a scope too."""
    assert opts.allowed(given, known, partition=None) == given
    assert opts.allowed(given, known, partition="partition_names") == given


@pytest.mark.parametrize(
    "name",
    [
        *("filter", "expr_params", "filter_params", "where", "collection_name", "anns_field"),
        *("ids", "search_params", "limit", "db_name", "data", "timezone"),
        *("search_iterator_v2", "guarantee_timestamp", "consistency_level ", "Offset", ""),
    ],
)
def test_unknown_arguments_are_refused(name: str) -> None:
    """No list has an argument that could carry a filter or a collection past the scope."""
    for known in (opts.SEARCH, opts.QUERY, opts.COUNT, {}):
        for partition in (None, "partition_names"):
            with pytest.raises(InvalidInputError, match="not known here"):
                opts.allowed({name: "x"}, known, partition=partition)


def test_a_refusal_says_what_there_is() -> None:
    """The error names the arguments that are taken, and where a filter belongs."""
    with pytest.raises(InvalidInputError, match="takes consistency_level, partition_names"):
        opts.allowed({"x": 1}, opts.COUNT, partition="partition_names")
    with pytest.raises(InvalidInputError, match="as filter"):
        opts.allowed({"where": "n == 1"}, opts.COUNT, partition=None)
    with pytest.raises(InvalidInputError, match="takes no others"):
        opts.allowed({"x": 1}, {}, partition=None)
    with pytest.raises(InvalidInputError, match=r"^offset must be int, not str\.$"):
        opts.allowed({"offset": "1"}, opts.QUERY, partition=None)
    with pytest.raises(InvalidInputError, match="must be Function or BaseRanker, not dict"):
        opts.allowed({"reranker": {}}, opts.SEARCH, partition=None)


def test_none_is_not_given() -> None:
    """An argument that is `None` is left out, whatever its name."""
    assert opts.allowed({"offset": None, "x": None}, opts.QUERY, partition=None) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("offset", value) for value in ("1", True, 1.0, [1])),
        *(("round_decimal", value) for value in (True, "2")),
        *(("ignore_growing", value) for value in (1, "yes")),
        *(("group_by_field", value) for value in (["f"], 1)),
        *(("consistency_level", value) for value in (1, ["Strong"], "strong", "", "\x00")),
        *(("ranker_params", value) for value in ([1], "k")),
        *(("reranker", value) for value in ("rrf", object())),
    ],
)
def test_arguments_of_other_types_are_refused(name: str, value: Any) -> None:
    """A known name does not let any value through."""
    with pytest.raises(InvalidInputError, match=name):
        opts.allowed({name: value}, opts.SEARCH, partition=None)


@pytest.mark.parametrize("name", ["partition_name", "partition_names"])
def test_partitions_are_outside_scopes_only(name: str) -> None:
    """In a scope no call names a partition; outside each call takes its own name of the two."""
    good = "x" if name == "partition_name" else ["x", "y"]
    with pytest.raises(ScopeError, match="inside a scope"):
        opts.allowed({name: good}, {}, partition=None)
    assert opts.allowed({name: good}, {}, partition=name) == {name: good}
    bad: list[Any] = [1, [1], {"x": 1}, ["x", None]]
    needed = "a string" if name == "partition_name" else "a list of strings"
    for value in bad:
        with pytest.raises(InvalidInputError, match=rf"^{name} must be {needed}\.$"):
            opts.allowed({name: value}, {}, partition=name)
    other = {"partition_name", "partition_names"} - {name}
    with pytest.raises(InvalidInputError, match="not known"):
        opts.allowed(dict.fromkeys(other, good), {}, partition=name)


def test_limits_are_those_of_milvus() -> None:
    """A limit is 1 to 16384, together with the offset."""
    assert opts.check_limit(1) == 1
    assert opts.check_limit(16_384) == 16_384
    assert opts.check_limit(16_380, 4) == 16_380
    bad: list[Any] = [0, -1, 16_385, 10**5000, True, 1.0, "1", None, math.nan, [1]]
    for value in bad:
        with pytest.raises(InvalidInputError, match="fetch_k must be"):
            opts.check_limit(value, name="fetch_k")
    for offset in [-1, True, 1.0, "1", None]:
        with pytest.raises(InvalidInputError, match="offset must be"):
            opts.check_limit(1, offset)
    with pytest.raises(InvalidInputError, match="together"):
        opts.check_limit(16_380, 5)


def test_search_parameters_know_the_index() -> None:
    """The metric is the index's, and what an index needs is there and large enough."""
    hnsw, flat = Index("L2", "HNSW"), Index("IP", "FLAT")
    assert opts.search_params(None, None, 4) == {"metric_type": "", "params": {}}
    assert opts.search_params(None, flat, 4) == {"metric_type": "IP", "params": {}}
    assert opts.search_params(None, hnsw, 4)["params"] == {"ef": 64}
    assert opts.search_params(None, hnsw, 200)["params"] == {"ef": 200}
    assert opts.search_params(None, Index("L2", "IVF_FLAT"), 200)["params"] == {"nprobe": 16}
    given = {"metric_type": "L2", "params": {"ef": 9, "x": True}}
    assert opts.search_params(given, hnsw, 200) == given
    assert given == {"metric_type": "L2", "params": {"ef": 9, "x": True}}
    assert opts.search_params({"metric_type": ""}, hnsw, 1)["metric_type"] == "L2"


@pytest.mark.parametrize(
    "given",
    [
        {"metric_type": "COSINE"},
        {"metric_type": None},
        {"expr": "n == 1"},
        {"params": {}, "filter": "n == 1"},
        {"offset": 3},
        {"params": {"limit": 3}},
        {"analyzer_name": "english"},
        {1: 2},
        {"params": {"expr": "n == 1"}},
        {"params": {"ef": "64"}},
        {"params": {"ef": [64]}},
        *({"params": {"ef": value}} for value in (math.nan, -math.inf, 10**400)),
        {"params": {"nested": {"expr": "n == 1"}}},
        {"params": {1: 1}},
        {"params": "x"},
        {"params": 1},
    ],
)
def test_search_parameters_carry_nothing_else(given: Any) -> None:
    """They are numbers and booleans, so none of them is an expression."""
    with pytest.raises(InvalidInputError):
        opts.search_params(given, Index("L2", "HNSW"), 4)


@pytest.mark.parametrize("given", [{"ef": 9}, {"ef": 9, "params": None}, {"params": {"ef": 9}}])
def test_r29_search_parameters_may_stand_beside_params(given: dict[str, Any]) -> None:
    """Pymilvus takes both forms, and so do the developers who come from it."""
    read = opts.search_params(given, Index("L2", "HNSW"), 4)
    assert read == {"metric_type": "L2", "params": {"ef": 9}}


def test_r29_a_full_text_search_may_name_its_analyzer() -> None:
    """It is the one parameter that is a text, and full-text search alone has it."""
    given = {"params": {"analyzer_name": "english"}}
    read = opts.search_params(given, Index("BM25", "SPARSE_INVERTED_INDEX"), 4)
    assert read["params"] == {"analyzer_name": "english"}
    with pytest.raises(InvalidInputError, match="must be a finite number"):
        opts.search_params(given, Index("L2", "FLAT"), 4)


def test_what_ranks_here_is_not_sent() -> None:
    """Milvus gets the other arguments."""
    given = {"fetch_k": 1, "ranker_type": "rrf", "reranker": None, "offset": 2}
    assert opts.without_ranking(given) == {"offset": 2}


def test_a_search_must_find_what_it_passes_over() -> None:
    """An index that must look at as many as are wanted counts those before the offset."""
    assert opts.limit_with_offset(5, {}) == 5
    assert opts.limit_with_offset(5, {"offset": 40}) == 45
