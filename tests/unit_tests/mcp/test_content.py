"""The structured content of answers: bounds, and what they leave out."""

import json
from typing import Any

import jsonschema
import pytest
from langchain_core.documents import Document

from milvus_tools.mcp.content import SCHEMAS, structured
from milvus_tools.ranking import RETRIEVAL
from tests.helpers.tools import toolkit, unopened

HIDDEN = "a\u200bb"  # a space of no width


def found(*documents: Document, verb: str = "search_by_metadata", **settings: Any) -> Any:
    """Return the content of an answer, which has the form that its schema says."""
    content = structured(verb, list(documents), toolkit(**settings))
    jsonschema.validate(content, SCHEMAS[verb])
    return content


def one(metadata: dict[str, Any], **settings: Any) -> Any:
    """Return the content of an answer with one Document."""
    (document,) = found(Document("text", id="1", metadata=metadata), **settings)["documents"]
    return document


def test_metadata_that_does_not_fit_is_counted() -> None:
    """Later keys that fit are there."""
    shown = one({"a": list(range(1_000)), "year": 2003, "b" * 2_000: 1}, max_chars=100)
    assert shown["metadata"] == {"year": 2003}
    assert shown["metadata_left_out"] == 2


def test_nested_metadata_is_whole_or_text() -> None:
    """Two keys that look alike once they are visible are not made one."""
    nested = {"maker": {"name": "x", "sizes": [1, 2.5, None, True]}}
    assert one(nested)["metadata"] == nested
    alike = {HIDDEN: 1, "a\\u200bb": 2}
    assert one({"deep": alike})["metadata"] == {"deep": '{"a\\u200bb": 1, "a\\\\u200bb": 2}'}
    assert one(alike)["metadata"] == {"a\\u200bb": 1}
    assert one(alike)["metadata_left_out"] == 1


def test_what_is_nested_deeply_becomes_text() -> None:
    """The text begins where the depth ends."""
    value: Any = "core"
    for _ in range(50):
        value = {"in": value}
    shown = json.dumps(one({"deep": value})["metadata"])
    assert shown.count('"in"') == 10
    assert '{\\"in\\": {\\"in\\"' in shown


def test_invisible_characters_are_written_out() -> None:
    """In ids, texts, keys and values."""
    document = Document(HIDDEN, id=HIDDEN, metadata={HIDDEN: [HIDDEN, {HIDDEN: HIDDEN}]})
    assert "\u200b" not in json.dumps(found(document), ensure_ascii=False)


def test_the_scope_and_hidden_keys_are_left_out_and_not_counted() -> None:
    """As in the text."""
    store = unopened().scoped(tenant="acme")
    fields = ["year", "tenant"]
    metadata = {"year": 1, "secret": 2, "tenant": "acme"}
    shown = one(metadata, store=store, metadata_fields=fields)
    assert shown["metadata"] == {"year": 1}
    assert shown["metadata_left_out"] == 0


@pytest.mark.parametrize("forged", ["x", {"found_by": [{"score": 1.0}]}, None])
def test_a_documents_own_metadata_is_no_score(forged: Any) -> None:
    """Only a search sets one; a forged one made the call fail, or passed for a score."""
    shown = one({RETRIEVAL: forged})
    assert shown["metadata"] == {RETRIEVAL: forged}
    assert "score" not in shown


def test_a_search_tells_its_score() -> None:
    """The best of its queries', if the metric has scores."""
    found_by = [{"score": 0.25}, {"score": 0.5}, {"score": None}]
    scored = Document("text", id="1", metadata={RETRIEVAL: {"found_by": found_by}})
    plain = Document("text", id="2", metadata={RETRIEVAL: {"found_by": [{"score": None}]}})
    first, second = found(scored, plain, verb="search")["documents"]
    assert first["score"] == 0.5
    assert first["metadata"] == {}
    assert "score" not in second


def test_documents_that_do_not_fit_are_counted() -> None:
    """The first is always there, cut to the bounds."""
    documents = [Document("x" * 9_000, id="y" * 60_000) for _ in range(50)]
    content = found(*documents, max_chars=9_000, max_total_chars=4_000)
    assert len(content["documents"]) + content["left_out"] == 50
    assert 1 <= len(content["documents"]) < 5
    assert len(json.dumps(content)) < 2 * 4_000


@pytest.mark.parametrize("verb", ["upsert", "delete"])
def test_ids_that_do_not_fit_are_counted(verb: str) -> None:
    """A thousand of the longest ids would be 65 MB."""
    ids = [f"{n:01000}" + "x" * 60_000 for n in range(1_000)]
    artifact = {"ids": ids, "deleted": 1_000, "dry_run": False, "new": ids, "replaced": ids[:1]}
    content = structured(verb, artifact, toolkit(max_total_chars=4_000))
    jsonschema.validate(content, SCHEMAS[verb])
    lists = [value for value in content.values() if isinstance(value, list)]
    assert all(lists)
    assert sum(map(len, lists)) + content["left_out"] == 1_000 + (verb == "upsert")
    assert len(json.dumps(content)) < 2 * 4_000
