"""Names of fields: one meaning in filters, orders, scopes and the tools."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain_core.documents import Document

from milvus_tools import FilterField, MilvusStore, MilvusToolkit, ScopedMilvusStore
from milvus_tools.errors import FilterError, InvalidInputError
from milvus_tools.filters import TypedFilter
from tests.helpers.support import ON_LITE, make_collection
from tests.helpers.tools import call

MakeStore = Callable[..., MilvusStore]
# As the tutorial has them: ids of the user's own in the metadata, made ids as keys.
TUTORIAL = [
    Document(page_content=f"Text {number}", metadata={"id": f"doc_{number}", "n": number})
    for number in (1, 2, 3)
]


def equal(field: str, value: Any) -> dict[str, Any]:
    """Return a condition."""
    return {"field": field, "operator": "eq", "value": value}


async def written(store: MilvusStore, name: str) -> tuple[ScopedMilvusStore, list[str]]:
    """Write the tutorial's Documents into a scope of the test's own; return their keys, too."""
    view = store.scoped(names=name)
    return view, await view.aadd_documents(TUTORIAL)


def tools_of(store: Any, **settings: Any) -> Mapping[str, Any]:
    """Return the tools by their verbs."""
    toolkit = MilvusToolkit(store, allow_writes=True, **settings)
    return {tool.name.removeprefix("milvus_"): tool for tool in toolkit.get_tools()}


async def ids_found(tool: Any, **arguments: Any) -> list[str]:
    """Return the ids of the Documents that a tool finds."""
    return [document.id for document in (await call(tool, **arguments)).artifact]


async def test_r13_id_is_the_metadata_key(shared: MilvusStore) -> None:
    """Typed filters, `order_by`, declared types, scopes and raw expressions name it alike."""
    view, keys = await written(shared, "metadata id")
    for filter_ in (
        equal("id", "doc_2"),
        "id == 'doc_2'",
        TypedFilter(equal("id", "doc_2"), {"id": "string"}, allow_dynamic=False),
        equal("pk", keys[1]),
    ):
        (found,) = await view.asearch_by_metadata(filter=filter_)
        assert (found.id, found.metadata["id"]) == (keys[1], "doc_2")
    assert [one.id for one in await view.scoped(id="doc_2").asimilarity_search("x")] == [keys[1]]
    assert await view.acount(filter=equal("id", keys[1])) == 0
    ordered = await view.asearch_by_metadata(order_by="id", descending=True)
    assert [one.metadata["id"] for one in ordered] == ["doc_3", "doc_2", "doc_1"]
    by_key = await view.asearch_by_metadata(order_by="pk")
    assert [one.id for one in by_key] == sorted(keys)
    assert await view.afilter_expression(equal("id", 1), {"id": "integer"}) in (
        "id == 1",
        '$meta["id"] == 1',
    )
    assert (await view.adelete(filter=equal("id", "doc_1"))).count == 1
    assert (await view.adelete(expr="id == 'doc_2'")).count == 1
    assert [one.metadata["id"] for one in await view.asearch_by_metadata()] == ["doc_3"]


async def test_r13_id_is_the_key_where_the_key_is_called_id(make_store: MakeStore) -> None:
    """A field of the schema comes before metadata, under every spelling of its name."""
    store = make_store(primary_field="id")
    await store.aadd_texts(["x", "y"], ids=["a", "b"])
    for name in ("id", "['id']"):
        assert await store.aget_pks(filter=equal(name, "b")) == ["b"]
        found = await store.asearch_by_metadata(order_by=name, descending=True)
        assert [one.id for one in found] == ["b", "a"]
    with pytest.raises(InvalidInputError, match="reserved"):
        await store.aadd_texts(["z"], [{"id": "other"}], ids=["c"])
    with pytest.raises(FilterError, match="no field 'pk'"):
        await store.aget_pks(filter=TypedFilter(equal("pk", "b"), {}, allow_dynamic=False))


@ON_LITE
async def test_r13_a_collection_without_such_a_field_says_so(
    make_store: MakeStore, client: Any, collection_name: str
) -> None:
    """Without a dynamic field, `id` is no field, unless the schema has one."""
    make_collection(client, collection_name, dynamic=False)
    store = make_store()
    await store.aadd_texts(["x"], ids=["a"])
    with pytest.raises(FilterError, match=r"no field 'id'.*there are pk, text"):
        await store.aget_pks(filter=equal("id", "a"))
    with pytest.raises(InvalidInputError, match="no field 'id'"):
        await store.asearch_by_metadata(order_by="id")
    assert await store.aget_pks(filter=equal("pk", "a")) == ["a"]


async def test_r13_in_tools_id_is_the_documents_own(shared: MilvusStore) -> None:
    """It is the one that the model sees, unless the operator declares a metadata key `id`."""
    view, keys = await written(shared, "tools")
    tools = tools_of(view, filter_fields={"n": "integer"})
    assert await ids_found(tools["search"], query="x", filters=[equal("id", keys[0])]) == keys[:1]
    by_metadata = tools["search_by_metadata"]
    assert await ids_found(by_metadata, filters=[equal("id", keys[0])]) == keys[:1]
    assert await ids_found(by_metadata, order_by="id") == sorted(keys)
    assert await ids_found(by_metadata, filters=[equal("id", "doc_1")]) == []
    refused = await call(by_metadata, filters=[equal("pk", keys[0])])
    assert "no field 'pk'; there are id, n." in refused.content
    assert not any("metadata" in tools[name].description for name in ("search", "delete"))


@pytest.mark.parametrize(
    "declared", [{"filter_fields": {"id": "string"}}, {"allow_dynamic": True}]
)
async def test_r13_in_tools_a_declared_id_is_metadata(
    shared: MilvusStore, declared: dict[str, Any]
) -> None:
    """The Document's id is `pk` then, and each tool's description says so."""
    view, keys = await written(shared, f"declared {declared}")
    tools = tools_of(view, **declared)
    for name in ("search", "search_by_metadata", "delete"):
        said = "The document's id is the field pk; the field id is metadata."
        assert tools[name].description.endswith(said)
    by_metadata = tools["search_by_metadata"]
    assert await ids_found(by_metadata, filters=[equal("id", "doc_2")]) == keys[1:2]
    assert await ids_found(by_metadata, filters=[equal("pk", keys[0])]) == keys[:1]
    assert await ids_found(by_metadata, order_by="id") == keys
    assert await ids_found(by_metadata, order_by="pk") == sorted(keys)
    for given in ({"ids": keys[:1]}, {"filters": [equal("id", "doc_2")]}):
        assert (await call(tools["delete"], **given)).artifact["deleted"] == 1
    assert await view.aget_pks() == keys[2:]


async def test_r13_in_tools_an_id_of_the_schema_is_metadata(make_store: MakeStore) -> None:
    """The key goes by its own name then."""
    schema = {"id": {"dtype": 21, "kwargs": {"max_length": 100}}}
    store = make_store(primary_field="key", metadata_schema=schema, enable_dynamic_field=False)
    await store.aadd_texts(["x", "y"], [{"id": "doc_1"}, {"id": "doc_2"}], ids=["a", "b"])
    toolkit = MilvusToolkit(store)
    search, by_metadata = await toolkit.aget_tools()
    assert "The document's id is the field key" in search.description
    assert await ids_found(by_metadata, filters=[equal("id", "doc_1")]) == ["a"]
    assert await ids_found(by_metadata, filters=[equal("key", "b")]) == ["b"]
    context = await toolkit.aget_context()
    assert '- key (string): the document\'s id, such as "a", "b"' in context.replace(
        '"b", "a"', '"a", "b"'
    )


def test_r13_the_question_names_the_key_as_the_tool_does(shared: MilvusStore) -> None:
    """A person reads which of the two ids a delete means."""
    toolkit = MilvusToolkit(shared, filter_fields={"id": "string"}, allow_writes=True)
    asks = toolkit.interrupt_on()["milvus_delete"]["description"]
    arguments = {"ids": ["a"], "filters": [equal("id", "doc_1")]}
    assert 'pk is one of "a"' in asks({"args": arguments})
    assert 'id is "doc_1"' in asks({"args": arguments})


NESTED = [
    {"specs": {"screen": "OLED", "size": {"cm": 30}, "ports": ["usb"], "a.b": 1}, "x.y": "dot"},
    {"specs": {"screen": "LCD", "size": {"cm": 10}, "ports": []}, "x": {"y": "path"}},
    {"specs": '{"screen": "OLED", "size": {"cm": 40}}'},  # a text, whatever it looks like
    {"other": 1},
]


@pytest.mark.parametrize("metadata_field", [None, "metadata"])
async def test_r14_a_dot_is_a_path(make_store: MakeStore, metadata_field: str | None) -> None:
    """A path leads to nested keys, whatever is missing on its way; brackets hold a key's dot."""
    store = make_store(metadata_field=metadata_field)
    await store.aadd_texts(["a", "b", "c", "d"], NESTED, ids=["a", "b", "c", "d"])
    for name, operator, value, ids in (
        ("specs.screen", "eq", "OLED", "a"),
        ("specs['screen']", "eq", "OLED", "a"),
        ("['specs'].screen", "in", ["OLED", "LCD"], "ab"),
        ("specs.screen", "ne", "OLED", "bcd"),
        ("specs.screen", "exists", False, "cd"),
        ("specs.screen", "prefix", "LC", "b"),
        ("specs.size.cm", "gt", 20, "a"),
        ("specs.size.cm", "between", [0, 30], "ab"),
        ('specs["a.b"]', "eq", 1, "a"),
        ("specs.a.b", "exists", False, "abcd"),
        ("['x.y']", "eq", "dot", "a"),
        ("x.y", "eq", "path", "b"),
    ):
        condition = {"field": name, "operator": operator, "value": value}
        assert "".join(sorted(await store.aget_pks(filter=condition))) == ids, condition
    if metadata_field is None:
        contains = {"field": "specs.ports", "operator": "contains", "value": "usb"}
        assert await store.aget_pks(filter=contains) == ["a"]
    ordered = await store.asearch_by_metadata(order_by="specs.size.cm")
    assert [one.id for one in ordered] == ["b", "a", "c", "d"]
    ordered = await store.asearch_by_metadata(order_by="['x.y']")
    assert [one.id for one in ordered] == ["a", "b", "c", "d"]


async def test_r14_in_tools_a_declared_path_is_filtered_sorted_and_written(
    shared: MilvusStore,
) -> None:
    """The model names the path; what it writes is nested."""
    view = shared.scoped(names="paths")
    declared = {"specs.screen": "string", "['x.y']": FilterField("integer", "a dot")}
    tools = tools_of(view, filter_fields=declared)
    metadata = {"specs.screen": "OLED", "['x.y']": 7}
    document = {"text": "A phone", "metadata": metadata}
    (id_,) = (await call(tools["upsert"], documents=[document])).artifact["ids"]
    (found,) = await view.aget_by_ids([id_])
    assert found.metadata == {"specs": {"screen": "OLED"}, "x.y": 7, "names": "paths"}
    for name, value in metadata.items():
        assert await ids_found(tools["search"], query="x", filters=[equal(name, value)]) == [id_]
        assert await ids_found(tools["search_by_metadata"], order_by=name) == [id_]
    both = tools_of(view, filter_fields={"specs": "string", "specs.screen": "string"})
    document = {"text": "x", "metadata": {"specs": "x", "specs.screen": "LCD"}}
    refused = await call(both["upsert"], documents=[document])
    assert "'specs.screen' is inside another value" in refused.content
    context = MilvusToolkit(view, filter_fields=declared).get_context()
    assert '- specs.screen (string), such as "OLED"' in context
    assert "- ['x.y'] (integer): a dot, such as 7" in context


@pytest.mark.parametrize(
    "name", ["a..b", ".a", "a.", "['a", "a['b'", "['a']b", 'a["b]', "['a'].", "[''']"]
)
@ON_LITE
async def test_r14_what_is_no_path_is_refused(shared: MilvusStore, name: str) -> None:
    """Wherever a name is read: the sentence says how a key with a dot is written."""
    view = shared.scoped(names="malformed")
    await view.aadd_texts(["x"])
    for reads in (
        lambda: view.acount(filter=equal(name, 1)),
        lambda: view.asearch_by_metadata(order_by=name),
    ):
        with pytest.raises(FilterError, match=r"is no path of keys.*\['x.y'\]"):
            await reads()
    with pytest.raises(FilterError, match="no path"):
        TypedFilter(equal("n", 1), {name: "integer"})
    with pytest.raises(ValueError, match="no path"):
        MilvusToolkit(view, filter_fields={name: "integer"})
