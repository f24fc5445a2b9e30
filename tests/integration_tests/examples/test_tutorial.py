"""The tutorial's operations, with its documents and expressions."""

import re

import pytest
import tutorial
from pymilvus import MilvusClient

OPERATIONS = [
    "add_texts",
    "add_documents",
    "add_embeddings",
    "similarity_search",
    "similarity_search_by_vector",
    "similarity_search_with_score",
    "similarity_search_with_score_by_vector",
    "max_marginal_relevance_search",
    "max_marginal_relevance_search_by_vector",
    "search_by_metadata",
    "get_pks",
    "delete",
    "upsert",
    "from_texts",
]


def test_the_tutorial_prints_its_operations_and_leaves_nothing(
    uri: str, client: MilvusClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fourteen, sync and async; `id == 'doc_1'` deletes, and upserts replace."""
    tutorial.run(uri, documents=20, counts=[3])
    printed = capsys.readouterr().out
    rows = re.findall(r"\| `(\w+)` \| (\d+) \| [\d.]+ \| [\d.]+ \| [\d.]+x \|", printed)
    assert rows == [(name, "3") for name in OPERATIONS]
    # Of the last 20, the async deletes took 3; `from_texts` added 3, twice.
    assert printed.endswith("\n\n23 documents are left, and 3 with ids of their own.\n")
    assert not {tutorial.COLLECTION, tutorial.KEYED} & {*client.list_collections()}
