"""Typed filters against an oracle in Python, on both backends."""

import itertools
import string
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.filters import (
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
texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["", "a", "ab", "abc", "a%", "a_c", "%", "_", "a\\", '"', "'", "\n", "é", "\U0010ffff", "\ud7ff"]
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
    rows: list[dict[str, Any]] = []
    pools: dict[str, list[Any]] = {
        "name": ["", "a", "ab", "abc", "a%", "a_c", "%", "é", "\U0010ffff", "a\\", '"', "\n"],
        "a key with spaces": ["a", "b", "ab"],
        "year": [-3, -1, 0, 1, 2, 3, 2**53],
        "price": [-1.5, 0.0, 1, 2.5, 3],
        "in stock": [True, False],
        "tags": [[], ["a"], ["a", "ab"], ["%"]],
        "sizes": [[], [1], [1, 2], [3]],
    }
    for number in range(60):
        rows.append(
            {
                name: pool[(number // (index + 1)) % len(pool)]
                for index, (name, pool) in enumerate(pools.items())
                if (number + index) % 4
            }
        )
    return rows


def holds(filter_: Filter, row: Mapping[str, Any]) -> bool:
    """Say what a filter means."""
    match filter_:
        case All(filters):
            return all(holds(one, row) for one in filters)
        case Any_(filters):
            return any(holds(one, row) for one in filters)
        case Not(inner):
            return not holds(inner, row)
    there = filter_.field in row
    value, wanted = row.get(filter_.field), filter_.value
    match filter_.operator:
        case Operator.EXISTS:
            return there == wanted
        case Operator.NE:
            return not there or value != wanted
        case Operator.NOT_IN:
            return not there or value not in wanted
    return there and _compares(filter_.operator, value, wanted)


def _compares(operator: Operator, value: Any, wanted: Any) -> bool:
    match operator:
        case Operator.EQ:
            return value == wanted
        case Operator.GT:
            return value > wanted
        case Operator.GTE:
            return value >= wanted
        case Operator.LT:
            return value < wanted
        case Operator.LTE:
            return value <= wanted
        case Operator.IN:
            return value in wanted
        case Operator.BETWEEN:
            return wanted[0] <= value <= wanted[1]
        case Operator.PREFIX:
            return value.startswith(wanted)
        case Operator.CONTAINS:
            return wanted in value
        case Operator.CONTAINS_ANY:
            return any(one in value for one in wanted)
    raise AssertionError(operator)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Draw a condition that fits its field."""
    name = draw(st.sampled_from(sorted(DECLARED)))
    type_ = DECLARED[name]
    item = VALUES[
        {FieldType.STRINGS: FieldType.STRING, FieldType.INTEGERS: FieldType.INTEGER}.get(
            type_, type_
        )
    ]
    known = [Operator.EXISTS]
    if type_ in (FieldType.STRINGS, FieldType.INTEGERS):
        known += [Operator.CONTAINS, Operator.CONTAINS_ANY]
    else:
        known += [Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN]
    if type_ in (FieldType.STRING, FieldType.INTEGER, FieldType.NUMBER):
        known += [Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN]
    if type_ is FieldType.STRING:
        known.append(Operator.PREFIX)
    operator = draw(st.sampled_from(known))
    match operator:
        case Operator.EXISTS:
            value: Any = draw(st.booleans())
        case Operator.IN | Operator.NOT_IN | Operator.CONTAINS_ANY:
            value = draw(st.lists(item, min_size=1, max_size=3))
        case Operator.BETWEEN:
            value = sorted(draw(st.tuples(item, item)))
        case _:
            value = draw(item)
    return Condition(name, operator, value)


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
    match filter_:
        case All(parts) | Any_(parts):
            return 1 + max(map(depth, parts))
        case Not(inner):
            return 1 + depth(inner)
    return 0


def test_filters_mean_what_they_mean_in_python(
    make_store: Callable[..., MilvusStore], client: MilvusClient, backend: str
) -> None:
    """Generated filters find exactly the rows that they find in Python."""
    store = make_store()
    metadatas = rows()
    store.add_texts([""] * len(metadatas), metadatas, ids=[str(n) for n in range(len(metadatas))])
    schema = Schema.read(client, store.collection_name, 30)
    fields = Fields(schema, DECLARED, lite=backend == "lite")
    ran = itertools.count(1)
    bad = []

    @settings(
        max_examples=500,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(filters.filter(lambda one: depth(one) <= 4))
    def check(filter_: Filter) -> None:
        next(ran)
        written = expression(filter_, fields)
        try:
            found = sorted(store.get_pks(written), key=int)
        except Exception as e:
            bad.append((filter_, written, str(e)[:200])); return
        expected = [str(n) for n, row in enumerate(metadatas) if holds(filter_, row)]
        if found != expected: bad.append((filter_, written, set(found) ^ set(expected), [metadatas[int(i)] for i in list(set(found)^set(expected))[:2]]))

    check()
    assert next(ran) > 500
    bad.sort(key=lambda b: len(b[1]))
    for b in bad[:12]: print(b)
    assert not bad, len(bad)
