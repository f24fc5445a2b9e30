"""The retriever that searches for several queries at once, and its calls of chat models."""

from milvus_tools.retrievers.query_generation import QUERY_PROMPT
from milvus_tools.retrievers.retriever import MilvusMultiQueryRetriever
from milvus_tools.retrievers.wrappers import inside_wrappers

__all__ = ["QUERY_PROMPT", "MilvusMultiQueryRetriever", "inside_wrappers"]
