"""A session of the page: its thread, its own files, and the graphs that answer and delete."""

import asyncio
import dataclasses
import functools
import os
import pathlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from langchain_core.documents import Document
from langgraph.checkpoint.memory import InMemorySaver

from chatting.deleting import RuleModel
from graphs.agent import Agent, build_agent
from graphs.index import build_index
from graphs.rag import Context, build_graph
from graphs.served import ENVIRONMENT, ServingError, deployed_store
from milvus_tools import MilvusStore, ScopedMilvusStore

FILES: Final = "files"
COLLECTION: Final = "collection"
NO_WRITES: Final = "Nothing is deleted: MILVUS_TOOLS_ALLOW_WRITES is not true."
NO_FILES: Final = "No files were dropped in yet."

_RAG: Final = build_graph(Context(store=deployed_store, model=ENVIRONMENT.model))
_making: Final = asyncio.Lock()


@dataclasses.dataclass
class Conversation:
    """A session; the files dropped into it are seen by it alone."""

    scope: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))
    """The value of the field that keeps its files apart from those of other sessions."""

    sources: list[str] = dataclasses.field(default_factory=list)
    """The names of its files."""

    def __post_init__(self) -> None:
        """Keep a thread."""
        self._thread: Any = {"configurable": {"thread_id": self.scope}}
        self._rag = _RAG.copy(update={"checkpointer": InMemorySaver()})

    async def index(self, documents: list[Document]) -> Any:
        """Write the passages of a file, and report."""
        given: Any = {"documents": documents}
        report = await build_index(await self._files()).ainvoke(given)
        name = documents[0].metadata["source"]
        if name not in self.sources and (report["written"] or report["unchanged"]):
            self.sources.append(name)
        return report

    async def ask(self, question: str, source: str) -> AsyncIterator[Any]:
        """Ask the collection or the files, as the next turn of the thread."""
        context = Context(store=await self._files()) if source == FILES else Context()
        modes: Any = ["custom", "messages", "values"]
        async for part in self._rag.astream(
            {"question": question},
            self._thread,
            context=context,
            stream_mode=modes,
            version="v2",
        ):
            yield part

    async def deleter(self, source: str) -> Agent:
        """Return an agent that deletes what is approved: with the model, if there is one.

        Raises:
            ServingError: If nothing may be deleted, or there is nothing.
        """
        if source == FILES and not self.sources:
            raise ServingError(NO_FILES)
        if source == COLLECTION and not ENVIRONMENT.allow_writes:
            raise ServingError(NO_WRITES)
        return await asyncio.to_thread(
            build_agent,
            await self._files() if source == FILES else await asyncio.to_thread(deployed_store),
            ENVIRONMENT.model or RuleModel(sources=self.sources),
            allow_delete=True,
            allow_dynamic=True,
            checkpointer=InMemorySaver(),
        )

    async def _files(self) -> ScopedMilvusStore:
        async with _making:
            store = await asyncio.to_thread(_files_store)
        return store.scoped(session=self.scope)


@functools.cache
def _files_store() -> MilvusStore:
    """Return the store of all sessions' files, which is gone when the page stops."""
    file = pathlib.Path(os.environ["CHAINLIT_APP_ROOT"]) / "files.db"
    own: dict[str, Any] = {"uri": str(file), "token": None, "db_name": None, "collection": "files"}
    return dataclasses.replace(ENVIRONMENT, **own).store()
