"""Typed filters against an oracle in Python, on both backends."""

import asyncio
import collections
import contextlib
import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from langchain_core.documents import Document
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import FilterError, UnsupportedError
from milvus_tools.filters import (
    All,
    Any_,
    Condition,
    Fields,
    FieldType,
    Filter,
    Not,
    Operator,
    describe,
    expression,
    parse,
)
from milvus_tools.filters.conditions import MAX_DEPTH
from milvus_tools.filters.literals import MAX_EXPRESSION
from milvus_tools.transport import ddl
from milvus_tools.transport.requests import Deadline
from tests.conftest import new_name
from tests.helpers.filter_oracle import (
    LISTS,
    Row,
    World,
    depth,
    holds,
    in_brackets,
    is_answerable,
    keys_of,
)
from tests.helpers.generated_values import generated, texts
from tests.helpers.support import DIM

ROWS = 72
TEXTS = [
    *("", "a", "ab", "abc", "abc\n", "b", "A", "a%", "a_c", "a*c", "%", "_", "a\\", "\\%", '"'),
    *("'", '") or (tenant != "', "\n", "\x00", "é", "e\u0301", "汉", "\u2028", "\ud7ff", "\ue000"),
    *("\uffff", "\U00010000", "\U0010ffff", '["a"]', "1", "true", "null", "{tenant}", "ab" * 50),
]
INTEGERS = [-3, -1, 0, 1, 2, 3, 44, 127, -128, 300, 2**31, -(2**53), 2**53]
FLOATS = [-1.5, 0.0, 0.1, 1.0, 2.5, 3.0, 1e16, 5e-324, 1e300]
ANYTHING: list[Any] = [
    *("a", "", "1", '["a"]', 0, 1, -1, 1.0, 2.5, 2**53, True, False, None, [], ["a"], [1], [1.0]),
    *(["a", 1, None], [True], [["a"]], {}, {"a": 1}, {"a": None}),
]
BOUNDS = {
    DataType.INT8: 2**7,
    DataType.INT16: 2**15,
    DataType.INT32: 2**31,
    DataType.INT64: 2**53,
}
_POOLS: dict[FieldType, list[Any]] = {
    FieldType.STRING: TEXTS,
    FieldType.INTEGER: INTEGERS,
    FieldType.NUMBER: [*INTEGERS, *FLOATS],
    FieldType.BOOLEAN: [True, False],
    FieldType.ANY: ANYTHING,
}
_METADATA = {
    "name": FieldType.STRING,
    "a key with spaces": FieldType.STRING,
    "page": FieldType.INTEGER,
    'pri"ce\\': FieldType.NUMBER,
    "in": FieldType.BOOLEAN,
    "tags": FieldType.STRINGS,
    "si zes": FieldType.INTEGERS,
    "weights": FieldType.NUMBERS,
    "flags": FieldType.BOOLEANS,
}
_INFO = {
    "info.page": FieldType.INTEGER,
    "info.a b": FieldType.STRING,
    'info.x"] or tenant != "': FieldType.NUMBER,
    "info.labels": FieldType.STRINGS,
    "info['a.b/c~1']": FieldType.BOOLEAN,
}
_UNDECLARED = ["free", "and", "ünï", "['a.b']", "a/b~0", "RowID", "nowhere", "_seq", "page.info"]
_UNDECLARED += ["spec.size", "spec.deep.x", "spec['deep.x']", "si ze.of x", "i64.x"]
_UNDECLARED += ["info.free", "info.free form", "info.info.page", "info.nowhere"]
# The last one leads into a field of the schema, which has no keys.
_NOWHERE = {"nowhere", "info.nowhere", "_seq", "i64.x"}
_SCALARS = {
    "s": DataType.VARCHAR,
    "i8": DataType.INT8,
    "i16": DataType.INT16,
    "i32": DataType.INT32,
    "i64": DataType.INT64,
    "f": DataType.FLOAT,
    "d": DataType.DOUBLE,
    "b": DataType.BOOL,
}
_STATIC = {
    **{name: (type_, False) for name, type_ in _SCALARS.items()},
    **{f"list_{name}": (type_, True) for name, type_ in _SCALARS.items()},
}
_KEYS = {"pk": (DataType.VARCHAR, False), "text": (DataType.VARCHAR, False)}
_TENANT = {"tenant": (DataType.VARCHAR, False)}


def worlds(*, lite: bool) -> list[World]:
    """Return the collections to ask: typed fields, a metadata field, fields that may be null."""
    others = frozenset({"vector", "info", "$meta"})
    declared = {**_METADATA, **_INFO}
    typed = World({**_KEYS, **_TENANT, **_STATIC}, others, declared, lite=lite)
    one_field = World(
        {**_KEYS, **_TENANT, "i64": _STATIC["i64"]},
        others | {"metadata"},
        declared,
        metadata_field="metadata",
        lite=lite,
    )
    # The server of these tests knows no nullable fields.
    return [typed, one_field, *([dataclasses.replace(typed, nullable=True)] if lite else [])]


def make(client: MilvusClient, name: str, world: World) -> None:
    """Make a world's collection."""
    schema = MilvusClient.create_schema(enable_dynamic_field=world.metadata_field is None)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=500)
    schema.add_field("text", DataType.VARCHAR, max_length=1000)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("tenant", DataType.VARCHAR, max_length=100)
    null = {"nullable": True} if world.nullable else {}
    for field, (type_, is_array) in world.static.items():
        if field in _STATIC:
            length = {"max_length": 1000} if type_ == DataType.VARCHAR else {}
            array = {"element_type": type_, "max_capacity": 10}
            kind = DataType.ARRAY if is_array else type_
            schema.add_field(field, kind, **null, **length, **(array if is_array else {}))
    schema.add_field("info", DataType.JSON, **null)
    if world.metadata_field is not None:
        schema.add_field(world.metadata_field, DataType.JSON)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=indexes)


def rows(world: World, dice: random.Random) -> list[dict[str, Any]]:
    """Return metadata with every key missing, null and of a wrong type in some."""
    return [_row(world, dice) for _ in range(ROWS)]


def _row(world: World, dice: random.Random) -> dict[str, Any]:
    static = {name: _static_value(world, name, dice) for name in world.static if name in _STATIC}
    keys = {
        name: _key_value(world.type_of(name), dice)
        for name in [*world.declared, *_UNDECLARED]
        if name not in _NOWHERE and dice.random() < 0.75
    }
    row: dict[str, Any] = {**static, "info": {}}
    for name, value in keys.items():
        _put(row, keys_of(name), value)
    if dice.random() < 0.2:
        row["spec"] = '{"size": 1, "deep": {"x": 1}}'
    there = not world.nullable or dice.random() < 0.8
    return row | {"info": row["info"] if there else None}


def _put(row: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *outer, last = keys
    for key in outer:
        row = row.setdefault(key, {})
        if not isinstance(row, dict):
            return
    row[last] = value


def _static_value(world: World, name: str, dice: random.Random) -> Any:
    if world.nullable and dice.random() < 0.25:
        return None
    type_, is_array = world.static[name]
    kind = world.type_of(name)
    pool = _POOLS[LISTS.get(kind, kind)]
    bound = BOUNDS.get(type_, math.inf)
    fitting = [one for one in pool if isinstance(one, str) or -bound <= one < bound]
    if type_ == DataType.FLOAT:
        fitting = [one for one in fitting if abs(one) < 2**24 or isinstance(one, float)]
        fitting = [float(one) for one in fitting if abs(one) < 3e38]
    if is_array:
        return dice.sample(fitting, dice.randrange(min(4, len(fitting))))
    return dice.choice(fitting)


def _key_value(type_: FieldType, dice: random.Random) -> Any:
    kind = dice.random()
    if kind < 0.1:
        return None
    if kind < 0.2 or type_ is FieldType.ANY:
        odd = dice.choice(ANYTHING)
        # What is declared may be wrong, but for booleans and numbers in each other's place.
        alike = type_ is not FieldType.ANY and _has_number(odd)
        return None if alike else odd
    pool = _POOLS[LISTS.get(type_, type_)]
    return dice.choice(pool) if type_ not in LISTS else dice.choices(pool, k=dice.randrange(4))


def _has_number(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_number, value))
    return isinstance(value, int | float)


_wrong = st.sampled_from(
    [
        *(None, math.nan, math.inf, 2**63, -(2**64), 10**5000, b"a", {"a": 1}, [], [None], [[1]]),
        *(["a", []], [1] * 21_846, ["\ud800"], "\ud800", object(), 1j, (), 2.5, True, "1", 1, [1]),
    ]
)
_numbers = st.one_of(
    st.sampled_from([*INTEGERS, *FLOATS, 128, -129, 383, 2**32, -0.0, 1e39, -1e39, 3.0]),
    st.floats(-1e6, 1e6),
    st.integers(-5, 5),
    st.integers(-(2**53), 2**53),
)
_hostile = texts().map(lambda text: in_brackets(f"{text}."))
_texts = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS),
    st.sampled_from([one[:2] for one in TEXTS]),
    texts(),
)
_ITEMS: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.STRING: _texts,
    FieldType.INTEGER: st.one_of(
        st.sampled_from(INTEGERS), _numbers.filter(lambda one: one % 1 == 0)
    ),
    FieldType.NUMBER: _numbers,
    FieldType.BOOLEAN: st.booleans(),
    FieldType.ANY: st.one_of(_texts, _numbers, st.booleans()),
}
_patterns = st.one_of(
    st.lists(st.sampled_from(["a", "b", "*", "c", "*", "\n", ".", "(", "é"]), max_size=5).map(
        "".join
    ),
    _texts,
    _texts.map("*{}*".format),
    _texts.map("*{}".format),
)


@st.composite
def _conditions(draw: st.DrawFn, world: World) -> Condition:
    """Draw a condition, which in one of ten cases or so does not fit its field."""
    known = [*world.static, *world.declared, *_UNDECLARED]
    unusual = st.one_of(
        st.sampled_from([*sorted(world.others), "yaer"]), _hostile, _hostile.map("info{}".format)
    )
    name = draw(unusual if draw(st.integers(0, 31)) == 0 else st.sampled_from(known))
    type_ = world.type_of(name) or FieldType.STRING
    asked = draw(st.sampled_from(_likely(type_, world) * 30 + list(Operator)))
    if draw(st.integers(0, 31)) == 0:
        return Condition(name, asked, draw(_wrong))
    return Condition(name, asked, draw(_value(asked, _ITEMS[LISTS.get(type_, type_)])))


def _likely(type_: FieldType, world: World) -> list[Operator]:
    lists = [Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.EXISTS]
    if type_ in LISTS:
        return lists
    equal = [Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.EXISTS]
    if type_ is FieldType.BOOLEAN:
        return equal
    ordered = [Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN]
    texts = [Operator.PREFIX, *([Operator.LIKE] if world.lite else [])]
    if type_ is FieldType.STRING:
        return [*equal, *ordered, *texts]
    return [*equal, *ordered, *([*lists, *texts] if type_ is FieldType.ANY else [])]


def _value(asked: Operator, items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    match asked:
        case Operator.EXISTS:
            return st.booleans()
        case Operator.IN | Operator.NOT_IN | Operator.CONTAINS_ANY:
            return st.lists(items, min_size=1, max_size=4)
        case Operator.BETWEEN:
            some = [_texts, _numbers] if items is _ITEMS[FieldType.ANY] else [items]
            return st.one_of(st.lists(one, min_size=2, max_size=2) for one in some)
        case Operator.PREFIX:
            return _texts
        case Operator.LIKE:
            return _patterns
    return items


def filters(world: World) -> st.SearchStrategy[Filter]:
    """Draw a filter; a few nest too deep."""
    return st.recursive(
        _conditions(world),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(All),
            st.lists(inner, min_size=1, max_size=3).map(Any_),
            inner.map(Not),
        ),
        max_leaves=5,
    )


def as_json(filter_: Filter) -> dict[str, Any]:
    """Return a filter as a model writes it."""
    match filter_:
        case All(parts):
            return {"all": [as_json(part) for part in parts]}
        case Any_(parts):
            return {"any": [as_json(part) for part in parts]}
        case Not(inner):
            return {"not": as_json(inner)}
        case Condition(field, operator, value):
            return {"field": field, "operator": str(operator), "value": value}


COUNTS = [
    200,
    pytest.param(10_000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)]),
]
Tally = collections.Counter[str]
MAX_CHARS = 8_000  # of a filter that can be too long as an expression
SENTENCE = r"^[^\x00-\x1f]+\.( Did you mean .+)?$"
PACK = 100  # filters at the same time


@contextlib.contextmanager
def made(client: MilvusClient, world: World) -> Iterator[str]:
    """Make a world's collection, and drop it at the end."""
    name = new_name()
    make(client, name, world)
    yield name
    client.drop_collection(name)


async def filled(
    store: MilvusStore, client: MilvusClient, world: World
) -> tuple[ScopedMilvusStore, list[Row]]:
    """Write a world's rows for two tenants, flush half of them; return the view of one."""
    dice = random.Random(7)  # the same rows in every run
    theirs, ours = (
        [Document(id=f"{n}", page_content=f"{n}", metadata=row) for n, row in enumerate(some)]
        for some in (rows(world, dice), rows(world, dice))
    )
    view, other = (store.scoped({"tenant": tenant}, scoped_ids=True) for tenant in "ab")
    await other.aadd_documents(theirs)
    await view.aadd_documents(ours[::2])
    await asyncio.to_thread(client.flush, store.collection_name)
    await view.aadd_documents(ours[1::2])
    return view, [
        {**one.metadata, "pk": f"tenant=%22a%22:{one.id}", "text": one.page_content, "tenant": "a"}
        for one in ours
    ]


@pytest.mark.parametrize("count", COUNTS)
async def test_filters_mean_what_they_mean_in_python(
    make_store: Callable[..., MilvusStore],
    client: MilvusClient,
    backend: str,
    count: int,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """A typed filter is refused with a sentence, or finds the rows that it finds in Python."""
    tally = Tally()
    there = worlds(lite=backend == "lite")
    for number, world in enumerate(there):
        share = count // len(there) + (number < count % len(there))
        with made(client, world) as name:
            store = make_store(collection_name=name, metadata_field=world.metadata_field)
            view, metadata = await filled(store, client, world)
            tally += await check_world(view, metadata, world, client, share)
    record_testsuite_property(f"filters ({backend})", dict(tally))
    assert tally.total() == count
    assert tally["answered"] > count / 2
    assert tally["refused"] > count / 20


async def check_world(
    view: ScopedMilvusStore,
    metadata: list[Row],
    world: World,
    client: MilvusClient,
    count: int,
) -> Tally:
    """Ask a world many filters, some of them at the same time."""
    schema = await asyncio.to_thread(
        ddl.read_schema, client, Deadline.after(30), view.collection_name
    )
    fields = Fields(
        schema,
        world.declared,
        allow_dynamic=True,
        lite=world.lite,
        metadata_field=world.metadata_field,
    )
    asked = generated(filters(world), count)
    tally = Tally()
    for start in range(0, count, PACK):
        some = asked[start : start + PACK]
        checks = [check_filter(view, metadata, world, fields, filter_) for filter_ in some]
        tally.update(await asyncio.gather(*checks))
    return tally


async def check_filter(
    view: ScopedMilvusStore, metadata: list[Row], world: World, fields: Fields, drawn: Filter
) -> str:
    """Ask one filter; say what came of it."""
    if depth(drawn) > MAX_DEPTH or not is_answerable(drawn, world):
        with pytest.raises((FilterError, UnsupportedError), match=SENTENCE):
            expression(parse(as_json(drawn)), fields)
        return "refused"
    filter_ = parse(as_json(drawn))
    assert filter_ == drawn
    assert describe(filter_).isprintable()
    try:
        expr = expression(filter_, fields)
    except FilterError:
        assert len(repr(drawn)) > MAX_CHARS, drawn
        return "refused"
    if len(expr) > MAX_EXPRESSION:  # which a typed filter may be, and a raw one may not
        with pytest.raises(FilterError, match="at most"):
            await view.aget_pks(expr)
        return "refused"
    found = await view.aget_pks(expr)
    wanted = [row["text"] for row in metadata if holds(drawn, row, world)]
    assert sorted(found, key=int) == wanted, (drawn, expr)
    return "answered"


async def test_metadata_in_one_field_is_filtered_by_plain_names(
    make_store: Callable[..., MilvusStore],
) -> None:
    """A store made with `metadata_field` takes the names that its Documents' metadata has."""
    store = make_store(metadata_field="metadata")
    metadata = [{"topic": "kites", "a b": 1, "tags": ["x"]}, {"topic": "birds", "a b": None}]
    await store.aadd_texts(["1", "2"], metadata, ids=["1", "2"])
    for name, asked, value, wanted in (
        ("topic", "eq", "kites", ["1"]),
        ("topic", "ne", "kites", ["2"]),
        ("a b", "lt", 2, ["1"]),
        ("a b", "exists", False, ["2"]),
        ("tags", "contains", "x", ["1"]),
        ("none", "ne", 1, ["1", "2"]),
    ):
        condition = {"field": name, "operator": asked, "value": value}
        found = await store.asearch_by_metadata(await store.afilter_expression(condition))
        assert sorted(str(one.id) for one in found) == wanted, name
