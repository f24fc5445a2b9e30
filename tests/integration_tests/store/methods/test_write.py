"""Writes that land without an answer: their ids are told, so that a second try is harmless."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from milvus_tools import MilvusStore
from milvus_tools.errors import (
    DeadlineError,
    InvalidInputError,
    MilvusError,
    PartialWriteError,
    UnavailableError,
)
from tests.helpers.support import ON_LITE
from tests.helpers.transports import Landing

MakeStore = Callable[..., MilvusStore]
TEXTS = ["The red kite", "The barn owl"]
LATE = DeadlineError("No answer.")
GONE = UnavailableError("The connection broke.")


@pytest.fixture
def landing(make_store: MakeStore, shared: MilvusStore) -> Callable[..., MilvusStore]:
    """Make a store on the shared collection whose writes land and fail."""

    def make(**landing: object) -> MilvusStore:
        transport = functools.partial(Landing, **landing)
        return make_store(collection_name=shared.collection_name, transport=transport)

    return make


@pytest.mark.parametrize("error", [LATE, GONE])
async def test_r17_a_write_that_may_have_landed_is_repeated_with_its_ids(
    landing: Callable[..., MilvusStore], shared: MilvusStore, error: MilvusError
) -> None:
    """The error has the ids that were made, and a second try with them duplicates nothing."""
    marks: list[dict[str, Any]] = [{"r17": type(error).__name__}] * 2
    store = landing(error=error)
    with pytest.raises(type(error)) as caught:
        await store.aadd_texts(TEXTS, marks)
    ids = list(caught.value.ids)
    assert f'may have been written, as "{ids[0]}", "{ids[1]}"' in str(caught.value)
    assert await shared.aexisting_ids(ids) == set(ids)
    assert await shared.aadd_texts(TEXTS, marks, ids=ids) == ids
    assert await shared.acount(f'r17 == "{type(error).__name__}"') == 2


async def test_r17_a_deadline_that_passes_tells_the_ids(
    landing: Callable[..., MilvusStore], shared: MilvusStore
) -> None:
    """The ids are made before the call, so that they outlive it: given ones and new ones."""
    await shared.aadd_texts(["first"], ids=["r17-first"])
    store = landing()
    documents = [Document("kite", id="r17-given"), Document("owl")]
    with pytest.raises(DeadlineError, match="may have been written") as caught:
        await store.aadd_documents(documents, timeout=3)
    given, made = caught.value.ids
    assert given == "r17-given"
    assert [one.page_content for one in await shared.aget_by_ids([made])] == ["owl"]


def test_r17_the_blocking_twins_tell_the_ids(
    landing: Callable[..., MilvusStore], shared: MilvusStore
) -> None:
    """Also of writes with given vectors."""
    store = landing(error=LATE)
    vector = shared.embeddings.embed_query("kite")
    with pytest.raises(DeadlineError) as caught:
        store.add_embeddings(["kite"], [vector])
    assert [one.page_content for one in shared.get_by_ids(caught.value.ids)] == ["kite"]


async def test_r17_a_part_that_may_have_landed_is_told_apart(
    landing: Callable[..., MilvusStore], shared: MilvusStore
) -> None:
    """What was confirmed is in `written`, and the sentence names the others."""
    await shared.aadd_texts(["first"], ids=["r17-first"])
    store = landing(error=LATE, passes=1)
    with pytest.raises(PartialWriteError, match="The others may have been written") as caught:
        await store.aadd_texts([*TEXTS, "The swift"], batch_size=1)
    error = caught.value
    assert len(error.ids) == 3
    assert set(error.written) < set(error.ids)
    assert error.written[0] not in str(error).partition("The others")[2]
    assert await shared.aexisting_ids(error.ids) >= set(error.written)


async def test_r17_a_write_that_is_refused_did_not_land(
    landing: Callable[..., MilvusStore], shared: MilvusStore
) -> None:
    """Where Milvus answers, or nothing was sent, nothing may have been written."""
    with pytest.raises(MilvusError) as caught:
        await landing(error=MilvusError("Refused.", 5)).aadd_texts(TEXTS)
    assert "may have been written" not in str(caught.value)
    with pytest.raises(InvalidInputError) as refused:
        await shared.aadd_texts(TEXTS, [{"n": object()}, {}])
    assert not refused.value.ids


@ON_LITE
async def test_r17_without_ids_of_its_own_a_write_can_t_be_repeated(
    make_store: MakeStore,
) -> None:
    """If Milvus makes the ids, the error says so, and has none."""
    store = make_store(auto_id=True, transport=functools.partial(Landing, error=LATE))
    with pytest.raises(DeadlineError, match="look for it first") as caught:
        await store.aadd_texts(TEXTS)
    assert not caught.value.ids
