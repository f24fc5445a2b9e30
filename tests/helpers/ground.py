"""A collection with rows of others in it, and how tests look at it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import MilvusClient

from milvus_tools import MilvusStore, MilvusToolsError, ScopedMilvusStore
from tests.helpers.generated_values import same_document

OTHERS = ["b", "A", "a ", "", "a\x00", 1, None, ["a"], {"a": "a"}]
NEIGHBOURS = [
    *(
        Document(id=f"b{n}", page_content="x", metadata={"tenant": other, "n": n, "k": "v"})
        for n, other in enumerate(OTHERS)
    ),
    Document(id="nobody", page_content="", metadata={"n": 1, "k": "v"}),
    Document(id='tenant="a"', page_content=")", metadata={"n": 2, "tenant ": "a"}),
]
TAKEN = tuple(str(document.id) for document in NEIGHBOURS)


@dataclasses.dataclass
class Ground:
    """A collection that holds rows of others, and what tenant a has of it."""

    lite: bool
    store: MilvusStore
    views: list[ScopedMilvusStore]
    client: MilvusClient

    def view(self, number: int) -> tuple[ScopedMilvusStore, bool]:
        """Return a view, and whether it has the scope in the stored keys: one in two has."""
        return self.views[number % 2], number % 2 == 1

    def rows(self) -> list[dict[str, Any]]:
        """Read all rows, past the store."""
        rows = self.client.query(
            self.store.collection_name,
            filter="pk >= ''",
            output_fields=["pk", "text", "vector", "$meta"],
            consistency_level="Strong",
        )
        ordered = [dict(sorted(row.items())) for row in rows]
        return sorted(ordered, key=lambda row: row["pk"])

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """Check that what happens meanwhile leaves the rows of others, and no other ones."""
        if self.lite:  # where each read goes through all writes since the last flush (T48)
            self.client.flush(self.store.collection_name)
        before = self.rows()
        assert [row["pk"] for row in before] == sorted(TAKEN)
        yield
        assert repr(self.rows()) == repr(before)


async def answer_of(call: Awaitable[Any]) -> Any | None:
    """Return the answer, or `None` for an error that anyone may read."""
    try:
        return await call
    except MilvusToolsError as error:
        message = str(error)
        assert len(message.split()) > 2
        assert message.encode()
        assert "Traceback" not in message
        assert "127.0.0.1" not in message
        return None


async def answers_of(calls: Sequence[Awaitable[Any]]) -> list[Any | None]:
    """Await calls at the same time."""
    return await asyncio.gather(*map(answer_of, calls))


def require_same(found: Sequence[Document], wanted: Sequence[Document]) -> None:
    """Check that Documents are those that were written, types and order included."""
    assert [document.id for document in found] == [document.id for document in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert same_document(one, other), (one, other)


def by_id(documents: Sequence[Document]) -> list[Document]:
    """Sort Documents."""
    return sorted(documents, key=lambda document: str(document.id))


def has_one(
    document: Document,
    pairs: Sequence[tuple[str, Any]],
    equal: Callable[[Any, Any], bool],
) -> bool:
    """Tell whether a Document's metadata has one of some keys with its value."""
    metadata = document.metadata
    return any(key in metadata and equal(metadata[key], value) for key, value in pairs)
