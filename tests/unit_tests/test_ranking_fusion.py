"""Documents that several queries found."""

from langchain_core.documents import Document

from milvus_tools.ranking import fuse


def document(id_: str) -> Document:
    """Return a Document that has an id for its text, too."""
    return Document(id=id_, page_content=id_, metadata={"n": id_})


def test_fused_documents_tell_who_found_them() -> None:
    """Each carries the fused score, and per query the rank and the score there."""
    found = {
        "one": [(document("a"), 0.9), (document("b"), 0.5)],
        "two": [(document("b"), 0.8)],
    }
    first, second = fuse(found, k=5)
    assert (first.id, first.metadata["n"]) == ("b", "b")
    assert first.metadata["retrieval"] == {
        "score": 1 / 62 + 1 / 61,
        "found_by": [
            {"query": "one", "rank": 2, "score": 0.5},
            {"query": "two", "rank": 1, "score": 0.8},
        ],
    }
    assert second.metadata["retrieval"]["found_by"] == [{"query": "one", "rank": 1, "score": 0.9}]


def test_the_list_is_cut_and_the_documents_left_as_they_are() -> None:
    """At most k come back, and what was found is not changed."""
    hit = document("a")
    assert len(fuse({"q": [(hit, None), (document("b"), None)]}, k=1)) == 1
    assert hit.metadata == {"n": "a"}


def test_nothing_found_fuses_to_nothing() -> None:
    """Queries without hits make an empty list."""
    assert fuse({"q": []}, k=3) == []


def test_weights_say_which_query_counts_more() -> None:
    """The list of the heavier query comes first."""
    found = {"one": [(document("a"), None)], "two": [(document("b"), None)]}
    assert [one.id for one in fuse(found, k=2, weights=[1, 2])] == ["b", "a"]
