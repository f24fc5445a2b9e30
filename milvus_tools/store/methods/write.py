"""The public methods that write and delete."""

from __future__ import annotations  # `help` shows the short names of types

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from langchain_core.documents import Document

from milvus_tools._io.blocking import blocking
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.query_filter import FilterLike
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import delete, write
from milvus_tools.store.operations.attempt import WriteAttempt
from milvus_tools.store.operations.delete import DeleteResult
from milvus_tools.store.values import id_text, is_list
from milvus_tools.transport.requests import Vector

Item = TypeVar("Item")

BATCH_SIZE = 1_000


class WriteMethods(StoreBase):
    """Writes and deletes. Every write is an upsert: it replaces the whole entity that has the id.

    Before anything is written, a Document that Milvus could not return unchanged is refused with
    an `InvalidInputError`. If a batch fails after others were written, the call raises
    `PartialWriteError`. The outcome of a write that was cancelled, or whose deadline passed, is
    unknown; it is safe to repeat it with the same ids. The error has the ids, also those that
    were made for Documents without, as its attribute `ids`.
    """

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = BATCH_SIZE,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed texts and write them; the first write creates the collection.

        Args:
            texts: The texts.
            metadatas: A dictionary per text.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            batch_size: The most entities per request.
            ids: An id per text; a `None` among them is replaced by a new id. If two texts have
                the same id, the later one is kept.
            **kwargs: `partition_name`, for a store without a scope.

        Returns:
            The ids, one per text.
        """
        documents = _documents(texts, metadatas, ids)
        return await self._upsert(timeout, documents, batch_size, kwargs)

    add_texts = blocking(aadd_texts)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed Documents and write them.

        Args:
            documents: The Documents, which are not changed.
            **kwargs: `ids`, which take precedence over the ids of the Documents; `timeout`,
                `batch_size` and `partition_name` as in `aadd_texts`; `current_time`, which
                LangChain's `TimeWeightedVectorStoreRetriever` hands on, has no effect.

        Returns:
            The ids, one per Document.
        """
        kwargs.pop("current_time", None)
        # LangChain and its indexing pass `ids` as a keyword argument.
        return await self.aupsert(kwargs.pop("ids", None), documents, **kwargs)

    add_documents = blocking(aadd_documents)

    async def aadd_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Sequence[Vector],
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = BATCH_SIZE,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts with their vectors, without embedding them.

        Args:
            texts: The texts.
            embeddings: A vector per text, `(n, dim)` float32 values. A store with several
                embedding models needs a list of vectors per text, one per model.
            metadatas: A dictionary per text.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            batch_size: The most entities per request.
            ids: An id per text, as in `aadd_texts`.
            **kwargs: `partition_name`, for a store without a scope.

        Returns:
            The ids, one per text.
        """
        documents = _documents(texts, metadatas, ids)
        _require_embeddings(embeddings, len(documents))
        return await self._upsert(timeout, documents, batch_size, kwargs, embeddings)

    add_embeddings = blocking(aadd_embeddings)

    async def aupsert(
        self,
        ids: Sequence[str | None] | None = None,
        documents: list[Document] | None = None,
        batch_size: int = BATCH_SIZE,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed Documents and write them; each replaces the entity that has its id.

        Args:
            ids: An id per Document, or `None` for the ids of the Documents. A Document without
                an id gets a new one.
            documents: The Documents, which are not changed.
            batch_size: The most entities per request.
            timeout: Seconds for the call; `None` for the store's `timeout`.
            **kwargs: `partition_name`, for a store without a scope.

        Returns:
            The ids, one per Document.
        """
        named = _named(_listed(documents or (), "documents"), ids)
        return await self._upsert(timeout, named, batch_size, kwargs)

    upsert = blocking(aupsert)

    async def _upsert(
        self,
        timeout: float | None,
        documents: list[Document],
        batch_size: int,
        extra: dict[str, Any],
        embeddings: Sequence[Vector] | None = None,
    ) -> list[str]:
        attempt = WriteAttempt.of(documents)
        with attempt.told_in_errors():
            return await self._run(
                write.upsert, timeout, attempt, documents, embeddings, batch_size, extra
            )

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> DeleteResult:
        """Delete entities by id, by filter, or by both.

        The store reads the entities first, with Strong consistency, and then deletes them by
        key, so the count is exact.

        Args:
            ids: The ids. With a filter, only those that match it are deleted.
            expr: A [filter expression](https://milvus.io/docs/boolean.md).
            timeout: Seconds for the call; `None` for the store's `timeout`.
            filter: Conditions or a filter expression; joined to `expr` with AND.
            **kwargs: `partition_name`, for a store without a scope.

        Returns:
            The number of deleted entities. The result is true even if that is 0, because a
            delete that fails raises; it is not `True` itself.

        Raises:
            InvalidInputError: If neither ids nor a filter is given.
        """
        return await self._run(delete.delete, timeout, ids, filter, expr, kwargs)

    delete = blocking(adelete)

    async def aflush(self, timeout: float | None = None) -> None:
        """Flush Milvus Lite now, so that searches of recently written entities are fast.

        Milvus Lite searches entities that it has not flushed one by one. The store flushes in the
        background when that pays off; call this method to wait for it after a large load.

        A server flushes by itself, so it is sent nothing. Milvus Lite is not flushed either if
        the disk is nearly full, which is logged, or if the collection has an approximate index
        (`AUTOINDEX`, `HNSW`), because its searches with a filter would then miss entities that
        match.

        Args:
            timeout: Seconds for the call; `None` for the store's `timeout`. The flush itself goes
                on after that.

        Raises:
            MilvusError: If Milvus Lite failed. The entities that it should have flushed may be
                lost.
        """
        await self._run(write.flush, timeout)

    flush = blocking(aflush)


def _documents(
    texts: Iterable[str],
    metadatas: Sequence[dict[str, Any]] | None,
    ids: Sequence[str | None] | None,
) -> list[Document]:
    texts = [texts] if isinstance(texts, str) else _listed(texts, "texts")
    metadatas = None if metadatas is None else _listed(metadatas, "metadatas")
    for text in texts:
        if not isinstance(text, str):
            raise InvalidInputError(f"A text must be a string, not {type(text).__name__}.")
    if metadatas is not None and len(metadatas) != len(texts):
        raise InvalidInputError(
            f"There are {len(texts)} texts and {len(metadatas)} metadatas; give one per text."
        )
    for metadata in metadatas or ():
        if not isinstance(metadata, dict):
            raise InvalidInputError("Each of the metadatas must be a dictionary.")
    documents = [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas or [{} for _ in texts], strict=True)
    ]
    return _named(documents, ids)


def _named(documents: list[Document], ids: Sequence[str | None] | None) -> list[Document]:
    """Return the Documents with the given ids; where an id is `None`, one keeps its own."""
    for document in documents:
        _require_document(document)
    if ids is None:
        return documents
    if isinstance(ids, str) or not isinstance(ids, Sequence) or len(ids) != len(documents):
        raise InvalidInputError(f"ids must be a list of {len(documents)}, one per Document.")
    return [
        document if id_ is None else _with_id(document, id_)
        for document, id_ in zip(documents, ids, strict=True)
    ]


def _require_document(document: object) -> None:
    # Pydantic checks a Document when it is made, but not when its attributes are set.
    if not isinstance(document, Document):
        kind = type(document).__name__
        raise InvalidInputError(f"documents must hold Documents, not {kind}.")
    if not isinstance(document.page_content, str):
        kind = type(document.page_content).__name__
        raise InvalidInputError(f"A Document's page_content must be a string, not {kind}.")
    if not isinstance(document.metadata, dict):
        kind = type(document.metadata).__name__
        raise InvalidInputError(f"A Document's metadata must be a dictionary, not {kind}.")


def _require_embeddings(embeddings: Sequence[Vector], count: int) -> None:
    if not is_list(embeddings):
        kind = type(embeddings).__name__
        raise InvalidInputError(f"embeddings must be a list of vectors, not {kind}.")
    if len(embeddings) != count:
        raise InvalidInputError(
            f"There are {count} texts and {len(embeddings)} embeddings; give one per text."
        )


def _with_id(document: Document, id_: object) -> Document:
    return Document(
        id=id_text(id_), page_content=document.page_content, metadata=document.metadata
    )


def _listed(values: Iterable[Item], name: str) -> list[Item]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{name} must be a list, not {type(values).__name__}.")
    return list(values)
