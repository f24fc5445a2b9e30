"""A graph that writes Documents into a collection, and reports what became of each."""

from graphs.index.graph import MAX_DOCUMENTS, IndexGraph, IndexingError, build_index

__all__ = ["MAX_DOCUMENTS", "IndexGraph", "IndexingError", "build_index"]
