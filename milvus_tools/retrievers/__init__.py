"""The retriever that searches for several queries at once, and the prompt that makes them."""

from milvus_tools.retrievers.query_generation import QUERY_PROMPT
from milvus_tools.retrievers.retriever import MilvusMultiQueryRetriever

__all__ = ["QUERY_PROMPT", "MilvusMultiQueryRetriever"]
