"""Filters with long lists, such as the ids that a user may read."""

import asyncio
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import DataType

from milvus_tools import MilvusStore
from milvus_tools.errors import FilterError
from milvus_tools.store import filtering
from tests.helpers.support import ON_LITE

MakeStore = Callable[..., MilvusStore]
PERMITTED = [str(uuid.UUID(int=number * 7919)) for number in range(10_000)]
# Keys whose lists Milvus Lite reads slowly get a part of it.
PART = [*PERMITTED[::5], PERMITTED[-1]]
LISTS = {
    "typed": PERMITTED,
    "pk": PERMITTED,
    "plain": PERMITTED,
    "of whom": PART,
    "nested.owner": PART,
}
# Values around the list's, and of other types; the last ones are not in it.
OWNERS: list[Any] = [PERMITTED[0], PERMITTED[5_000], PERMITTED[-1]]
OTHERS: list[Any] = [
    str(uuid.UUID(int=1)),
    f"{PERMITTED[7]}\n",
    "",
    "zzz",
    5,
    [PERMITTED[0]],
    True,
]


async def test_r31_ten_thousand_ids_are_one_filter(make_store: MakeStore) -> None:
    """Of a field of the schema, the primary key, and keys of all forms; and what is in none."""
    typed = {"dtype": DataType.VARCHAR, "kwargs": {"max_length": 100}}
    store = make_store(metadata_schema={"typed": typed}, enable_dynamic_field=True)
    owners = [*OWNERS, *OTHERS, None]
    metadatas: list[dict[str, Any]] = [
        {"typed": one if isinstance(one, str) else "x", "plain": one, "of whom": one}
        | {"nested": {"owner": one}}
        for one in owners
    ]
    ids = [*OWNERS, *(f"other-{number}" for number in range(len(OTHERS) + 1))]
    await store.aadd_texts(["x"] * len(owners), metadatas, ids=ids)
    for field, values in LISTS.items():
        asked = {"field": field, "operator": "in", "value": values}
        assert set(await store.aget_pks(filter=asked)) == set(OWNERS)
        others = {**asked, "operator": "not_in"}
        assert set(await store.aget_pks(filter=others)) == set(ids) - set(OWNERS)
    asked = {"field": "plain", "operator": "in", "value": PERMITTED}
    found = await store.asimilarity_search("x", k=20, filter=asked)
    assert {one.id for one in found} == set(OWNERS)
    assert (await store.adelete(filter=asked)).count == len(OWNERS)


@ON_LITE
@pytest.mark.parametrize("others", [[], [5, ["a"], None]])
async def test_r31_any_text_is_found_in_a_long_list(
    make_store: MakeStore, others: list[Any]
) -> None:
    """With line breaks, signs and wildcards, whether all rows hold texts or not."""
    store = make_store()
    odd = ["a\nb", "\n", "a\n", "", "%", "_", '"', "\\", "\U0010ffff", "\ue000", "é", "\x00"]
    rows = [*odd, "in no list", *others]
    ids = [str(number) for number in range(len(rows))]
    await store.aadd_texts(["x"] * len(rows), [{"t": one} for one in rows], ids=ids)
    asked = {"field": "t", "operator": "in", "value": [*odd, *map(str, range(200))]}
    assert set(await store.aget_pks(filter=asked)) == set(ids[: len(odd)])
    asked["operator"] = "not_in"
    assert set(await store.aget_pks(filter=asked)) == set(ids[len(odd) :])


@ON_LITE
async def test_r31_many_numbers_are_one_filter(make_store: MakeStore) -> None:
    """Integers, floats and booleans keep their meaning in a long list."""
    store = make_store()
    rows = {"a": 0, "b": 3_998, "c": 3_999, "d": 7.0, "e": True, "f": "0", "g": None, "h": [0]}
    await store.aadd_texts(list(rows), [{"n": one} for one in rows.values()], ids=list(rows))
    values: list[Any] = [*range(0, 4_000, 2), 7, 0.5]
    asked = {"field": "n", "operator": "in", "value": values}
    assert set(await store.aget_pks(filter=asked)) == set("abde") - {"e"}
    asked["value"] = [*values, 1]
    assert set(await store.aget_pks(filter=asked)) == set("abde")


@ON_LITE
async def test_r31_a_long_list_is_written_beside_the_io_loop(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So other stores' calls go on."""
    threads: list[bool] = []
    write = filtering.write

    def watched(*args: Any) -> str:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append(True)
        else:
            threads.append(False)
        assert threading.current_thread() is not threading.main_thread()
        return write(*args)

    monkeypatch.setattr(filtering, "write", watched)
    view = shared.scoped(lists="thread")
    await view.aadd_texts(["x"], [{"owner": PERMITTED[3]}])
    assert await view.acount(filter={"field": "owner", "operator": "in", "value": PERMITTED}) == 1
    assert threads == [True]


@ON_LITE
async def test_r31_the_values_of_a_filter_are_bounded(shared: MilvusStore) -> None:
    """In their number, and in the bytes of the expression."""
    view = shared.scoped(lists="bounded")
    await view.aadd_texts(["x"])
    for values, said in (
        ([str(number) for number in range(21_846)], "21845 values"),
        ([f"{number:0200}" for number in range(21_000)], "2097152 characters"),
    ):
        with pytest.raises(FilterError, match=said):
            await view.acount(filter={"field": "n", "operator": "in", "value": values})
