"""Async Milvus store, tools and retrievers for LangChain and LangGraph agents."""

from milvus_tools.embeddings import BatchingEmbeddings, local_embeddings
from milvus_tools.errors import MilvusToolsError
from milvus_tools.retrievers import QUERY_PROMPT, LinkReranker, MilvusMultiQueryRetriever
from milvus_tools.store import DeleteResult, MilvusStore, ScopedMilvusStore
from milvus_tools.toolkit import MilvusToolkit
from milvus_tools.tools import FilterField

__all__ = [
    "QUERY_PROMPT",
    "BatchingEmbeddings",
    "DeleteResult",
    "FilterField",
    "LinkReranker",
    "MilvusMultiQueryRetriever",
    "MilvusStore",
    "MilvusToolkit",
    "MilvusToolsError",
    "ScopedMilvusStore",
    "local_embeddings",
]
