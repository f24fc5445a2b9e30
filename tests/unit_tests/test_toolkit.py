"""The settings of the toolkit: names, arguments, writes, descriptions."""

import sys
from typing import Any

import pytest
from pydantic import ValidationError

from milvus_tools import FilterField, MilvusToolkit
from milvus_tools.filters import FieldType
from tests.helpers.tools import call, toolkit, tools_of, unopened


def names(**settings: Any) -> list[str]:
    """Return the names of a toolkit's tools."""
    return [
        tool.name for tool in MilvusToolkit(unopened(), filter_fields={}, **settings).get_tools()
    ]


def test_tools_only_read_unless_writes_are_allowed() -> None:
    """Each tool that writes is there only if the operator says so."""
    reading = ["milvus_search", "milvus_search_by_metadata"]
    assert names() == reading
    assert names(allow_writes=True) == [*reading, "milvus_upsert", "milvus_delete"]
    assert names(allow_upsert=True) == [*reading, "milvus_upsert"]
    assert names(allow_writes=True, allow_upsert=False) == [*reading, "milvus_delete"]


def test_names_tell_collections_apart() -> None:
    """Prefix and suffix make names of their own for each collection of an agent."""
    assert names(prefix="", suffix="_news") == ["search_news", "search_by_metadata_news"]


def test_the_description_tells_what_the_collection_holds() -> None:
    """The operator's words reach the model."""
    assert all(
        "recipes" in tool.description for tool in toolkit(description="recipes").get_tools()
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 30}, "k can't be greater than max_k, nor limit greater than max_limit"),
        ({"max_k": 0}, "greater than or equal to 1"),
        ({"prefix": "a b"}, "letters, digits"),
        ({"prefix": "x" * 60}, "64 characters"),
        ({"filter_fields": {"year": "date"}}, "'date' is not a valid FieldType"),
        ({"filter_fields": {"$meta": "any"}}, "is not a field to filter on"),
        ({"top_k": 3}, "Extra inputs are not permitted"),
        ({"max_delete": 10_000}, "less than or equal to 1000"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], said: str) -> None:
    """Settings that contradict each other, or are unknown, fail at construction."""
    with pytest.raises(ValidationError) as refused:
        toolkit(**settings)
    assert said in str(refused.value)


def test_something_else_than_a_store_is_refused() -> None:
    """A toolkit is made of a store or a view."""
    with pytest.raises(ValidationError, match="MilvusStore"):
        MilvusToolkit("./docs.db")  # type: ignore[arg-type]


def test_a_field_that_the_scope_fixes_is_no_filter() -> None:
    """Values that the operator fixed are not arguments."""
    with pytest.raises(ValidationError, match="scope already fixes tenant"):
        toolkit(unopened().scoped(tenant="acme"), filter_fields={"tenant": "string"})


BOTH = {"scope_from": {"tenant": "t", "year": "y"}, "scope_from_user": {"tenant": "t"}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**BOTH, "filter_fields": {}}, "scope_from and scope_from_user both fix tenant"),
        ({"scope_from": {"year": "y"}}, "scope already fixes year"),
        ({"scope_from_user": {"year": "y"}}, "scope already fixes year"),
    ],
)
def test_r08_a_field_that_the_run_fixes_is_fixed_once_and_is_no_filter(
    settings: dict[str, Any], said: str
) -> None:
    """Two sources for a field are refused, and so is an argument for it."""
    with pytest.raises(ValidationError, match=said):
        toolkit(**settings)


def test_fields_are_declared_by_type_or_with_a_description() -> None:
    """A type's name is enough, and either way the type is one that is known."""
    kit = toolkit(filter_fields={"a": "number", "b": FilterField("string", "b's")})  # type: ignore[arg-type]
    assert kit.filter_fields == {
        "a": FilterField(FieldType.NUMBER),
        "b": FilterField(FieldType.STRING, "b's"),
    }


def test_approval_is_asked_for_each_tool_that_writes() -> None:
    """The configuration for `HumanInTheLoopMiddleware` names the tools that are there."""
    assert toolkit(allow_writes=False).interrupt_on() == {}
    asked = toolkit(suffix="_x").interrupt_on()
    assert list(asked) == ["milvus_upsert_x", "milvus_delete_x"]
    for one in asked.values():
        assert one["allowed_decisions"] == ["approve", "edit", "reject", "respond"]


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (
            {"filters": [{"field": "year", "operator": "lt", "value": 1990}], "ids": ["a"]},
            'Delete where year is less than 1990 and id is one of "a", in the collection docs?',
        ),
        (
            {"ids": ["a"], "dry_run": True},
            'Show what would be deleted where id is one of "a", in',
        ),
        ({"filters": "all"}, "Nothing would happen: the call will be refused. Invalid argum"),
        ({"expr": "x == 1"}, "Nothing would happen: the call will be refused. Invalid argum"),
        ({}, "Nothing would happen: the call will be refused. Give ids or filters"),
    ],
)
def test_a_delete_is_put_to_people_in_words(arguments: dict[str, Any], question: str) -> None:
    """The question names the rows that would be deleted."""
    store = unopened()
    store._settings.spec.__dict__["collection_name"] = "docs"
    description = toolkit(store).interrupt_on()["milvus_delete"]["description"]
    assert description({"args": arguments}, None, None).startswith(question)


def upsert_question(*documents: dict[str, Any], **settings: Any) -> str:
    """Return what a human is asked before documents are written."""
    description = toolkit(**settings).interrupt_on()["milvus_upsert"]["description"]
    return str(description({"args": {"documents": list(documents)}}, None, None))


def test_r02_an_upsert_is_put_to_people_with_every_id() -> None:
    """The question names each id before any text, and says how much of a long text is cut."""
    documents = [{"id": f"id {number}", "text": "x" * 9_999} for number in range(20)]
    first, *lines = upsert_question(*documents).splitlines()
    assert first.startswith("Write 20 documents to the collection ")
    for document, line in zip(documents, lines, strict=True):
        assert line.startswith(f'- id "{document["id"]}": text "xxx')
        assert "… (9801 more characters), metadata {}" in line
    assert len(first) + sum(map(len, lines)) < 20 * 300


def test_r02_what_a_question_leaves_out_is_counted() -> None:
    """Documents and ids past the first twenty are counted; a long id says that it is cut."""
    documents = [{"id": str(number), "text": "x"} for number in range(50)]
    question = upsert_question(*documents, max_documents=50)
    assert question.endswith("\n- 30 further documents, not shown")
    delete = toolkit().interrupt_on()["milvus_delete"]["description"]
    ids = ["x" * 900, *map(str, range(30))]
    said = delete({"args": {"ids": ids}}, None, None)
    assert "xxx … (702 more characters), " in said
    assert '"18" and 11 more, in the collection' in said


SOURCES = pytest.mark.parametrize("source", ["scope_from", "scope_from_user"])


@SOURCES
def test_a_scope_from_the_run_needs_the_extra(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Without LangGraph the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "langgraph.prebuilt", None)
    with pytest.raises(ImportError, match=r'pip install "milvus_tools\[agents\]"'):
        toolkit(**{source: {"tenant": "tenant"}}).get_tools()


@SOURCES
async def test_a_call_outside_a_run_is_refused_if_the_run_says_the_scope(source: str) -> None:
    """Without a run nothing is read or written, whatever the arguments say."""
    tools = tools_of(toolkit(**{source: {"tenant": "tenant"}}))
    made_up = {"context": {"tenant": "b"}, "server_info": {"user": {"tenant": "b"}}}
    for arguments in ({}, {"runtime": made_up}):
        message = await call(tools["search"], query="x", **arguments)
        assert message.status == "error"
        assert message.content.startswith("Refused: the run does not say whose data it may use")
