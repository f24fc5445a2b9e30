"""LangGraph applications built on `milvus_tools`."""
