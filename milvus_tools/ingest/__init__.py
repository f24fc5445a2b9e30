"""Loading of any number of Documents into a store."""

from milvus_tools.ingest.pipeline import IngestProgress, IngestResult, aingest, content_id, ingest

__all__ = ["IngestProgress", "IngestResult", "aingest", "content_id", "ingest"]
