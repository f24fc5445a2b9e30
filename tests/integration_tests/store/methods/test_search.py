"""Searches whose options Milvus would ignore, and vectors that it returns in another form."""

from collections.abc import Callable

import pytest
from pymilvus import DataType

from milvus_tools import MilvusStore
from milvus_tools.errors import InvalidInputError, UnsupportedError
from tests.helpers.support import ON_LITE, ON_SERVER

MakeStore = Callable[..., MilvusStore]
DOCUMENTS = {"doc": {"dtype": DataType.VARCHAR, "kwargs": {"max_length": 20}}}


@ON_SERVER
@pytest.mark.parametrize("more", [{}, {"group_size": 2, "strict_group_size": True}])
async def test_r10_a_server_that_does_not_group_says_so(
    shared: MilvusStore, more: dict[str, int]
) -> None:
    """Milvus 2.3 ignores the field, so nothing is sent to it."""
    await shared.aadd_texts(["a"], [{"doc": "d"}], ids=["r10"])
    for call in (shared.asimilarity_search, shared.amax_marginal_relevance_search):
        with pytest.raises(UnsupportedError, match=r"group_by_field needs Milvus 2\.4"):
            await call("q", k=3, group_by_field="doc", **more)
    retriever = shared.as_retriever(search_kwargs={"group_by_field": "doc"})
    with pytest.raises(UnsupportedError, match="group_by_field"):
        await retriever.ainvoke("q")


@ON_LITE
async def test_r10_k_is_the_number_of_groups(make_store: MakeStore) -> None:
    """Each group has one Document, or as many as `group_size`."""
    store = make_store(metadata_schema=DOCUMENTS)
    await store.aadd_texts(
        [f"text {number}" for number in range(12)],
        [{"doc": f"d{number % 4}"} for number in range(12)],
    )
    found = await store.asimilarity_search("q", k=3, group_by_field="doc")
    assert len({document.metadata["doc"] for document in found}) == len(found) == 3
    found = await store.asimilarity_search("q", k=3, group_by_field="doc", group_size=2)
    assert len(found) == 6
    assert len({document.metadata["doc"] for document in found}) == 3


async def test_r10_grouping_that_has_no_effect_is_refused(shared: MilvusStore) -> None:
    """A size without a field, and the primary key, of which Milvus Lite finds one row."""
    await shared.aadd_texts(["a", "b"], ids=["r10 a", "r10 b"])
    with pytest.raises(InvalidInputError, match="need group_by_field"):
        await shared.asimilarity_search("q", k=3, group_size=2)
    with pytest.raises(InvalidInputError, match="can't be the primary key 'pk'"):
        await shared.asimilarity_search("q", k=3, group_by_field="pk")


@ON_SERVER
async def test_r23_mmr_reads_16_bit_numbers(make_store: MakeStore) -> None:
    """They come as bytes, and are numbers to the ranking; 2.3.5 finds some of the rows."""
    store = make_store(
        vector_schema={"dtype": DataType.FLOAT16_VECTOR},
        index_params={"index_type": "FLAT", "metric_type": "COSINE"},
    )
    ids = [f"text {number}" for number in range(20)]
    await store.aadd_texts(ids, ids=ids)
    found = await store.amax_marginal_relevance_search("text 1", k=20)
    assert {document.id for document in found} <= set(ids)
    assert len(found) > 1
