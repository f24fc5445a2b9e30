"""Hostile input: it comes back as it was, or is refused; and no row of others is touched.

All of it is given to views of tenant a. The rows in `NEIGHBOURS` are others', and a raw client
looks after every pack whether they are all there as they were, and nothing else.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from pymilvus import MilvusClient

from milvus_tools import MilvusStore, MilvusToolsError, ScopedMilvusStore
from milvus_tools.errors import FilterError
from milvus_tools.filters.literals import MAX_EXPRESSION, equals
from tests.conftest import new_name
from tests.helpers import generated_values as hostile
from tests.helpers.generated_expressions import expressions
from tests.helpers.generated_values import (
    Case,
    alike,
    confused,
    is_addressable,
    same,
    same_document,
)
from tests.helpers.support import embeddings, raw_client

OTHERS = ["b", "A", "a ", "", "a\x00", 1, None, ["a"], {"a": "a"}]
NEIGHBOURS = [
    *(
        Document(id=f"b{n}", page_content="x", metadata={"tenant": other, "n": n, "k": "v"})
        for n, other in enumerate(OTHERS)
    ),
    Document(id="nobody", page_content="", metadata={"n": 1, "k": "v"}),
    Document(id='tenant="a"', page_content=")", metadata={"n": 2, "tenant ": "a"}),
]
TAKEN = tuple(str(document.id) for document in NEIGHBOURS)


@dataclasses.dataclass
class Ground:
    """A collection that holds rows of others, and what tenant a has of it."""

    lite: bool
    store: MilvusStore
    views: list[ScopedMilvusStore]
    client: MilvusClient

    def view(self, number: int) -> tuple[ScopedMilvusStore, bool]:
        """Return a view, and whether it has the scope in the stored keys: one in two has."""
        return self.views[number % 2], number % 2 == 1

    def rows(self) -> list[dict[str, Any]]:
        """Read all rows, past the store."""
        rows = self.client.query(
            self.store.collection_name,
            filter="pk >= ''",
            output_fields=["pk", "text", "vector", "$meta"],
            consistency_level="Strong",
        )
        ordered = [dict(sorted(row.items())) for row in rows]
        return sorted(ordered, key=lambda row: row["pk"])

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """Check that what happens meanwhile leaves the rows of others, and no other ones."""
        if self.lite:  # where each read goes through all writes since the last flush (T48)
            self.client.flush(self.store.collection_name)
        before = self.rows()
        assert [row["pk"] for row in before] == sorted(TAKEN)
        yield
        assert repr(self.rows()) == repr(before)


async def answer_of(call: Awaitable[Any]) -> Any | None:
    """Return the answer, or `None` for an error that anyone may read."""
    try:
        return await call
    except MilvusToolsError as error:
        message = str(error)
        assert len(message.split()) > 2
        assert message.encode()
        assert "Traceback" not in message
        assert "127.0.0.1" not in message
        return None


async def answers_of(calls: Sequence[Awaitable[Any]]) -> list[Any | None]:
    """Await calls at the same time."""
    return await asyncio.gather(*map(answer_of, calls))


def require_same(found: Sequence[Document], wanted: Sequence[Document]) -> None:
    """Check that Documents are those that were written, types and order included."""
    assert [document.id for document in found] == [document.id for document in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert same_document(one, other), (one, other)


def by_id(documents: Sequence[Document]) -> list[Document]:
    """Sort Documents."""
    return sorted(documents, key=lambda document: str(document.id))


def has_one(
    document: Document,
    pairs: Sequence[tuple[str, Any]],
    equal: Callable[[Any, Any], bool],
) -> bool:
    """Tell whether a Document's metadata has one of some keys with its value."""
    metadata = document.metadata
    return any(key in metadata and equal(metadata[key], value) for key, value in pairs)


PACK = 100  # documents in one write
ROUND = 100  # expressions, or scopes, at the same time
TERMS = 25  # equalities in one expression
MAX_JSON = 60_000  # bytes; the server takes a few more, Milvus Lite any number
MAX_ROWS = 16_384
PREFIX = "tenant=%22a%22:"  # of the keys of tenant a with scoped_ids=True
ROWS = [
    Document(id=f"a{n}", page_content=text, metadata={"n": n, "k": "v", "t": ["a", n]})
    for n, text in enumerate(["x", "", "\\", ")", '("', "] or (n == 1", "'", "b0"])
]
COUNTS = [
    200,
    pytest.param(10_000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)]),
]
Tally = collections.Counter[str]
Pair = tuple[str, Any]


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=pytest.mark.server)])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """One collection per backend, for all that is generated."""
    uri = str(request.getfixturevalue(f"{request.param}_uri"))
    store = MilvusStore(
        embeddings(), collection_name=new_name(), connection_args={"uri": uri}, timeout=120
    )
    store.add_documents(NEIGHBOURS)
    views = [store.scoped(tenant="a"), store.scoped(tenant="a", scoped_ids=True)]
    client = raw_client(uri)
    yield Ground(request.param == "lite", store, views, client)
    client.close()
    store.drop()
    store.close()


@functools.cache
def generated(kind: str, count: int) -> list[Any]:
    """Return the same values for both backends."""
    strategies = {
        "cases": hostile.cases(TAKEN),
        "expressions": expressions(),
        "scopes": hostile.scopes(),
    }
    return hostile.generated(strategies[kind], count)


def add(view: ScopedMilvusStore, cases: Sequence[Case]) -> Awaitable[list[str]]:
    """Write cases in one call."""
    return view.aadd_texts(
        [case.text for case in cases],
        [case.metadata for case in cases],
        ids=[case.id for case in cases],
    )


def is_good(case: Case, *, scoped_ids: bool) -> bool:
    """Tell whether the collection can hold a case, and tenant a may write it."""
    if not hostile.is_good(case):
        return False
    key = PREFIX + str(case.id) if scoped_ids else str(case.id)
    return (
        hostile.is_text(key) and key not in TAKEN and same(case.metadata.get("tenant", "a"), "a")
    )


def is_big(case: Case) -> bool:
    """Tell whether a case has metadata that not every Milvus takes."""
    return len(json.dumps(case.metadata, ensure_ascii=False).encode()) > MAX_JSON


def unique(cases: Sequence[Case]) -> list[Case]:
    """Return the last case of each id."""
    return list({str(case.id): case for case in cases}.values())


def expected(case: Case) -> Document:
    """Return what must come back of a case."""
    metadata = {**case.metadata, "tenant": "a"}
    return Document(id=str(case.id), page_content=case.text, metadata=metadata)


@pytest.mark.parametrize("count", COUNTS)
async def test_hostile_documents_come_back_or_are_refused(
    ground: Ground, count: int, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Ids, texts and metadata are written, read, found and deleted exactly, or refused."""
    cases = generated("cases", count)
    tally = Tally()
    for number, start in enumerate(range(0, count, PACK)):
        view, scoped_ids = ground.view(number)
        with ground.untouched():
            pack = cases[start : start + PACK]
            tally += await check_pack(view, pack, scoped_ids=scoped_ids)
    record_testsuite_property(f"documents (lite: {ground.lite})", dict(tally))
    assert tally.total() == count
    assert tally["kept"] > count / 2
    assert tally["refused"] > count / 20


async def check_pack(view: ScopedMilvusStore, pack: Sequence[Case], *, scoped_ids: bool) -> Tally:
    """Write what can be written, in one call, and be refused with the rest, one by one."""
    good = [case for case in pack if is_good(case, scoped_ids=scoped_ids)]
    bad = [case for case in pack if not is_good(case, scoped_ids=scoped_ids)]
    big = [case for case in good if is_big(case)]
    small = [case for case in good if not is_big(case)]
    for case, ids in zip(bad, await answers_of([add(view, [case]) for case in bad]), strict=True):
        assert ids is None, case
    await asyncio.gather(*(check_big(view, case) for case in unique(big)))
    assert await view.acount() == 0
    wanted = {str(case.id): expected(case) for case in small}  # the last one of an id wins
    assert await add(view, small) == [str(case.id) for case in small]
    await check_reads(view, wanted)
    await check_equalities(view, list(wanted.values()))
    await check_deletes(view, wanted)
    return Tally(kept=len(small), refused=len(bad), big=len(big))


async def check_big(view: ScopedMilvusStore, case: Case) -> None:
    """Write what a backend may refuse, but not lose."""
    ids = await answer_of(add(view, [case]))
    kept = [] if ids is None else [expected(case)]
    require_same(await view.aget_by_ids([str(case.id)]), kept)
    assert (await view.adelete([str(case.id)])).count == len(kept)


async def check_reads(view: ScopedMilvusStore, wanted: dict[str, Document]) -> None:
    """Read all rows back by id, by filter and by similarity, and count them."""
    texts = [document.page_content for document in wanted.values()][:5]
    got, found, keys, count, *nearest = await asyncio.gather(
        view.aget_by_ids(list(wanted)),
        view.asearch_by_metadata(limit=MAX_ROWS),
        view.aget_pks("pk >= ''"),
        view.acount(),
        *(view.asimilarity_search(text, k=3) for text in texts),
    )
    require_same(got, list(wanted.values()))
    require_same(by_id(found), by_id(got))
    assert set(keys) == set(wanted)
    assert count == len(wanted)
    for hits in nearest:
        assert hits
        require_same(hits, [wanted[str(hit.id)] for hit in hits])


async def check_equalities(view: ScopedMilvusStore, documents: Sequence[Document]) -> None:
    """Ask for each scalar of the metadata: the rows that have it are found, and no others."""
    pairs = [
        (key, value)
        for document in documents
        for key, value in document.metadata.items()
        if isinstance(value, str | int | float)
        if is_addressable(key) and value != -(2**63)
    ]
    written = [(pair, f"({equals(*pair, dynamic=True)})") for pair in pairs]
    for _, expr in written:
        if len(expr) > MAX_EXPRESSION:
            with pytest.raises(FilterError):
                await view.acount(expr)
    asked, filters = packed([one for one in written if len(one[1]) <= MAX_EXPRESSION])
    answers = await asyncio.gather(
        *(view.asearch_by_metadata(filter_, limit=MAX_ROWS) for filter_ in filters)
    )
    for some, answer in zip(asked, answers, strict=True):
        found = {document.id for document in answer}
        for document in documents:
            if has_one(document, some, same):
                assert document.id in found, (document, some)
            elif not has_one(document, some, alike):
                assert document.id not in found, (document, some)


def packed(written: Sequence[tuple[Pair, str]]) -> tuple[list[list[Pair]], list[str]]:
    """Join equalities by `or`, as many as one expression may hold."""
    asked: list[list[Pair]] = []
    filters: list[str] = []
    for pair, expr in written:
        if filters and len(asked[-1]) < TERMS and len(filters[-1] + expr) < MAX_EXPRESSION - 4:
            asked[-1].append(pair)
            filters[-1] += f" or {expr}"
        else:
            asked.append([pair])
            filters.append(expr)
    return asked, filters


async def check_deletes(view: ScopedMilvusStore, wanted: dict[str, Document]) -> None:
    """Delete half of the rows, while asking for ids that are not there or are others'."""
    ids = list(wanted)
    gone, left = ids[::2], ids[1::2]
    absent = {*TAKEN, *(f"{id_[:100]}?" for id_ in gone)} - set(ids)
    deleted = await view.adelete([*gone, *absent])
    assert (deleted.count, deleted.missing) == (len(gone), len(absent))
    require_same(await view.aget_by_ids(ids), [wanted[id_] for id_ in left])
    assert (await view.adelete(left)).count == len(left)


@pytest.mark.parametrize("count", COUNTS)
async def test_hostile_expressions_stay_in_the_scope(
    ground: Ground, count: int, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """A raw expression raises, or narrows the scope as it narrows the whole collection."""
    asked = generated("expressions", count)
    tally = Tally()
    for number, start in enumerate(range(0, count, ROUND)):
        some = asked[start : start + ROUND]
        view, _ = ground.view(number)
        with ground.untouched():
            ids = await view.aadd_documents(ROWS)
            rows = await view.aget_by_ids(ids)
            checks = [check_expression(ground.store, view, expr, rows) for expr in some]
            tally.update(await asyncio.gather(*checks))
            for result in await answers_of([view.adelete(expr=expr) for expr in some]):
                assert result is None or result.count <= len(ROWS)
                tally["deleting"] += result is not None
            await view.adelete(ids)
    record_testsuite_property(f"expressions (lite: {ground.lite})", dict(tally))
    assert tally["refused"] + tally["empty"] + tally["found"] == count
    assert min(tally["refused"], tally["found"], tally["deleting"]) > count / 10


async def check_expression(
    store: MilvusStore, view: ScopedMilvusStore, expr: Any, rows: Sequence[Document]
) -> str:
    """Read by an expression in all ways; say what came of it."""
    found, keys, count, hits, everywhere = await answers_of(
        [
            view.asearch_by_metadata(expr, limit=MAX_ROWS),
            view.aget_pks(expr),
            view.acount(expr),
            view.asimilarity_search("x", k=len(rows) + len(NEIGHBOURS), expr=expr),
            store.asearch_by_metadata(expr, limit=MAX_ROWS),
        ]
    )
    answers = [found, keys, count, hits]
    if found is None:
        assert answers == [None] * 4, expr
        return "refused"
    assert None not in answers, expr
    ours = [row for row in rows if row.id in keys]
    require_same(by_id(found), ours)
    require_same(by_id(hits), ours)
    assert len(keys) == count == len(ours)
    if everywhere is not None:
        inside = [row.metadata["n"] for row in everywhere if row.metadata.get("tenant") == "a"]
        assert sorted(inside) == [row.metadata["n"] for row in ours], expr
    return "found" if ours else "empty"


@pytest.mark.parametrize("count", COUNTS)
async def test_hostile_scopes_hold_their_rows_alone(
    ground: Ground, count: int, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """A view held to a hostile field and value reads, counts and deletes its rows alone."""
    tried = kept = 0
    scopes = generated("scopes", count // 5)
    for start in range(0, len(scopes), ROUND):
        some = scopes[start : start + ROUND]
        with ground.untouched():
            kept += await check_scopes(ground, some)
            kept += await check_scopes_in_keys(ground, some)
        tried += len(some)
    record_testsuite_property(f"scopes (lite: {ground.lite})", {"tried": 2 * tried, "kept": kept})
    assert tried == count // 5
    assert kept > tried


async def open_scopes(
    ground: Ground, scopes: Sequence[Any], *, scoped_ids: bool
) -> dict[int, ScopedMilvusStore]:
    """Return the views that can be, each with one row of its own written."""
    views = {}
    for number, (field, value) in enumerate(scopes):
        if hostile.is_scope(field, value):
            views[number] = ground.store.scoped({field: value}, scoped_ids=scoped_ids)
        else:
            with pytest.raises(MilvusToolsError):
                ground.store.scoped({field: value}, scoped_ids=scoped_ids)
    ids = ["s" if scoped_ids else f"s{number}" for number in views]
    calls = [
        view.aadd_texts(["t"], ids=[id_]) for view, id_ in zip(views.values(), ids, strict=True)
    ]
    written = await answers_of(calls)
    return {
        number: view
        for (number, view), id_ in zip(views.items(), written, strict=True)
        if id_ is not None
    }


async def check_scopes(ground: Ground, scopes: Sequence[Any]) -> int:
    """Write a row in each scope, and see that no scope reaches another's."""
    views = await open_scopes(ground, scopes, scoped_ids=False)
    rows = {
        f"s{number}": Document(id=f"s{number}", page_content="t", metadata=dict(view.scope))
        for number, view in views.items()
    }
    assert (await ground.store.acount()) == len(rows) + len(NEIGHBOURS)
    await asyncio.gather(*(check_scope(ground, *pair, rows) for pair in views.items()))
    require_same(await ground.store.aget_by_ids(list(rows)), list(rows.values()))
    assert (await ground.store.adelete(list(rows))).count == len(rows)
    return len(rows)


async def check_scope(
    ground: Ground, number: int, view: ScopedMilvusStore, rows: dict[str, Document]
) -> None:
    """Read and count in a scope, and try to write over and delete a row of another."""
    ((field, value),) = view.scope.items()
    ours = [row for row in rows.values() if has_one(row, [(field, value)], same)]
    near = [row for row in rows.values() if has_one(row, [(field, value)], confused)]
    theirs = sorted(rows.keys() - {str(row.id) for row in ours})
    one = theirs[number % len(theirs)]  # not all scopes the same one: they would wait in line
    answers = await answers_of(
        [
            view.asearch_by_metadata(limit=MAX_ROWS),
            view.aget_by_ids(list(rows)),
            view.asimilarity_search("t", k=MAX_ROWS),
            view.acount(),
            view.adelete([one]),
            view.aadd_texts(["stolen"], ids=[one]),
        ]
    )
    found, got, hits, count, deleted, stolen = answers
    if ground.lite and len(near) > len(ours):
        assert answers[:4] == [None] * 4  # true and 1 are one to Milvus Lite: withheld
    else:
        require_same(by_id(found), by_id(ours))
        require_same(got, ours)
        require_same(by_id(hits), by_id(ours))
        assert count == len(ours)
    assert stolen is None
    assert deleted is None or deleted.count == 0


async def check_scopes_in_keys(ground: Ground, scopes: Sequence[Any]) -> int:
    """Write the same id in each scope, and delete it there again."""
    views = await open_scopes(ground, scopes, scoped_ids=True)
    different = {(next(iter(view.scope)), repr(view.scope)): view for view in views.values()}
    got = await answers_of([view.aget_by_ids(["s"]) for view in different.values()])
    for view, documents in zip(different.values(), got, strict=True):
        if documents is not None or not ground.lite:
            require_same(documents, [Document(id="s", page_content="t", metadata=view.scope)])
    assert await ground.store.acount() == len(different) + len(NEIGHBOURS)
    deleted = await asyncio.gather(*(view.adelete(["s"]) for view in different.values()))
    assert [result.count for result in deleted] == [1] * len(different)
    return len(different)
