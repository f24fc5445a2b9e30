"""`BatchingEmbeddings`: calls that are made at the same time share a request."""

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from langchain_core.embeddings import Embeddings

from milvus_tools._io.calls import run_on_io_loop
from milvus_tools._io.loop import Ending, afinished, finished, portal, run_sync
from milvus_tools.batching import BatcherClosedError, BatcherStats, Limits
from milvus_tools.embeddings.client import CLOSED, EmbeddingClient
from milvus_tools.embeddings.models import document_method, query_method, retries_itself
from milvus_tools.embeddings.retrying import RetryPolicy, Sleep
from milvus_tools.embeddings.vectors import Embed, Vector, as_list

Result = TypeVar("Result")

_RETRIES: Final = 4
_QUERIES: Final = 256  # in one request
_DOCUMENTS: Final = 1_000  # as LangChain's models for services have it
_IN_FLIGHT: Final = 16  # of queries: threads, who come one by one, soon have taken four
_IN_FLIGHT_DOCUMENTS: Final = 4
_IN_FLIGHT_ALONE: Final = 64  # for queries that can't share a request


class BatchingEmbeddings(Embeddings):
    """Wraps an embedding model, so that calls made at the same time share a request.

    Queries share one if the model embeds them as it embeds documents, or has a method for
    several; else each has a request of its own. Identical queries in flight are embedded once.
    Documents of calls made at the same time share requests too. A text that the model refuses
    fails its own caller alone.

    All of it happens on one background event loop, whichever loop or thread a call comes from:
    calls from everywhere share requests, and a model that keeps connections sees one loop. A
    model that has connections open when the process is forked can't be used in the child.

    **Usage**:

    ```python
    model = BatchingEmbeddings(OpenAIEmbeddings())
    vectors = await asyncio.gather(*(model.aembed_query(text) for text in texts))  # 1 request
    await model.aclose()
    ```
    """

    _holds = False

    def __init__(
        self,
        model: Embeddings,
        *,
        embeds_alike: bool | None = None,
        embed_queries: Embed | None = None,
        max_batch_size: int | None = None,
        max_in_flight: int | None = None,
        retries: int | None = None,
        retry_seconds: float = 60.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Wrap a model; nothing is started yet.

        Args:
            model: The model.
            embeds_alike: Whether it embeds queries as it embeds documents. `None` is for known
                models: yes for OpenAI's, Azure OpenAI's and the local ones, no for all others.
            embed_queries: Embeds several queries at once, where the model has a way of its own,
                as `lambda texts: model.aembed(texts, input_type="search_query")` for Cohere's.
                By default the model's `aembed_queries` or `embed_queries`, if it has one.
            max_batch_size: The most texts in one request. `None` for 256 queries or 1000
                documents.
            max_in_flight: The most requests under way at once: so many of queries, and so many
                of documents. `None` for 16 and 4; for queries that have a request of their own
                each, 64.
            retries: How often a request is sent again when the service is overloaded, fails or
                can't be reached. `None` leaves it to the model if that has `max_retries`, and
                is 4 else.
            retry_seconds: No request is sent again later than so long after the first time.
            sleep: Waits before a request is sent again: as long as the service asks, else a
                random time below 1 s, 2 s, 4 s, ….

        Raises:
            ValueError: If a bound can't be meant, or `embeds_alike` and `embed_queries` are both
                given.
        """
        if embeds_alike and embed_queries is not None:
            raise ValueError("Give embeds_alike=True or embed_queries, not both.")
        method = query_method(model, embeds_alike, embed_queries)
        if retries is None:
            retries = 0 if retries_itself(model) else _RETRIES
        self._make = functools.partial(
            EmbeddingClient,
            model,
            method,
            document_method(model),
            _limits(
                _QUERIES if max_batch_size is None else max_batch_size,
                (_IN_FLIGHT if method.shared else _IN_FLIGHT_ALONE)
                if max_in_flight is None
                else max_in_flight,
            ),
            _limits(
                _DOCUMENTS if max_batch_size is None else max_batch_size,
                _IN_FLIGHT_DOCUMENTS if max_in_flight is None else max_in_flight,
            ),
            RetryPolicy(retries, retry_seconds, sleep),
        )
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._sender: EmbeddingClient | None = None
        self._abandoned: list[EmbeddingClient] = []
        self._closed = False
        self._ending: Ending | None = None

    @property
    def stats(self) -> BatcherStats:
        """How many queries became how many requests; those sent again count once."""
        sender = self._sender
        return BatcherStats() if sender is None else sender.stats

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query, in a request that it shares with others.

        Args:
            text: The query.

        Returns:
            The vector that the model makes of it.

        Raises:
            BatcherClosedError: If these embeddings are closed.
            DimensionError: If the model made more vectors than texts, or fewer.
            Exception: What the model raised, as it is.
        """
        return as_list(await self._run(lambda sender: sender.query(text)))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, in as many requests as their number needs.

        Args:
            texts: The texts.

        Returns:
            A vector per text, in order.

        Raises:
            BatcherClosedError: If these embeddings are closed.
            DimensionError: If the model made more vectors than texts, or fewer.
            Exception: What the model raised, as it is.
        """
        return list(map(as_list, await self._run(lambda sender: sender.documents(texts))))

    async def avectors(self, texts: Sequence[str], *, query: bool) -> Sequence[Vector]:
        """Embed texts as queries or as documents, in float32 arrays where the model makes them.

        Args:
            texts: The texts.
            query: Whether they are queries.

        Returns:
            What `aembed_query` or `aembed_documents` would, without making lists of arrays.

        Raises:
            Exception: What those raise.
        """
        if query:
            return [
                await self._run(functools.partial(EmbeddingClient.query, text=text))
                for text in texts
            ]
        return await self._run(lambda sender: sender.documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The blocking version of `aembed_query`; threads share requests too."""
        return as_list(self._wait(lambda sender: sender.query(text)))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The blocking version of `aembed_documents`; threads share requests too."""
        return list(map(as_list, self._wait(lambda sender: sender.documents(texts))))

    async def aclose(self) -> None:
        """Refuse new calls, and return when those under way have ended.

        It goes on if the caller is cancelled; whoever calls this again waits for the same.
        """
        await afinished(self._end())

    def close(self) -> None:
        """The blocking version of `aclose`."""
        portal().require_elsewhere()
        finished(self._end())

    def __del__(self) -> None:
        """Let the I/O loop's thread go, without waiting for it."""
        if self._holds and self._sender is not None and self._pid == os.getpid():
            portal().run_detached(self._sender.close())

    async def _run(self, work: Callable[[EmbeddingClient], Coroutine[Any, Any, Result]]) -> Result:
        if portal().is_current():
            return await work(self._enter(hold=False))  # whoever calls there holds the portal
        return await run_on_io_loop(work(self._enter()))

    def _wait(self, work: Callable[[EmbeddingClient], Coroutine[Any, Any, Result]]) -> Result:
        portal().require_elsewhere()
        return run_sync(work(self._enter()))

    def _enter(self, *, hold: bool = True) -> EmbeddingClient:
        """Return the sender; hold the portal until these embeddings are closed or forgotten."""
        self._notice_fork()
        with self._lock:
            if self._closed:
                raise BatcherClosedError(CLOSED)
            if self._sender is None:
                self._sender = self._make()
            if hold and not self._holds:
                portal().acquire()
                self._holds = True
            return self._sender

    def _end(self) -> Ending | None:
        """Begin to close, once; return the end that is to come, if there was anything to close."""
        self._notice_fork()
        with self._lock:
            if not self._closed and self._sender is not None:
                if not self._holds:
                    portal().acquire()
                self._ending = portal().run_and_release(self._sender.close())
            self._closed, self._holds = True, False
            return self._ending

    def _notice_fork(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.Lock()
        if self._sender is not None:
            # Kept, as the parent's I/O loop is: its tasks would complain of being destroyed.
            self._abandoned.append(self._sender)
            self._sender = None
        self._holds = False
        self._ending = None


def _limits(size: int, in_flight: int) -> Limits:
    return Limits(max_batch_size=size, max_batch_weight=size, max_in_flight=in_flight)
