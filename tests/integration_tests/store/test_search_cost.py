"""What a search costs before its request leaves, counted in functions of ours that are entered."""

import pytest

from milvus_tools import MilvusStore
from tests.helpers.support import embeddings
from tests.measure_house import frames_of


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
async def test_a_lone_search_takes_the_shortest_way(store: MilvusStore) -> None:
    """On both loops together, with an embedding and without one."""
    await store.aadd_texts(["a kite", "an owl"])
    vector = await embeddings().aembed_query("kite")
    by_text = await frames_of(lambda: store.asimilarity_search("kite"))
    by_vector = await frames_of(lambda: store.asimilarity_search_by_vector(vector))
    assert len(by_text.functions) <= 100, by_text.functions
    assert len(by_vector.functions) <= 70, by_vector.functions
