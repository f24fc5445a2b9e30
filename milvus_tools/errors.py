"""The errors of `milvus_tools`.

```
MilvusToolsError
├── InvalidInputError (ValueError)      an argument is wrong; nothing was sent
│   ├── FilterError                     a filter expression is malformed or unsafe
│   └── DimensionError                  a vector does not fit the collection
├── ScopeError (PermissionError)        a row or an argument lies outside the store's scope
├── StoreClosedError (RuntimeError)     the store was closed
├── UnsupportedError                    this Milvus can't do that
├── CollectionNotFoundError             the collection was dropped
├── PartialWriteError                   some of a write or delete was done, some not
├── EmbeddingError                      the embedding model failed
└── MilvusError                         Milvus refused or failed
    ├── UnavailableError (ConnectionError)   nobody answers, or the answer was lost
    ├── DeadlineError (TimeoutError)         no answer in time
    └── AccessError (PermissionError)        token or privileges are missing
```

Messages never hold addresses, tokens or tracebacks, so they can be shown to a model. The
error of the part below is always there as `__cause__`, for the developer.
"""

import contextlib
from collections.abc import Iterator, Sequence


class MilvusToolsError(Exception):
    """Base of all errors that `milvus_tools` raises."""


class InvalidInputError(MilvusToolsError, ValueError):
    """An argument is wrong. Nothing was sent to Milvus."""


class FilterError(InvalidInputError):
    """A filter expression is malformed, or not safe to join with others."""


class DimensionError(InvalidInputError):
    """A vector has another dimension than the collection's field, or isn't finite."""


class ScopeError(MilvusToolsError, PermissionError):
    """A row or an argument lies outside the scope that the operator fixed."""


class StoreClosedError(MilvusToolsError, RuntimeError):
    """The store, or the store that a view belongs to, was closed."""


class UnsupportedError(MilvusToolsError):
    """The Milvus at the other end can't do what was asked."""


class CollectionNotFoundError(MilvusToolsError):
    """The collection was there and is gone: somebody dropped it."""


class PartialWriteError(MilvusToolsError):
    """A write or delete failed after a part of it had been done.

    Attributes:
        written: The ids that Milvus has confirmed, in the order given. Nothing was done with the
            others, or their outcome is unknown; doing it again with the same ids is safe.
    """

    def __init__(self, message: str, written: Sequence[str]) -> None:
        """Keep the confirmed ids beside the message."""
        super().__init__(message)
        self.written = list(written)


class EmbeddingError(MilvusToolsError):
    """The embedding model, or the function that makes it, failed. Its own error is the cause."""


class MilvusError(MilvusToolsError):
    """Milvus answered with an error.

    Attributes:
        code: Milvus's error code, or 0 if it gave none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep Milvus's code beside the message."""
        super().__init__(message)
        self.code = code


class UnavailableError(MilvusError, ConnectionError):
    """Milvus can't be reached, or the connection broke before the answer came."""


class DeadlineError(MilvusError, TimeoutError):
    """No answer came within the deadline. A write's outcome is then unknown."""


class AccessError(MilvusError, PermissionError):
    """Milvus refused the token, or the user may not do this."""


_EMBEDDING = "The embedding model failed; no vector was made."


@contextlib.contextmanager
def embedding() -> Iterator[None]:
    """Turn whatever an embedding model raises into an `EmbeddingError`.

    Raises:
        MilvusToolsError: In place of the foreign error, which becomes its cause.
    """
    try:
        yield
    except MilvusToolsError:
        raise
    except Exception as error:
        raise EmbeddingError(_EMBEDDING) from error
