"""The state of a write for its caller: the ids it made, and whether it may have landed."""

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from typing import Final, Self

from langchain_core.documents import Document

from milvus_tools._text import listed
from milvus_tools.errors import (
    CollectionNotFoundError,
    DeadlineError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
    UnavailableError,
)
from milvus_tools.store.values import id_text

_AS: Final = "It may have been written, as {ids}; repeat it with these ids."
_REST_AS: Final = "The others may have been written, as {ids}; repeat it with these ids."
_AUTO_ID: Final = (
    "It may have been written. Milvus makes the ids of this collection (auto_id), so a repeated "
    "write could write it twice: look for it first."
)
# With these, Milvus did not say whether it did what it was asked to.
_UNCLEAR: Final = (DeadlineError, UnavailableError)


@dataclasses.dataclass(eq=False)
class WriteAttempt:
    """The ids of a write and the outcome of its requests, for the error if it fails.

    The caller makes it before the call, because a call whose deadline passes returns nothing.

    Attributes:
        ids: The ids of the Documents; new ones for Documents without. Unused if Milvus makes the
            keys.
        auto_id: Whether Milvus makes the keys. Known when the first request is sent.
        sent: Whether a request was sent.
        unclear: The number of requests whose outcome is not known.
    """

    ids: list[str]
    auto_id: bool = False
    sent: bool = False
    unclear: int = 0

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Self:
        """Make an id for each Document that has none."""
        return cls([str(uuid.uuid4()) if one.id is None else id_text(one.id) for one in documents])

    @contextlib.contextmanager
    def sending(self, *, auto_id: bool) -> Iterator[None]:
        """Note a request, whose outcome is unclear unless Milvus answers."""
        self.sent, self.auto_id = True, auto_id
        self.unclear += 1
        try:
            yield
        except (MilvusError, CollectionNotFoundError) as error:
            if not isinstance(error, _UNCLEAR):
                self.unclear -= 1
            raise
        self.unclear -= 1

    @contextlib.contextmanager
    def told_in_errors(self) -> Iterator[None]:
        """Add the ids, and what may have been written, to an error of the write."""
        try:
            yield
        except MilvusToolsError as error:
            if self.sent and not self.auto_id:
                error.ids = list(self.ids)
            if self.unclear:
                # In place, so that the error keeps its type, its cause and its attributes.
                error.args = (f"{error} {self._sentence(error)}", *error.args[1:])
            raise

    def _sentence(self, error: MilvusToolsError) -> str:
        if self.auto_id:
            return _AUTO_ID
        if isinstance(error, PartialWriteError):
            done = set(error.written)
            return _REST_AS.format(ids=listed([one for one in self.ids if one not in done]))
        return _AS.format(ids=listed(self.ids))
