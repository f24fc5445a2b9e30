"""`BatchingEmbeddings`: calls that are made at the same time share a request."""

import asyncio
import functools
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from milvus_tools._io.lifecycle import Lifecycle
from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.batching import BatcherClosedError, BatcherStats
from milvus_tools.embeddings.client import CLOSED, EmbeddingClient, client_maker
from milvus_tools.embeddings.retrying import Sleep
from milvus_tools.embeddings.source import Embed, Vector, as_list


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
            ValueError: If a limit is invalid, or `embeds_alike` and `embed_queries` are both
                given.
        """
        make = client_maker(
            model,
            embeds_alike=embeds_alike,
            embed_queries=embed_queries,
            max_batch_size=max_batch_size,
            max_in_flight=max_in_flight,
            retries=retries,
            retry_seconds=retry_seconds,
            sleep=sleep,
        )
        # A store that calls on the I/O loop holds its thread: it goes when the store closes,
        # whether or not these embeddings are closed.
        self._lifecycle = Lifecycle(
            make, functools.partial(BatcherClosedError, CLOSED), held_from_io_loop=False
        )

    @property
    def stats(self) -> BatcherStats:
        """Counts of queries and of their requests; a request that is sent again counts once."""
        client = self._lifecycle.resource
        return BatcherStats() if client is None else client.stats

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
        return as_list(await self._lifecycle.run(EmbeddingClient.query, text))

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
        return list(map(as_list, await self._lifecycle.run(EmbeddingClient.documents, texts)))

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
            return await gather_or_cancel(
                self._lifecycle.run(EmbeddingClient.query, text) for text in texts
            )
        return await self._lifecycle.run(EmbeddingClient.documents, texts)

    def embed_query(self, text: str) -> list[float]:
        """The blocking version of `aembed_query`; threads share requests too."""
        return as_list(self._lifecycle.run_sync(EmbeddingClient.query, text))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The blocking version of `aembed_documents`; threads share requests too."""
        return list(map(as_list, self._lifecycle.run_sync(EmbeddingClient.documents, texts)))

    async def aclose(self) -> None:
        """Refuse new calls, and return when those under way have ended.

        It goes on if the caller is cancelled; a second call waits for the same end.
        """
        await self._lifecycle.aclose()

    def close(self) -> None:
        """The blocking version of `aclose`."""
        self._lifecycle.close()
