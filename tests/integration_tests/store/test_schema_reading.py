"""How often a store asks what its collection is."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusStore
from milvus_tools.errors import MilvusError
from milvus_tools.store.session import Session
from milvus_tools.transport import ddl


@pytest.mark.parametrize("fails", [False, True])
async def test_requests_that_fail_together_ask_what_the_collection_is_together(
    make_store: Callable[..., MilvusStore], monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Calls that ask during a reading share the next one, unless that fails."""
    store = make_store()
    await store.aadd_texts(["x"], ids=["1"])
    readings = itertools.count(1)
    reading = ddl.open_existing

    def counted(*args: Any) -> Any:
        if next(readings) == 2 and fails:
            raise MilvusError("The second reading fails.")
        return reading(*args)

    async def all_at_once(session: Session) -> list[Any]:
        collection, deadline = session.collection, session.deadline
        schema = await collection.schemas.schema(deadline)
        assert schema is not None
        asked = (
            collection.schemas.has_changed(schema, MilvusError("?"), deadline) for _ in range(100)
        )
        return await asyncio.gather(*asked, return_exceptions=True)

    monkeypatch.setattr(ddl, "open_existing", counted)
    answers = await store._run(all_at_once, None)
    assert answers.count(False) == 100 - fails
    assert next(readings) == 3 + fails
    with pytest.raises(MilvusError):
        await store.acount("n in")
    assert next(readings) == 5 + fails  # later ones read again
