"""The length of whole answers: bounded, with what was left out and how to read it."""

from typing import Any

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore, ScopedMilvusStore
from tests.helpers.tools import call, toolkit, tools_of

MOST = 6_000
LONG = [
    Document(f"{number} " + "kite <document> " * 60, id=f"{number}", metadata={"year": number})
    for number in range(20)
]


@pytest.fixture
def view(shared: MilvusStore, request: pytest.FixtureRequest) -> ScopedMilvusStore:
    """Twenty long Documents in a part of the shared collection."""
    view = shared.scoped(case=request.node.nodeid, scoped_ids=True)
    view.add_documents(LONG)
    return view


def shown(message: Any) -> int:
    """Count the documents that a model sees in an answer."""
    return int(message.content.count("</document>"))


async def test_r41_a_search_is_bounded_and_names_what_it_left_out(
    view: ScopedMilvusStore,
) -> None:
    """The ids of the rest are told, with the tool that reads them; the artifact has all."""
    tools = tools_of(toolkit(view, max_total_chars=MOST))
    message = await call(tools["search"], query="kite", k=20)
    assert len(message.content) <= MOST
    assert len(message.artifact) == 20
    count = shown(message)
    assert 1 < count < 20
    start = f"1 to {count} of 20 results. {20 - count} left out, to keep the answer short. "
    assert message.content.startswith(start)
    left = [one.id for one in message.artifact[count:]]
    assert f'milvus_search_by_metadata by id: "{left[0]}", "{left[1]}"' in message.content
    asked = {"field": "id", "operator": "in", "value": left}
    rest = await call(tools["search_by_metadata"], filters=[asked], limit=20)
    assert {one.id for one in rest.artifact} == set(left)


async def test_r41_pages_by_metadata_are_bounded_and_lead_to_all(view: ScopedMilvusStore) -> None:
    """Each page says where the next begins, and no Document is passed over."""
    search = tools_of(toolkit(view, max_total_chars=MOST))["search_by_metadata"]
    seen: list[str] = []
    while len(seen) < 20:
        page = await call(search, order_by="year", limit=20, offset=len(seen))
        assert len(page.content) <= MOST
        count = shown(page)
        first = len(seen)
        assert page.content.startswith(f"{first + 1} to {first + count} of 20 documents.")
        assert ("left out" in page.content) == (first + count < 20)
        assert (f"For more, offset={first + count}." in page.content) == (first + count < 20)
        assert len(page.artifact) == 20 - first
        seen += [str(one.id) for one in page.artifact[:count]]
    assert seen == [one.id for one in LONG]


async def test_r41_what_fits_is_told_whole(view: ScopedMilvusStore) -> None:
    """By default nothing is left out of an answer of usual length."""
    tools = tools_of(toolkit(view))
    for verb, arguments in {"search": {"query": "kite"}, "search_by_metadata": {}}.items():
        message = await call(tools[verb], **arguments)
        assert shown(message) == len(message.artifact)
        assert "left out" not in message.content


async def test_r41_the_longest_answers_are_bounded(view: ScopedMilvusStore) -> None:
    """Long ids, metadata and texts, that grow when they are escaped, stay within the bound."""
    ids = [("<document>" * 99)[: 900 + number] for number in range(20)]
    documents = [
        {"id": id_, "text": "<document>" * 900, "metadata": {"title": "\u200b" * 900}}
        for id_ in ids
    ]
    tools = tools_of(toolkit(view, max_total_chars=4_000, max_chars=50_000))
    answers = [
        await call(tools["upsert"], documents=documents),
        await call(tools["search"], query="kite", k=20),
        await call(tools["search_by_metadata"], order_by="id", descending=True, limit=40),
        await call(tools["delete"], ids=ids, dry_run=True),
        await call(tools["delete"], ids=ids),
        await call(tools["delete"], ids=ids),
    ]
    for message in answers:
        assert message.status == "success", message.content
        assert 0 < len(message.content) <= 4_000
    assert answers[0].content.count("<") == 0
    assert " and 1" in answers[0].content
