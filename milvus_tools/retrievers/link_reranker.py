"""A reranker that follows links, for any chain."""

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from milvus_tools.links import arank_by_links, rank_by_links


class LinkReranker(BaseDocumentCompressor):
    """Ranks Documents by links: those come first that the query or another good one names.

    It calls no model. It works best on the 50 best hits of a search, for questions whose answer
    takes two steps or more.

    Example:
        ```python
        from langchain_classic.retrievers import ContextualCompressionRetriever

        retriever = ContextualCompressionRetriever(
            base_compressor=LinkReranker(top_n=10),
            base_retriever=store.as_retriever(search_kwargs={"k": 50}),
        )
        ```
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title_field: str = "title"
    """The metadata key of the titles. A Document without one has the first name of its text as
    its title."""

    top_n: int = Field(10, ge=1)
    """The most Documents to return."""

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - of LangChain's interface
    ) -> list[Document]:
        """Return the best Documents, best first.

        Args:
            documents: The Documents, best first.
            query: The question.
            callbacks: Not used.
        """
        return rank_by_links(query, documents, self.title_field)[: self.top_n]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - as above
    ) -> list[Document]:
        """Return the best Documents, best first; ranks them in a thread.

        Args:
            documents: The Documents, best first.
            query: The question.
            callbacks: Not used.
        """
        return (await arank_by_links(query, documents, self.title_field))[: self.top_n]
