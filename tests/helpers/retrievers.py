"""An embedding model that fails or hangs for some queries, and a tracer of retrievers' runs."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from tests.helpers.support import embeddings

BROKEN = "broken"
ENDLESS = "endless"


class UnreliableModel(Embeddings):
    """Fails for queries with `broken` in them, and never answers those with `endless`.

    Attributes:
        together: How many queries must be at work before it answers any: who asks fewer at once
            waits for ever.
    """

    def __init__(self) -> None:
        self._model = embeddings()
        self.queries: list[str] = []
        self.at_work = self.most_at_work = 0
        self.cancelled: list[str] = []
        self.together: asyncio.Barrier | None = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._model.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            await asyncio.sleep(0)
            if self.together is not None:
                await self.together.wait()
            if ENDLESS in text:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(text)
            raise
        finally:
            self.at_work -= 1
        if BROKEN in text:
            raise ValueError("10.0.0.1:80 does not take the key sk-secret")
        return self._model.embed_query(text)


class Traced(BaseCallbackHandler):
    """Notes the runs of retrievers: their queries, parents and results."""

    def __init__(self) -> None:
        self.runs: dict[UUID, dict[str, Any]] = {}

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None, **more: Any
    ) -> None:
        self.runs[run_id] = {"query": query, "parent": parent_run_id, **more}

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["documents"] = list(documents)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["error"] = error

    @property
    def root(self) -> dict[str, Any]:
        """The retriever's own run."""
        (root,) = (run for run in self.runs.values() if run["parent"] is None)
        return root

    @property
    def children(self) -> dict[str, dict[str, Any]]:
        """The runs below it, by their queries."""
        return {run["query"]: run for run in self.runs.values() if run["parent"] is not None}


def found_by(document: Document, key: str = "retrieval") -> list[str]:
    """Return the queries that found a Document."""
    return [one["query"] for one in document.metadata[key]["found_by"]]
