"""The limits, statistics and errors of a batcher.

```
BatcherError (RuntimeError)
├── BatcherClosedError           the batcher was closed
├── WrongLoopError               the batcher belongs to another event loop
├── WrongNumberOfResultsError    the batch function broke its contract
└── BatchCancelledError          the batch was cancelled, though not by its callers
```
"""

import contextlib
import copy
import dataclasses
from collections.abc import Hashable
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


class BatcherError(RuntimeError):
    """Base of the batcher's own errors; those of the batch function pass through as they are."""


class BatcherClosedError(BatcherError):
    """The batcher was closed."""


class WrongLoopError(BatcherError):
    """The batcher was called on another event loop than the one that it runs on."""


class WrongNumberOfResultsError(BatcherError):
    """The batch function gave more results than requests, or fewer: none can be trusted.

    Attributes:
        expected: The number of requests.
        received: The number of results.
    """

    def __init__(self, expected: int, received: int) -> None:
        """Say and keep both numbers."""
        super().__init__(f"A batch of {expected} requests came back with {received} results.")
        self.expected = expected
        self.received = received


class BatchCancelledError(BatcherError):
    """The batch was cancelled while callers still waited for it; its outcome is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a batcher.

    Attributes:
        max_batch_size: The most requests in one batch.
        max_batch_weight: The most weight in one batch, or `None` for any; a request that is
            heavier by itself goes alone.
        max_in_flight: The slots: how many batches may be under way at once.
        max_queued: The most requests in the queue, from which batches are made; the callers of
            further ones wait in line before it.
    """

    max_batch_size: int = 128
    max_batch_weight: float | None = None
    max_in_flight: int = 4
    max_queued: int = 4096

    def __post_init__(self) -> None:
        """Refuse bounds that nothing could pass."""
        for name in ("max_batch_size", "max_in_flight", "max_queued"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; it is {value!r}.")
        weight = self.max_batch_weight
        if weight is not None and not weight > 0:
            raise ValueError(f"max_batch_weight must be above 0, or None; it is {weight!r}.")


@dataclasses.dataclass(frozen=True)
class BatcherStats:
    """Counts of a batcher's work so far, and of what it holds now.

    Attributes:
        calls: Calls made.
        shared: Calls among them that joined an identical request.
        batches: Batches sent, those of one request included.
        largest_batch: The most requests that one batch had.
        waiting: Requests in line before the queue.
        queued: Requests in the queue.
        in_flight: Slots in use.
    """

    calls: int = 0
    shared: int = 0
    batches: int = 0
    largest_batch: int = 0
    waiting: int = 0
    queued: int = 0
    in_flight: int = 0


@dataclasses.dataclass(frozen=True)
class BatchInfo:
    """A batch that has ended.

    Attributes:
        group: The group key of its requests.
        size: How many requests it had.
        seconds: How long it took.
        error: The error of the batch as a whole, or `None`; not those of single requests.
    """

    group: Hashable
    size: int
    seconds: float
    error: BaseException | None


def copy_error(error: Error) -> Error:
    """Copy an error, so that each of several callers raises its own.

    Raising writes to an error: its traceback and context. The copy has the cause, context,
    traceback and notes that the error had so far. One that can't be copied is returned itself.
    """
    # Copying runs the error's own methods, which may raise, or return something else.
    for copy_of in (copy.copy, _bare_copy):
        with contextlib.suppress(Exception):
            twin = copy_of(error)
            if type(twin) is type(error) and twin is not error:
                return _with_history(twin, error)
    return error


def _bare_copy(error: Error) -> Error:
    # Without `__init__`, which may want other arguments than the error keeps.
    twin = type(error).__new__(type(error))
    vars(twin).update(vars(error))
    return twin


def _with_history(twin: Error, error: Error) -> Error:
    twin.args = error.args  # `__init__` may have made a message of the message
    twin.__cause__ = error.__cause__
    twin.__context__ = error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)  # one caller's notes are not the others'
    return twin.with_traceback(error.__traceback__)
