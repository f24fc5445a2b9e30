"""The store of a command: from options, else from the variables `MILVUS_TOOLS_…`."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from langchain_milvus import BM25BuiltInFunction

from milvus_tools.cli.filters import read_assignment
from milvus_tools.environment import Environment
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.literals import Scalar
from milvus_tools.store import MilvusStore, ScopedMilvusStore
from milvus_tools.transport.lite import is_lite

STRONG: Final = "Strong"  # a command reads what another process, such as an `ingest`, just wrote
_WORDS: Final = "sparse"  # the field that BM25 fills in a new collection
_NOT_HYBRID: Final = (
    "The collection exists, and has no full-text search: --hybrid is for a new one. Leave it out, "
    "or name another collection."
)


@dataclasses.dataclass(frozen=True)
class Target:
    """The options that name the store of a command; `None` for the variable's value.

    Attributes:
        uri: The server's address, or the path of a Milvus Lite file.
        db_name: The database.
        collection: The collection.
        embeddings: `local`, or `provider:model`.
        tenant: The scope, as `field=value` texts.
    """

    uri: str | None = dataclasses.field(default=None, repr=False)
    db_name: str | None = None
    collection: str | None = None
    embeddings: str | None = None
    tenant: Sequence[str] = ()

    def environment(self) -> Environment:
        """Return the variables, with the options in the place of those that are given."""
        given = {
            name: value
            for name in ("uri", "db_name", "collection", "embeddings")
            if (value := getattr(self, name))
        }
        return dataclasses.replace(Environment.read(), **given)

    @property
    def scope(self) -> dict[str, Scalar]:
        """The field values of the scope."""
        return dict(map(read_assignment, self.tenant))

    @asynccontextmanager
    async def opened(self, *, must_exist: bool) -> AsyncIterator[MilvusStore]:
        """Open the store without its scope, and close it with the block.

        Args:
            must_exist: Whether a file of Milvus Lite that does not exist is an error.
        """
        environment = self.environment()
        if must_exist and _is_missing(environment.uri or ""):
            raise InvalidInputError(
                "There is no Milvus Lite file at that path; load files into it first: "
                "milvus-tools ingest."
            )
        async with await asyncio.to_thread(environment.store) as store:
            yield store

    @asynccontextmanager
    async def store(
        self, *, must_exist: bool = True, hybrid: bool = False
    ) -> AsyncIterator[MilvusStore | ScopedMilvusStore]:
        """Open the store in its scope, and close it with the block.

        Args:
            must_exist: As in `opened`.
            hybrid: Whether a new collection is to be searched by words, too.

        Raises:
            InvalidInputError: If `hybrid` is asked of a collection that exists without it.
        """
        scope = self.scope
        async with (
            self.opened(must_exist=must_exist) as dense,
            self._with_words(dense, hybrid=hybrid) as store,
        ):
            yield store.scoped(scope) if scope else store

    @asynccontextmanager
    async def _with_words(self, store: MilvusStore, *, hybrid: bool) -> AsyncIterator[MilvusStore]:
        """Open the store with the full-text search (BM25) that its collection has."""
        schema = await store.aschema()
        if schema is not None and hybrid and not schema.bm25_inputs:
            raise InvalidInputError(_NOT_HYBRID)
        new = {_WORDS: store.text_field} if hybrid else {}
        functions = [
            BM25BuiltInFunction(input_field_names=text, output_field_names=sparse)
            for sparse, text in (new if schema is None else schema.bm25_inputs).items()
        ]
        if not functions:
            yield store
            return
        named = self.environment().store(store.embeddings, builtin_function=functions)
        async with named as with_words:
            yield with_words


def _is_missing(uri: str) -> bool:
    return is_lite(uri) and not Path(uri).exists()
