"""The store: `MilvusStore`, its views, and what its methods return."""

from milvus_tools.store.deleting import DeleteResult
from milvus_tools.store.search_methods import StoreRetriever
from milvus_tools.store.store import MilvusStore
from milvus_tools.store.transport import (
    DirectTransport,
    Transport,
)
from milvus_tools.store.views import ScopedMilvusStore

__all__ = [
    "DeleteResult",
    "DirectTransport",
    "MilvusStore",
    "ScopedMilvusStore",
    "StoreRetriever",
    "Transport",
]
