"""Embedding models: one that shares requests, the local default, and what their errors mean."""

from milvus_tools.embeddings.batching import BatchingEmbeddings
from milvus_tools.embeddings.failures import is_invalid
from milvus_tools.embeddings.local import LocalEmbeddings, local_embeddings

__all__ = ["BatchingEmbeddings", "LocalEmbeddings", "is_invalid", "local_embeddings"]
