"""A graph that writes Documents into a collection, and reports what became of each."""

from graphs.index.graph import IndexGraph, build_index

__all__ = ["IndexGraph", "build_index"]
