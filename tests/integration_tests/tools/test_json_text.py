"""Arguments as JSON text do what the same arguments do otherwise."""

import json
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from milvus_tools import MilvusStore, ScopedMilvusStore
from tests.helpers.tools import call, toolkit, tools_of

DOCUMENTS = [
    {"id": "1", "text": "The red kite", "metadata": {"year": 1999, "title": "Kite"}},
    {"id": "2", "text": "The barn owl", "metadata": json.dumps({"year": 2005, "title": "Owl"})},
    {"id": "3", "text": "The swift", "metadata": {"year": "2010"}},
]


@pytest.fixture
def view(shared: MilvusStore, request: pytest.FixtureRequest) -> ScopedMilvusStore:
    """A part of the shared collection of the test's own."""
    return shared.scoped(case=request.node.nodeid, scoped_ids=True)


@pytest.fixture
async def tools(view: ScopedMilvusStore) -> dict[str, BaseTool]:
    """The four tools, over three documents that were written as JSON text."""
    tools = tools_of(toolkit(view))
    written = await call(tools["upsert"], documents=json.dumps(DOCUMENTS))
    assert written.artifact["new"] == ["1", "2", "3"]
    return tools


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"field": "year", "operator": "eq", "value": "2005"}, {"2"}),
        ({"field": "year", "operator": "gte", "value": "2005"}, {"2", "3"}),
        ({"field": "year", "operator": "in", "value": '["1999", 2010]'}, {"1", "3"}),
        ({"field": "year", "operator": "between", "value": "[1990, 2006]"}, {"1", "2"}),
        ({"field": "title", "operator": "exists", "value": "false"}, {"3"}),
        ({"field": "title", "operator": "in", "value": '["Owl", "Kite"]'}, {"1", "2"}),
        ({"field": "id", "operator": "in", "value": '["1", "2"]'}, {"1", "2"}),
    ],
)
async def test_r40_filters_in_text_find_what_they_say(
    tools: dict[str, BaseTool], condition: dict[str, Any], ids: set[str]
) -> None:
    """Values, conditions and lists as text find the rows that the same data finds."""
    for filters in ([condition], condition, json.dumps([condition]), [json.dumps(condition)]):
        message = await call(tools["search_by_metadata"], filters=filters)
        assert {one.id for one in message.artifact} == ids
        message = await call(tools["search"], query="kite", queries="owls", filters=filters)
        assert {one.id for one in message.artifact} == ids


async def test_r40_ids_in_text_delete_what_they_name(
    tools: dict[str, BaseTool], view: ScopedMilvusStore
) -> None:
    """JSON is read; other text, that could be anything, deletes nothing."""
    for wrong in ("1", "all", "year > 0", "pk != ''"):
        assert (await call(tools["delete"], ids=wrong)).status == "error"
        assert (await call(tools["delete"], filters=wrong)).status == "error"
    assert await view.acount() == 3
    assert (await call(tools["delete"], ids='["1"]')).artifact["deleted"] == 1
    old = json.dumps({"field": "year", "operator": "lt", "value": "2010"})
    assert (await call(tools["delete"], filters=old)).artifact["ids"] == ["2"]


async def test_r39_free_metadata_is_read_from_text(view: ScopedMilvusStore) -> None:
    """Providers are told of free metadata as text, which keeps the types of its values."""
    tools = tools_of(toolkit(view, allow_dynamic=True))
    for number, metadata in enumerate(('{"size": 30}', {"size": 30})):
        documents = [{"id": f"{number}", "text": "hobby", "metadata": metadata}]
        assert (await call(tools["upsert"], documents=documents)).status == "success"
    asked = {"field": "size", "operator": "between", "value": [29, 31]}
    message = await call(tools["search_by_metadata"], filters=[asked], order_by="id")
    assert [one.id for one in message.artifact] == ["0", "1"]


async def test_r39_calls_of_strict_modes_write_null_for_what_they_leave_out(
    tools: dict[str, BaseTool],
) -> None:
    """Every argument that may be left out may be null, also inside documents."""
    nothing = {"query": "kite", "queries": None, "k": None, "filters": None}
    assert len((await call(tools["search"], **nothing)).artifact) == 3
    page = dict.fromkeys(["filters", "limit", "offset", "order_by", "descending"])
    assert len((await call(tools["search_by_metadata"], **page)).artifact) == 3
    documents = [
        {"id": None, "text": "The hobby", "metadata": None},
        {"id": "1", "text": "The red kite", "metadata": {"year": None, "title": None}},
    ]
    written = await call(tools["upsert"], documents=documents)
    assert written.artifact["replaced"] == ["1"]
    refused = await call(tools["delete"], ids=None, filters=None, dry_run=None)
    assert refused.content.startswith("Give ids or filters")
