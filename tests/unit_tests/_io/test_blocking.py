"""Blocking versions of async methods."""

import inspect
import pydoc
from typing import Any

from milvus_tools import MilvusStore
from tests.helpers.support import embeddings
from tests.helpers.tools import unopened


class Louder(MilvusStore):
    """A store that overrides an async method alone."""

    async def asimilarity_search(self, query: str, *_: Any, **__: Any) -> list[Any]:
        """Shout."""
        return [query.upper()]


def test_a_blocking_method_reads_well_in_help() -> None:
    """`help` shows its own name, its parameters and what it does."""
    text = pydoc.plain(pydoc.render_doc(MilvusStore.similarity_search))
    assert "similarity_search(self, query" in text
    assert "filter: FilterLike = None" in text.replace("'", "")  # quoted before Python 3.14
    assert not inspect.iscoroutinefunction(MilvusStore.similarity_search)
    assert "Return the Documents nearest to a text." in text
    assert "The blocking version of `asimilarity_search`." in text
    assert MilvusStore.similarity_search.__name__ == "similarity_search"
    assert MilvusStore.similarity_search.__qualname__ == "SearchMethods.similarity_search"


def test_a_subclass_that_overrides_the_async_method_changes_both() -> None:
    """The async method is found by its name on the instance."""
    store = Louder(embeddings(), connection_args={"uri": "./never_opened.db"})
    assert store.similarity_search("kite") == ["KITE"]
    assert unopened().similarity_search is not store.similarity_search
