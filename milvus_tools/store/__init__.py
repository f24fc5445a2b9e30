"""The store: `MilvusStore`, its views, and what its methods return."""

from milvus_tools.store.methods.search import StoreRetriever
from milvus_tools.store.operations.delete import DeleteResult
from milvus_tools.store.scoped import ScopedMilvusStore
from milvus_tools.store.store import MilvusStore
from milvus_tools.transport.batching import BatchedTransport
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.protocol import Transport

__all__ = [
    "BatchedTransport",
    "DeleteResult",
    "DirectTransport",
    "MilvusStore",
    "ScopedMilvusStore",
    "StoreRetriever",
    "Transport",
]
