"""Embedding models: one that shares requests, and the local default."""

from milvus_tools.embeddings.batching import BatchingEmbeddings
from milvus_tools.embeddings.local import LocalEmbeddings, local_embeddings

__all__ = ["BatchingEmbeddings", "LocalEmbeddings", "local_embeddings"]
