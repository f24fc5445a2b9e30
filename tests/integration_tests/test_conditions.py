"""Typed filters against an oracle in Python, on both backends."""

import itertools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.conditions import (
    All,
    Any_,
    Condition,
    Fields,
    FieldType,
    Filter,
    Not,
    Operator,
    expression,
)
from milvus_tools.conditions.model import MAX_DEPTH
from milvus_tools.conditions.rendering import OPERATORS
from milvus_tools.schema import Schema

DECLARED = {
    "name": FieldType.STRING,
    "a key with spaces": FieldType.STRING,
    "year": FieldType.INTEGER,
    "price": FieldType.NUMBER,
    "in stock": FieldType.BOOLEAN,
    "tags": FieldType.STRINGS,
    "sizes": FieldType.INTEGERS,
}
ITEMS = {FieldType.STRINGS: FieldType.STRING, FieldType.INTEGERS: FieldType.INTEGER}
texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        "",
        "a",
        "ab",
        "abc",
        "a%",
        "a_c",
        "%",
        "_",
        "a\\",
        '"',
        "'",
        "\n",
        "é",
        "\U0010ffff",
        "\ud7ff",
    ]
)
integers = st.integers(-3, 3) | st.integers(-(2**53), 2**53)
numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-5, 5)
VALUES = {
    FieldType.STRING: texts,
    FieldType.INTEGER: integers,
    FieldType.NUMBER: numbers,
    FieldType.BOOLEAN: st.booleans(),
    FieldType.STRINGS: st.lists(texts, max_size=3),
    FieldType.INTEGERS: st.lists(integers, max_size=3),
}


def rows() -> list[dict[str, Any]]:
    """Return rows with every field missing in some, and values that conditions will meet."""
    pools: dict[str, list[Any]] = {
        "name": ["", "a", "ab", "abc", "a%", "a_c", "%", "é", "\U0010ffff", "a\\", '"', "\n"],
        "a key with spaces": ["a", "b", "ab"],
        "year": [-3, -1, 0, 1, 2, 3, 2**53],
        "price": [-1.5, 0.0, 1, 2.5, 3],
        "in stock": [True, False],
        "tags": [[], ["a"], ["a", "ab"], ["%"]],
        "sizes": [[], [1], [1, 2], [3]],
    }
    return [
        {
            name: pool[(number // (index + 1)) % len(pool)]
            for index, (name, pool) in enumerate(pools.items())
            if (number + index) % 4
        }
        for number in range(60)
    ]


def holds(filter_: Filter, row: Mapping[str, Any]) -> bool:
    """Say what a filter means."""
    if isinstance(filter_, Not):
        return not holds(filter_.filter, row)
    if not isinstance(filter_, Condition):
        quantifier = all if isinstance(filter_, All) else any
        return quantifier(holds(one, row) for one in filter_.filters)
    there = filter_.field in row
    value, wanted = row.get(filter_.field), filter_.value
    if filter_.operator is Operator.EXISTS:
        return there == wanted
    if filter_.operator in NEGATIONS:
        return not there or not COMPARISONS[NEGATIONS[filter_.operator]](value, wanted)
    return there and COMPARISONS[filter_.operator](value, wanted)


NEGATIONS = {Operator.NE: Operator.EQ, Operator.NOT_IN: Operator.IN}
COMPARISONS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.IN: lambda value, wanted: value in wanted,
    Operator.BETWEEN: lambda value, wanted: wanted[0] <= value <= wanted[1],
    Operator.PREFIX: str.startswith,
    Operator.CONTAINS: operator.contains,
    Operator.CONTAINS_ANY: lambda value, wanted: any(one in value for one in wanted),
}


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Draw a condition that fits its field."""
    name = draw(st.sampled_from(sorted(DECLARED)))
    type_ = DECLARED[name]
    item = VALUES[ITEMS.get(type_, type_)]
    chosen = draw(st.sampled_from(sorted(OPERATORS[type_] - {Operator.LIKE})))
    match chosen:
        case Operator.EXISTS:
            value: Any = draw(st.booleans())
        case Operator.IN | Operator.NOT_IN | Operator.CONTAINS_ANY:
            value = draw(st.lists(item, min_size=1, max_size=3))
        case Operator.BETWEEN:
            value = sorted(draw(st.tuples(item, item)))
        case _:
            value = draw(item)
    return Condition(name, Operator(chosen), value)


filters = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(All),
        st.lists(inner, min_size=1, max_size=3).map(Any_),
        inner.map(Not),
    ),
    max_leaves=6,
)


def depth(filter_: Filter) -> int:
    """Return how deep a filter nests."""
    match filter_:
        case All(parts) | Any_(parts):
            return 1 + max(map(depth, parts))
        case Not(inner):
            return 1 + depth(inner)
    return 0


@pytest.mark.parametrize("examples", [500, pytest.param(10_000, marks=pytest.mark.exhaustive)])
@pytest.mark.timeout(1800)
def test_filters_mean_what_they_mean_in_python(
    make_store: Callable[..., MilvusStore], client: MilvusClient, backend: str, examples: int
) -> None:
    """Generated filters find exactly the rows that they find in Python."""
    store = make_store()
    metadatas = rows()
    store.add_texts([""] * len(metadatas), metadatas, ids=[str(n) for n in range(len(metadatas))])
    schema = Schema.read(client, store.collection_name, 30)
    fields = Fields(schema, DECLARED, lite=backend == "lite")
    ran = itertools.count()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(filters.filter(lambda one: depth(one) <= MAX_DEPTH))
    def check(filter_: Filter) -> None:
        next(ran)
        found = store.get_pks(expression(filter_, fields))
        expected = [str(n) for n, row in enumerate(metadatas) if holds(filter_, row)]
        assert sorted(found, key=int) == expected

    check()
    assert next(ran) >= examples
