"""The upsert tool: a call that is repeated writes nothing twice."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.errors import DeadlineError
from tests.helpers.tools import call, toolkit, tools_of
from tests.helpers.transports import Landing

MakeStore = Callable[..., MilvusStore]
DOCUMENTS: list[dict[str, Any]] = [
    {"text": "The red kite", "metadata": {"year": 1999}},
    {"text": "The barn owl"},
]


@pytest.fixture
def view(shared: MilvusStore, request: pytest.FixtureRequest) -> ScopedMilvusStore:
    """A part of the shared collection, which exists."""
    view = shared.scoped(case=request.node.nodeid)
    view.add_texts(["first"])
    return view


@pytest.fixture
def landing(make_store: MakeStore, view: ScopedMilvusStore) -> ScopedMilvusStore:
    """The same part, by a store whose writes land without an answer."""
    transport = functools.partial(Landing, error=DeadlineError("No answer."))
    store = make_store(collection_name=view.collection_name, transport=transport)
    return store.scoped(view.scope)


async def test_r17_a_model_that_tries_again_writes_nothing_twice(
    view: ScopedMilvusStore, landing: ScopedMilvusStore
) -> None:
    """The ids are told; with the same arguments, or with the ids, the rows are replaced."""
    failed = await call(tools_of(toolkit(landing))["upsert"], documents=DOCUMENTS)
    assert failed.status == "error"
    assert "may have been written, as " in failed.content
    tool = tools_of(toolkit(view))["upsert"]
    again = await call(tool, documents=DOCUMENTS)
    ids = again.artifact["replaced"]
    assert (len(ids), again.artifact["new"]) == (2, [])
    assert all(f'"{id_}"' in failed.content for id_ in ids)
    changed = [{**one, "id": id_} for one, id_ in zip(DOCUMENTS, ids, strict=True)]
    assert (await call(tool, documents=changed)).artifact["replaced"] == ids
    assert await view.acount() == 3


async def test_r17_equal_documents_of_one_call_are_written_once(view: ScopedMilvusStore) -> None:
    """Their id is made of their content; another text, or other metadata, is another one."""
    other = {**DOCUMENTS[0], "metadata": {"year": 2000}}
    documents = [DOCUMENTS[0], DOCUMENTS[0], other]
    message = await call(tools_of(toolkit(view))["upsert"], documents=documents)
    assert message.content.startswith("Wrote 2 documents. New: ")
    assert await view.acount() == 3


async def test_r17_tenants_with_equal_documents_do_not_meet(
    shared: MilvusStore, view: ScopedMilvusStore
) -> None:
    """The scope is a part of the content that an id is made of."""
    other = shared.scoped(case="r17-other")
    ours, theirs = [
        (await call(tools_of(toolkit(one))["upsert"], documents=DOCUMENTS)).artifact["new"]
        for one in (view, other)
    ]
    assert len({*ours, *theirs}) == 4


async def test_r17_a_collection_that_makes_ids_takes_documents_without(
    make_store: MakeStore,
) -> None:
    """The tool then makes none, and each call writes new rows."""
    tool = tools_of(toolkit(make_store(auto_id=True)))["upsert"]
    first = await call(tool, documents=DOCUMENTS)
    second = await call(tool, documents=DOCUMENTS)
    assert len({*first.artifact["new"], *second.artifact["new"]}) == 4
