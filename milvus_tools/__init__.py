"""Async Milvus store, tools and retrievers for LangChain and LangGraph agents."""

from milvus_tools.embeddings import local_embeddings
from milvus_tools.errors import MilvusToolsError
from milvus_tools.store import DeleteResult, MilvusStore, ScopedMilvusStore

__all__ = [
    "DeleteResult",
    "MilvusStore",
    "MilvusToolsError",
    "ScopedMilvusStore",
    "local_embeddings",
]
