"""Async Milvus store, tools and retrievers for LangChain and LangGraph agents."""

from milvus_tools.embeddings import BatchingEmbeddings, local_embeddings
from milvus_tools.errors import MilvusToolsError
from milvus_tools.store import DeleteResult, MilvusStore, ScopedMilvusStore
from milvus_tools.toolkit import MilvusToolkit
from milvus_tools.tools import FilterField

__all__ = [
    "BatchingEmbeddings",
    "DeleteResult",
    "FilterField",
    "MilvusStore",
    "MilvusToolkit",
    "MilvusToolsError",
    "ScopedMilvusStore",
    "local_embeddings",
]
