"""A LangGraph app that splits a question, searches Milvus in parallel, and answers with sources.

```
plan → retrieve, one for each sub-question → merge → reflect ⟲ → answer
```
"""

from graphs.rag.context import Context
from graphs.rag.graph import build_graph, graph

__all__ = ["Context", "build_graph", "graph"]
