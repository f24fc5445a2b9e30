"""The retriever that searches for several queries at once, its prompt, and a reranker by links."""

from milvus_tools.retrievers.link_reranker import LinkReranker
from milvus_tools.retrievers.query_generation import QUERY_PROMPT
from milvus_tools.retrievers.retriever import MilvusMultiQueryRetriever

__all__ = ["QUERY_PROMPT", "LinkReranker", "MilvusMultiQueryRetriever"]
