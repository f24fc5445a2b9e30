"""The retriever that searches for several queries, a reranker, and calls of chat models."""

from milvus_tools.retrievers.link_reranker import LinkReranker
from milvus_tools.retrievers.query_generation import QUERY_PROMPT
from milvus_tools.retrievers.retriever import MilvusMultiQueryRetriever
from milvus_tools.retrievers.wrappers import inside_wrappers

__all__ = ["QUERY_PROMPT", "LinkReranker", "MilvusMultiQueryRetriever", "inside_wrappers"]
