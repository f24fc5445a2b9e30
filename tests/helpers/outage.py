"""Checks of a store while its server is gone, and when it is back."""

from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusStore
from milvus_tools.errors import DeadlineError, UnavailableError
from tests.helpers.support import texts

SECONDS = 3
CALLS: dict[str, Callable[[MilvusStore], Any]] = {
    "search": lambda store: store.asimilarity_search("before", timeout=SECONDS),
    "query": lambda store: store.asearch_by_metadata("outage == true", timeout=SECONDS),
    "add": lambda store: store.aadd_texts(["during"], ids=["during"], timeout=SECONDS),
    "delete": lambda store: store.adelete(["outage"], timeout=SECONDS),
}


async def require_errors(store: MilvusStore) -> None:
    """Demand that every kind of call fails in time, and says nothing of the address."""
    for call in CALLS.values():
        with pytest.raises((UnavailableError, DeadlineError)) as caught:
            await call(store)
        assert "127.0.0.1" not in str(caught.value)


async def require_recovery(store: MilvusStore) -> None:
    """Demand that the store which wrote the row `outage` reads it, and writes again."""
    assert texts(await store.aget_by_ids(["outage"])) == ["before"]
    found = await store.asimilarity_search("before", k=1, expr="outage == true")
    assert texts(found) == ["before"]
    await store.aadd_texts(["after"], ids=["after outage"])
    assert texts(await store.aget_by_ids(["after outage"])) == ["after"]
