"""Scripted embedding models, and errors as HTTP clients raise them."""

import asyncio
import collections
import threading
from collections.abc import Mapping
from typing import Any

from langchain_core.embeddings import Embeddings

from tests.helpers.support import DIM, embeddings

BAD = "bad"
DOCUMENT, QUERY = 1.0, 2.0  # what the vectors of texts and of queries begin with


class StatusError(Exception):
    """An error with a response, as most clients'."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"Error {status}.")
        self.response = Response(status, headers or {})


class Response:
    """The response that such an error carries."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.headers = headers


def too_many() -> StatusError:
    """Return an error that asks to come again at once."""
    return StatusError(429, {"Retry-After": "0"})


def document_vector(text: str) -> list[float]:
    """Return what a text becomes as a document."""
    return [DOCUMENT, *map(float, text.encode())]


def query_vector(text: str) -> list[float]:
    """Return what a text becomes as a query."""
    return [QUERY, *map(float, text.encode())]


class FakeModel(Embeddings):
    """A model with async methods, which tells queries from documents and refuses bad texts.

    Args:
        failures: What its next requests raise.
    """

    def __init__(self, *failures: Exception) -> None:
        self.failures = collections.deque(failures)
        self.documents: list[list[str]] = []
        self.queries: list[list[str]] = []
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.at_work = self.most_at_work = 0

    @property
    def requests(self) -> int:
        """How often it was asked."""
        return len(self.documents) + len(self.queries)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        raise AssertionError("The async method was there.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents.append(texts)
        await self._work(texts)
        return [document_vector(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        self.queries.append([text])
        await self._work([text])
        return query_vector(text)

    async def _work(self, texts: list[str]) -> None:
        self.loops.add(asyncio.get_running_loop())
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            for _ in range(1 + len(texts) % 3):
                await asyncio.sleep(0)
        finally:
            self.at_work -= 1
        if self.failures:
            raise self.failures.popleft()
        if BAD in texts:
            raise StatusError(400)


class QueriesModel(FakeModel):
    """The same with a method for several queries."""

    async def aembed_queries(self, texts: list[str]) -> list[list[float]]:
        self.queries.append(texts)
        await self._work(texts)
        return [query_vector(text) for text in texts]


class TaskModel(FakeModel):
    """The same with a method that is told which, as those of some services."""

    async def embed_as(self, task: float, texts: list[str]) -> list[list[float]]:
        self.queries.append(texts)
        await self._work(texts)
        return [[task, *map(float, text.encode())] for text in texts]


class SyncModel(Embeddings):
    """A model without async methods, as local ones are."""

    def __init__(self) -> None:
        self.documents: list[list[str]] = []
        self.threads: set[threading.Thread] = set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents.append(texts)
        self.threads.add(threading.current_thread())
        return [document_vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class SyncQueriesModel(SyncModel):
    """The same with a method for several queries."""

    def embed_queries(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)


class Held(FakeModel):
    """A model whose requests wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        """Answer what waits, and what comes."""
        for loop in self.loops:
            loop.call_soon_threadsafe(self._gate.set)

    async def _work(self, texts: list[str]) -> None:
        self.loops.add(asyncio.get_running_loop())
        self.begun.release()
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await super()._work(texts)


class HeldQueries(Held, QueriesModel):
    """The same with a method for several queries."""


async def outcomes(*calls: Any) -> list[Any]:
    """Await calls together; return what came of each, errors too."""
    return await asyncio.gather(*calls, return_exceptions=True)


class AsyncModel(Embeddings):
    """A model with async methods of its own, which notes the loops it is used on."""

    def __init__(self, dim: int = DIM) -> None:
        """Make vectors of a dimension."""
        self._model = embeddings(dim)
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.threads: set[threading.Thread] = set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, after a turn of the loop."""
        self.loops.append(asyncio.get_running_loop())
        self.threads.add(threading.current_thread())
        await asyncio.sleep(0)
        return self._model.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text."""
        (vector,) = await self.aembed_documents([text])
        return vector


class Hanging(AsyncModel):
    """A model that embeds documents, and never answers a query."""

    def __init__(self) -> None:
        """Have been asked nothing."""
        super().__init__()
        self.asked = threading.Event()
        self.cancelled = threading.Event()

    async def aembed_query(self, text: str) -> list[float]:
        """Wait until it is cancelled."""
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError(f"{text!r} can't have been answered.")
