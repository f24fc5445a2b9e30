"""The errors of `milvus_tools`.

```
MilvusToolsError
├── InvalidInputError (ValueError)      an argument is wrong; nothing was sent
│   ├── FilterError                     a filter is malformed or unsafe
│   └── DimensionError                  a vector does not fit the collection
├── ScopeError (PermissionError)        a row or an argument lies outside the store's scope
├── StoreClosedError (RuntimeError)     the store was closed
├── UnsupportedError                    this Milvus, or this process, does not support it
│   └── UncopyableError (TypeError)     what holds a connection can't be copied or pickled
├── CollectionNotFoundError             the collection was dropped
├── PartialWriteError                   only a part of a write or delete was done
├── EmbeddingError                      the embedding model failed
└── MilvusError                         Milvus refused the request or failed
    ├── UnavailableError (ConnectionError)   no connection, or it broke before the answer
    ├── DeadlineError (TimeoutError)         no answer in time
    ├── AnswerTooLargeError                  the answer has more bytes than Milvus sends
    └── AccessError (PermissionError)        token or privileges are missing
```

Messages never contain addresses, tokens or tracebacks, so a model may see them. The original
error is always the `__cause__`, for the developer.
"""

import contextlib
from collections.abc import Iterator, Sequence


class MilvusToolsError(Exception):
    """The base of all errors that `milvus_tools` raises.

    Attributes:
        ids: The ids of a write that failed after something was sent, one per Document: those that
            were given, and those that were made for Documents without. It is safe to repeat the
            write with them. It is empty for other errors, and if Milvus makes the ids (`auto_id`).
    """

    ids: Sequence[str] = ()


class InvalidInputError(MilvusToolsError, ValueError):
    """An argument is wrong. Nothing was sent to Milvus."""


class FilterError(InvalidInputError):
    """A filter is malformed, out of bounds, or not safe to join with others."""


class DimensionError(InvalidInputError):
    """A vector has another dimension than the collection's field, or is not finite."""


class ScopeError(MilvusToolsError, PermissionError):
    """A row or an argument lies outside the scope that the operator fixed."""


class StoreClosedError(MilvusToolsError, RuntimeError):
    """The store, or the store of a scoped view, was closed."""


class UnsupportedError(MilvusToolsError):
    """This Milvus, this collection or this process does not support the operation."""


class UncopyableError(UnsupportedError, TypeError):
    """An object that holds connections, such as a store, can't be copied or pickled."""


class CollectionNotFoundError(MilvusToolsError):
    """The collection existed, but was dropped."""


class PartialWriteError(MilvusToolsError):
    """A write or delete failed after a part of it had been done.

    Attributes:
        written: The ids that Milvus confirmed, in the order given. For the other ids nothing was
            done, or the outcome is unknown. It is safe to repeat the call with the same ids.
    """

    def __init__(self, message: str, written: Sequence[str]) -> None:
        """Keep the message and the confirmed ids."""
        super().__init__(message)
        self.written = list(written)


class EmbeddingError(MilvusToolsError):
    """The embedding model, or the function that makes it, failed; its error is the cause."""


class MilvusError(MilvusToolsError):
    """Milvus answered with an error.

    Attributes:
        code: Milvus's error code, or 0 if it gave none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep the message and Milvus's error code."""
        super().__init__(message)
        self.code = code


class UnavailableError(MilvusError, ConnectionError):
    """Milvus can't be reached, or the connection broke before the answer."""


class DeadlineError(MilvusError, TimeoutError):
    """Milvus did not answer within the deadline. The outcome of a write is then unknown."""


class AnswerTooLargeError(MilvusError):
    """The answer has more bytes than Milvus sends: a server sends 64 MiB."""


class AccessError(MilvusError, PermissionError):
    """Milvus refused the token, or the user lacks the privilege."""


_EMBEDDING = "The embedding model failed; no vector was made."


@contextlib.contextmanager
def embedding() -> Iterator[None]:
    """Turn every error of an embedding model into an `EmbeddingError`.

    Raises:
        MilvusToolsError: In place of the foreign error, which becomes its cause.
    """
    try:
        yield
    except MilvusToolsError:
        raise
    except Exception as error:
        raise EmbeddingError(_EMBEDDING) from error
