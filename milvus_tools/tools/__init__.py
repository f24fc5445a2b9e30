"""The four tools; a function makes each of them from the operator's settings."""

from milvus_tools.tools.artifact import artifact_documents
from milvus_tools.tools.delete import delete_tool
from milvus_tools.tools.search import search_tool
from milvus_tools.tools.search_by_metadata import search_by_metadata_tool
from milvus_tools.tools.settings import FilterField, ToolSettings
from milvus_tools.tools.upsert import upsert_tool

__all__ = [
    "FilterField",
    "ToolSettings",
    "artifact_documents",
    "delete_tool",
    "search_by_metadata_tool",
    "search_tool",
    "upsert_tool",
]
