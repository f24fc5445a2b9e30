"""Micro-batching: requests that are made at the same time go out together."""

from milvus_tools.batching.batcher import MicroBatcher
from milvus_tools.batching.types import (
    BatchCancelledError,
    BatcherClosedError,
    BatcherError,
    BatcherStats,
    BatchInfo,
    Limits,
    WrongLoopError,
    WrongNumberOfResultsError,
)

__all__ = [
    "BatchCancelledError",
    "BatchInfo",
    "BatcherClosedError",
    "BatcherError",
    "BatcherStats",
    "Limits",
    "MicroBatcher",
    "WrongLoopError",
    "WrongNumberOfResultsError",
]
