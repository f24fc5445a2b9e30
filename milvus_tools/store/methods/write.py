"""The public methods that write."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from langchain_core.documents import Document

from milvus_tools._io.blocking import blocking
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.query_filter import FilterLike
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import delete, write
from milvus_tools.store.operations.delete import DeleteResult
from milvus_tools.store.values import id_text, is_list
from milvus_tools.transport.requests import (
    Vector,
)

Item = TypeVar("Item")

BATCH_SIZE = 1_000


class WriteMethods(StoreBase):
    """Writes. Each is an upsert: an entity that has the id is replaced, as a whole.

    All refuse a Document that Milvus could not give back as it is (`InvalidInputError`), before
    anything is written, and raise `PartialWriteError` if some batches were written and a later
    one failed. A write that was cancelled, or whose deadline passed, has an unknown outcome;
    doing it again with the same ids is harmless.
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
        """Embed texts and write them; the first write makes the collection.

        Args:
            texts: The texts.
            metadatas: A dictionary per text.
            timeout: Seconds for the call; `None` for the store's.
            batch_size: The most entities per request.
            ids: An id per text; new ones are made for those that are `None`. Of two texts with
                one id the later one is kept.
            **kwargs: Outside scopes `partition_name`.

        Returns:
            The ids, one per text.
        """
        documents = _documents(texts, metadatas, ids)
        return await self._run(write.upsert, timeout, documents, None, batch_size, kwargs)

    add_texts = blocking(aadd_texts)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed Documents and write them.

        Args:
            documents: The Documents, which are left as they are.
            **kwargs: `ids`, which count before the Documents' own; `timeout`, `batch_size` and
                `partition_name` as in `aadd_texts`.

        Returns:
            The ids, one per Document.
        """
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
        """Write texts whose vectors are made already.

        Args:
            texts: The texts.
            embeddings: A vector per text, `(n, dim)` float32; in a store with several embedding
                models a list of vectors per text, one per model.
            metadatas: A dictionary per text.
            timeout: Seconds for the call; `None` for the store's.
            batch_size: The most entities per request.
            ids: An id per text.
            **kwargs: Outside scopes `partition_name`.

        Returns:
            The ids, one per text.
        """
        documents = _documents(texts, metadatas, ids)
        _require_several(embeddings, len(documents))
        return await self._run(
            write.upsert_with_vectors, timeout, documents, embeddings, batch_size, kwargs
        )

    add_embeddings = blocking(aadd_embeddings)

    async def aupsert(
        self,
        ids: Sequence[str | None] | None = None,
        documents: list[Document] | None = None,
        batch_size: int = BATCH_SIZE,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write Documents, each in place of the entity that has its id.

        Args:
            ids: An id per Document, or `None` for the Documents' own; a Document without one
                gets a new one.
            documents: The Documents, which are left as they are.
            batch_size: The most entities per request.
            timeout: Seconds for the call; `None` for the store's.
            **kwargs: Outside scopes `partition_name`.

        Returns:
            The ids, one per Document.
        """
        named = _named(_listed(documents or (), "documents"), ids)
        return await self._run(write.upsert, timeout, named, None, batch_size, kwargs)

    upsert = blocking(aupsert)

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        expr: str | None = None,
        timeout: float | None = None,
        *,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> DeleteResult:
        """Delete entities by id, by filter, or those that fit both.

        The entities are read first, with Strong consistency, and then deleted by key: so the
        count is exact.

        Args:
            ids: The ids.
            expr: A [filter expression](https://milvus.io/docs/boolean.md).
            timeout: Seconds for the call; `None` for the store's.
            filter: Conditions, or a filter expression, that hold beside `expr`.
            **kwargs: Outside scopes `partition_name`.

        Returns:
            How many were there and are gone. It is true also if none was: what fails, raises.
        """
        return await self._run(delete.delete, timeout, ids, filter, expr, kwargs)

    delete = blocking(adelete)

    async def aflush(self, timeout: float | None = None) -> None:
        """Make what was written fast to search now.

        Milvus Lite searches what it has not flushed entity by entity. The store lets it flush
        when that is worth it, in the background; after a load one may want to wait for it. A
        server does all this itself: there nothing is sent. Nor is it if the disk is nearly full,
        which is logged, or if the collection has an approximate index (`AUTOINDEX`, `HNSW`):
        Milvus Lite's searches with a filter would then miss some of what matches.

        Args:
            timeout: Seconds for the call; `None` for the store's. Milvus Lite goes on after it.

        Raises:
            MilvusError: If Milvus Lite failed. It may then have lost what it should have flushed.
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
        raise InvalidInputError(f"There are {len(texts)} texts and {len(metadatas)} metadatas.")
    for metadata in metadatas or ():
        if not isinstance(metadata, dict):
            raise InvalidInputError("Each of metadatas must be a dictionary.")
    documents = [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas or [{} for _ in texts], strict=True)
    ]
    return _named(documents, ids)


def _named(documents: list[Document], ids: Sequence[str | None] | None) -> list[Document]:
    """Give each Document its id of `ids`, if there are some."""
    for document in documents:
        _require_whole(document)
    if ids is None:
        return documents
    if isinstance(ids, str) or not isinstance(ids, Sequence) or len(ids) != len(documents):
        raise InvalidInputError(f"ids must be a list of {len(documents)}, one per Document.")
    return [
        document if id_ is None else _renamed(document, id_)
        for document, id_ in zip(documents, ids, strict=True)
    ]


def _require_whole(document: object) -> None:
    """Refuse what is no Document, or what became none when it was changed."""
    if not isinstance(document, Document):
        raise InvalidInputError(f"Documents are needed, not {type(document).__name__}.")
    if not isinstance(document.page_content, str):
        kind = type(document.page_content).__name__
        raise InvalidInputError(f"A Document's page_content must be a string, not {kind}.")
    if not isinstance(document.metadata, dict):
        kind = type(document.metadata).__name__
        raise InvalidInputError(f"A Document's metadata must be a dictionary, not {kind}.")


def _require_several(embeddings: Sequence[Vector], count: int) -> None:
    """Refuse what is not as many embeddings as there are texts."""
    if not is_list(embeddings):
        kind = type(embeddings).__name__
        raise InvalidInputError(f"embeddings must be a list of vectors, not {kind}.")
    if len(embeddings) != count:
        raise InvalidInputError(f"There are {count} texts and {len(embeddings)} embeddings.")


def _renamed(document: Document, id_: object) -> Document:
    return Document(
        id=id_text(id_), page_content=document.page_content, metadata=document.metadata
    )


def _listed(values: Iterable[Item], name: str) -> list[Item]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{name} must be a list, not {type(values).__name__}.")
    return list(values)
