"""Metadata values: how Python's values are written, compared and read back."""

import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from langchain_classic.retrievers import TimeWeightedVectorStoreRetriever
from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools import FilterField, MilvusStore, MilvusToolkit
from milvus_tools.errors import FilterError, InvalidInputError, MilvusToolsError
from milvus_tools.filters import TypedFilter
from tests.helpers.support import ON_LITE
from tests.helpers.tools import call

MakeStore = Callable[..., MilvusStore]
UTC = dt.UTC
BERLIN = dt.timezone(dt.timedelta(hours=2))
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Colour(enum.StrEnum):
    """An enumeration of texts."""

    RED = "red"


class Level(enum.Enum):
    """An enumeration of other values."""

    HIGH = 3
    SINCE = dt.date(2024, 1, 2)


VALUES: dict[str, tuple[Any, Any]] = {
    "naive": (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
    "aware": (dt.datetime(2024, 1, 1, 0, 30, tzinfo=BERLIN), "2023-12-31T22:30:00+00:00"),
    "pandas": (pd.Timestamp("2024-01-01T00:30:00.25+02:00"), "2023-12-31T22:30:00.250000+00:00"),
    "date": (dt.date(2024, 1, 2), "2024-01-02"),
    "time": (dt.time(3, 4), "03:04:00"),
    "numpy_time": (np.datetime64("2024-01-02T03:04:05", "ns"), "2024-01-02T03:04:05"),
    "numpy_date": (np.datetime64("2024-01-02"), "2024-01-02"),
    "uuid": (ID, str(ID)),
    "colour": (Colour.RED, "red"),
    "level": (Level.HIGH, 3),
    "since": (Level.SINCE, "2024-01-02"),
    "int": (np.int64(7), 7),
    "float": (np.float32(0.5), 0.5),
    "flag": (np.bool_(True), True),
    "numpy_text": (np.str_("x"), "x"),
}
LISTS: dict[str, tuple[Any, Any]] = {
    "tuple": ((1, 2), [1, 2]),
    "array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "dates": ([dt.date(2024, 1, 2), (ID,)], ["2024-01-02", [str(ID)]]),
    "nested": ({"at": dt.datetime(2024, 1, 2, tzinfo=UTC)}, {"at": "2024-01-02T00:00:00+00:00"}),
    "scalar": (np.array(5), 5),
}


def condition(field: str, operator: str, value: Any) -> dict[str, Any]:
    """Return a condition."""
    return {"field": field, "operator": operator, "value": value}


@pytest.mark.parametrize("metadata_field", [None, "metadata"])
async def test_r28_values_of_python_are_written_in_a_form_that_is_documented(
    make_store: MakeStore, metadata_field: str | None
) -> None:
    """They come back as ISO text, numbers and lists, and conditions find them by either form."""
    store = make_store(metadata_field=metadata_field)
    metadata = {name: given for name, (given, _) in {**VALUES, **LISTS}.items()}
    await store.aadd_texts(["a", "b"], [metadata, {}], ids=["a", "b"])
    (found,) = await store.aget_by_ids(["a"])
    assert found.metadata == {name: kept for name, (_, kept) in {**VALUES, **LISTS}.items()}
    for name, (given, kept) in VALUES.items():
        for value in (given, kept):
            assert await store.aget_pks(filter=condition(name, "eq", value)) == ["a"], name
            assert await store.aget_pks(filter=condition(name, "ne", value)) == ["b"], name
            assert await store.aget_pks(filter=condition(name, "in", [value])) == ["a"], name
    array = np.array([7, 8])
    assert await store.aget_pks(filter=condition("int", "in", array)) == ["a"]


async def test_r28_values_of_python_fit_static_fields(
    make_store: MakeStore, collection_name: str
) -> None:
    """A new collection without dynamic field has the fields of their forms."""
    store = make_store(enable_dynamic_field=False)
    metadata = {name: given for name, (given, _) in VALUES.items()}
    await store.aadd_texts(["a"], [metadata], ids=["a"])
    schema = await store.aschema()
    assert schema is not None
    assert schema.scalars["int"].type == DataType.INT64
    assert schema.scalars["float"].type == DataType.DOUBLE
    assert schema.scalars["flag"].type == DataType.BOOL
    assert schema.scalars["aware"].type == schema.scalars["uuid"].type == DataType.VARCHAR
    (found,) = await store.aget_by_ids(["a"])
    assert found.metadata == {name: kept for name, (_, kept) in VALUES.items()}
    for name, (given, _) in VALUES.items():
        assert await store.aget_pks(filter=condition(name, "eq", given)) == ["a"], name


# In the order of time; two days in UTC, the second one begun in Berlin.
TIMES: dict[str, Any] = {
    "a": dt.datetime(2023, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "b": dt.date(2024, 1, 1),
    "c": dt.datetime(2024, 1, 1, tzinfo=UTC),
    "d": dt.datetime(2024, 1, 1, 2, 0, 0, 1, tzinfo=BERLIN),
    "e": dt.datetime(2024, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC),
    "f": dt.datetime(2024, 1, 2, 2, tzinfo=BERLIN),
    "g": dt.date(2024, 1, 9),
    "h": dt.datetime(2024, 1, 9, 12, tzinfo=UTC),
    "i": dt.date(2024, 1, 10),
}
DAY = dt.date(2024, 1, 1)
COMPARED = [
    ("lt", DAY, "a"),
    ("lte", DAY, "abcde"),
    ("gt", DAY, "fghi"),
    ("gte", DAY, "bcdefghi"),
    ("between", [DAY, DAY], "bcde"),
    ("between", [DAY, dt.date(2024, 1, 9)], "bcdefgh"),
    ("lte", dt.date(2024, 1, 9), "abcdefgh"),
    ("gt", dt.date(2024, 1, 9), "i"),
    ("eq", DAY, "b"),
    ("lt", dt.datetime(2024, 1, 1, tzinfo=UTC), "ab"),
    ("lte", dt.datetime(2024, 1, 1, 2, tzinfo=BERLIN), "abc"),
    ("eq", dt.datetime(2024, 1, 1, 2, tzinfo=BERLIN), "c"),
    ("gt", dt.datetime(2024, 1, 1, 0, 30, tzinfo=BERLIN), "abcdefghi"),
    ("in", [dt.datetime(2024, 1, 2, tzinfo=UTC), dt.date(2024, 1, 9)], "fg"),
    ("not_in", [DAY, dt.datetime(2024, 1, 1, tzinfo=UTC)], "adefghi"),
    ("lte", dt.date(9999, 12, 31), "abcdefghi"),
    ("gt", dt.date(9999, 12, 31), ""),
]


async def test_r28_dates_are_compared_in_utc_and_by_whole_days(shared: MilvusStore) -> None:
    """So are their texts, of a field that is declared as a datetime, and the negations."""
    view = shared.scoped(values="times")
    ids = [f"times-{name}" for name in TIMES]
    await view.aadd_texts(list(TIMES), [{"at": one} for one in TIMES.values()], ids=ids)

    async def found(filter_: Any) -> str:
        return "".join(
            one.page_content
            for one in await view.asearch_by_metadata(filter=filter_, order_by="at", limit=99)
        )

    assert await found({"field": "at", "operator": "exists"}) == "abcdefghi"
    for operator, value, expected in COMPARED:
        asked = condition("at", operator, value)
        assert await found(asked) == expected, asked
        others = "".join(name for name in TIMES if name not in expected)
        assert await found({"not": asked}) == others, asked
        text = [one.isoformat() for one in value] if isinstance(value, list) else value.isoformat()
        declared = TypedFilter(condition("at", operator, text), {"at": "datetime"})
        assert await found(declared) == expected, declared
    assert await found(condition("at", "lte", "2024-01-01")) == "ab"  # as text


async def test_r28_tools_compare_a_datetime_that_a_model_writes(shared: MilvusStore) -> None:
    """In any time zone and by whole days; what the upsert tool writes is kept in UTC."""
    view = shared.scoped(values="tools")
    fields = {"at": FilterField("datetime", "when it was seen")}
    toolkit = MilvusToolkit(view, filter_fields=fields, allow_writes=True)
    tools = {tool.name: tool for tool in toolkit.get_tools()}
    written = ["2024-01-01T00:30:00+02:00", "2024-01-01T12:00:00Z", "2024-01-02"]
    documents = [{"text": one, "metadata": {"at": one}} for one in written]
    (await call(tools["milvus_upsert"], documents=documents))
    assert {one.metadata["at"] for one in await view.asearch_by_metadata()} == {
        "2023-12-31T22:30:00+00:00",
        "2024-01-01T12:00:00+00:00",
        "2024-01-02",
    }
    for operator, value, expected in (
        ("lt", "2024-01-01", written[:1]),
        ("lte", "2024-01-01", written[:2]),
        ("eq", "2024-01-01T14:00:00+02:00", written[1:2]),
        ("between", ["2024-01-01", "2024-01-02"], written[1:]),
    ):
        asked = {"filters": [condition("at", operator, value)], "order_by": "at"}
        message = await call(tools["milvus_search_by_metadata"], **asked)
        assert [one.page_content for one in message.artifact] == expected, operator
    wrong = [condition("at", "lt", "yesterday")]
    message = await call(tools["milvus_search_by_metadata"], filters=wrong)
    assert "a date or a time in ISO 8601" in message.content
    wrong = [{"text": "x", "metadata": {"at": "yesterday"}}]
    message = await call(tools["milvus_upsert"], documents=wrong)
    assert "a date or a time in ISO 8601" in message.content


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, np.float64("inf"), np.array([1.0, math.nan]), (math.nan,), pd.NaT, pd.NA),
        *(np.datetime64("NaT"), np.timedelta64(1, "s"), dt.timedelta(1), b"x", {1}, 1j, object()),
        *(pd.Timestamp(1, unit="ns"), np.datetime64(1, "ns"), np.datetime64("20000-01-01")),
        *(dt.datetime(1, 1, 1, tzinfo=BERLIN), dt.time(1, tzinfo=UTC), np.longdouble(1)),
    ],
)
@ON_LITE
async def test_r28_what_has_no_form_is_refused(shared: MilvusStore, value: Any) -> None:
    """With a sentence that names the key; nothing is written."""
    view = shared.scoped(values="refused")
    for given in (value, [value], {"x": value}):
        with pytest.raises(InvalidInputError, match="metadata 'key'"):
            await view.aadd_texts(["x", "y"], [{}, {"key": given}])
    assert await view.acount() == 0
    with pytest.raises(MilvusToolsError, match=r"compared with|stored as a time"):
        await view.acount(filter=condition("key", "eq", value))


async def test_r28_a_scope_holds_the_forms_of_its_values(shared: MilvusStore) -> None:
    """Metadata that repeats the scope's value in another form is the same."""
    view = shared.scoped(values="scope", id=str(ID), n=7)
    await view.aadd_texts(["x"], [{"id": ID, "n": np.int64(7)}])
    (found,) = await view.asearch_by_metadata()
    assert found.metadata == {"values": "scope", "id": str(ID), "n": 7}


async def test_r28_a_condition_on_the_key_takes_uuids(shared: MilvusStore) -> None:
    """One, or an array of them, for ids that are their texts."""
    view = shared.scoped(values="keys", scoped_ids=True)
    others = [uuid.UUID(int=number) for number in range(3)]
    await view.aadd_texts(["x", "y"], ids=[str(ID), str(others[0])])
    assert await view.aget_pks(filter=condition("pk", "eq", ID)) == [str(ID)]
    several = condition("pk", "in", np.array([ID, *others[1:]]))
    assert await view.aget_pks(filter=several) == [str(ID)]


async def test_r28_time_weighted_retrieval_works(shared: MilvusStore) -> None:
    """LangChain's retriever writes datetimes, and finds by meaning and by age."""
    view = shared.scoped(values="time-weighted")
    retriever = TimeWeightedVectorStoreRetriever(vectorstore=view, decay_rate=0.01, k=1)
    now = dt.datetime.now()  # noqa: DTZ005 - the retriever's own times are naive
    old = now - dt.timedelta(days=400)
    documents = [
        Document("hello", metadata={"last_accessed_at": old}),
        Document("hello world"),
    ]
    await retriever.aadd_documents(documents)
    assert [one.page_content for one in await retriever.ainvoke("hello world")] == ["hello world"]
    retriever.add_documents([Document("again")], current_time=now)
    assert len(retriever.invoke("again")) == 1
    assert await view.acount(filter=condition("last_accessed_at", "lt", now)) == 1
    assert await view.acount(filter=condition("created_at", "gte", now)) == 3


GREAT = {
    "a": 2**53 - 1,
    "b": 2**53,
    "c": 2**53 + 1,
    "d": 2**53 + 2,
    "e": 2**53 + 3,
    "f": 2**63 - 1,
    "g": 2**63 - 2,
    "h": -(2**63),
    "i": 1 - 2**63,
    "j": -(2**53) - 1,
    "k": -(2**53),
    "l": 7,
    "m": 2**60,
    "n": 2**60 + 1,
    "o": 2**60 - 1,
}
FLOATS = {"p": 2.0**53, "q": 2.0**53 + 4, "r": -(2.0**53), "s": 1e19, "t": -1e19, "u": 2.0**60}
NUMBERS: dict[str, Any] = {**GREAT, **FLOATS}
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda row, value: row == value,
    "ne": lambda row, value: row != value,
    "lt": lambda row, value: row < value,
    "lte": lambda row, value: row <= value,
    "gt": lambda row, value: row > value,
    "gte": lambda row, value: row >= value,
    "in": lambda row, value: row in value,
    "not_in": lambda row, value: row not in value,
}
ASKED = [*GREAT.values(), 2**53 + 5, 2**60 + 63, 2**60 + 65, 2.0**53, 2.0**60, -(2.0**63)]


@pytest.mark.parametrize("typed", [True, False])
async def test_r15_great_integers_are_compared_exactly(make_store: MakeStore, typed: bool) -> None:
    """As in Python: integers of a field, and integers and floats under a key."""
    fields = {"n": {"dtype": DataType.INT64}} if typed else {}
    store = make_store(metadata_schema=fields, enable_dynamic_field=True)
    rows = GREAT if typed else NUMBERS
    await store.aadd_texts(list(rows), [{"n": one} for one in rows.values()], ids=list(rows))
    for operator, holds in SIGNS.items():
        for one in ASKED:
            value = [one, 7] if "in" in operator else one
            expected = sorted(name for name, row in rows.items() if holds(row, value))
            for filter_ in (condition("n", operator, value),):
                assert sorted(await store.aget_pks(filter=filter_)) == expected, filter_
                others = sorted(rows.keys() - set(expected))
                assert sorted(await store.aget_pks(filter={"not": filter_})) == others, filter_


@pytest.mark.parametrize("typed", [True, False])
async def test_r15_great_integers_are_found_exactly_in_lists(
    make_store: MakeStore, backend: str, typed: bool
) -> None:
    """An integer is found, and not its neighbours; the least one is refused on the server."""
    array = {"dtype": DataType.ARRAY, "element_type": DataType.INT64, "max_capacity": 4}
    store = make_store(metadata_schema={"n": array} if typed else {}, enable_dynamic_field=True)
    await store.aadd_texts(
        list(GREAT), [{"n": [one, 5]} for one in GREAT.values()], ids=list(GREAT)
    )
    for name, value in GREAT.items():
        asked = condition("n", "contains", value)
        if name == "h" and backend == "server":
            with pytest.raises(MilvusToolsError, match=r"can't search a list for -2\*\*63"):
                await store.aget_pks(filter=asked)
        else:
            assert await store.aget_pks(filter=asked) == [name], value
            several = condition("n", "contains_any", [value, 2**53 + 100])
            assert await store.aget_pks(filter=several) == [name], value


@ON_LITE
async def test_r15_an_integer_that_no_double_equals_is_refused(make_store: MakeStore) -> None:
    """By a field of doubles, which would compare it with a neighbour."""
    store = make_store(metadata_schema={"d": {"dtype": DataType.DOUBLE}})
    await store.aadd_texts(["x"], [{"d": 2.0**53}], ids=["x"])
    assert await store.aget_pks(filter=condition("d", "eq", 2**53)) == ["x"]
    with pytest.raises(FilterError, match="holds doubles, none of which equals 9007199254740993"):
        await store.aget_pks(filter=condition("d", "eq", 2**53 + 1))
