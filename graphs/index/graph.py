"""The graph: one node, which writes Documents that are new or changed, and reports."""

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from pymilvus import DataType

from graphs.index.documents import Item, read_items
from graphs.index.state import Failure, InputState, OutputState, State
from milvus_tools import MilvusStore, MilvusToolsError, ScopedMilvusStore
from milvus_tools.embeddings import is_invalid
from milvus_tools.errors import (
    CollectionNotFoundError,
    EmbeddingError,
    InvalidInputError,
    MilvusError,
    PartialWriteError,
    ScopeError,
)
from milvus_tools.ingest import aingest, content_id

AnyStore = MilvusStore | ScopedMilvusStore
IndexGraph = CompiledStateGraph[State, Any, InputState, OutputState]

MAX_DOCUMENTS: Final = 1_000
"""The most Documents of one run: a server keeps a run's input in its thread."""

MAX_REFUSED: Final = 10
"""The most refusals by Milvus or the embedding model, before no more are tried alone."""

_TWICE: Final = "Another document of this run has the same id, and other content."
_NOT_TRIED: Final = "Not tried alone, because others were refused: {reason}"
_AUTO_ID: Final = (
    "The collection makes its ids itself (auto_id): a second run would write all documents again. "
    "Index into a collection whose documents bring their ids."
)


class IndexingError(RuntimeError):
    """Nothing was written; the message says why, and a server shows it to its client."""


def build_index(store: AnyStore) -> IndexGraph:
    """Build the graph; no checkpointer is compiled in.

    Args:
        store: The store, or the view of it that the graph is held to.

    Returns:
        The graph. A Document whose text and metadata the collection has already, under its id, is
        not embedded again; one that can't be written fails alone.
    """
    builder = StateGraph(State, input_schema=InputState, output_schema=OutputState)
    builder.add_node("write", _Index(store).write)
    builder.add_edge(START, "write")
    builder.add_edge("write", END)
    return builder.compile(name="index")


@dataclasses.dataclass
class _Outcome:
    """The outcome per Document."""

    written: list[Item] = dataclasses.field(default_factory=list)
    unchanged: list[Item] = dataclasses.field(default_factory=list)
    failed: list[Failure] = dataclasses.field(default_factory=list)
    refused: int = 0


@dataclasses.dataclass(frozen=True)
class _Index:
    """The node."""

    store: AnyStore

    async def write(self, state: InputState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Write the Documents, and report.

        Raises:
            ValueError: If there is no list of Documents, or it is too long.
            IndexingError: If the collection can't be read, or makes its ids itself.
        """
        given = _checked(state.get("documents"))
        outcome = _Outcome()
        try:
            makes_ids = await self._makes_ids()
            items, outcome.failed = read_items(given, self.store.scope, makes_ids=makes_ids)
            new = await self._new(items, outcome)
        except MilvusToolsError as error:
            raise IndexingError(str(error)) from error
        await self._write(new, outcome)
        runtime.stream_writer({"event": "indexed", **_counts(outcome)})
        return {**_report(given, items, outcome), "documents": []}  # kept in no later checkpoint

    async def _makes_ids(self) -> bool:
        """Tell whether ids can be made for the collection's keys."""
        try:
            schema = await self.store.aschema()
        except CollectionNotFoundError:  # it was dropped, and the first write makes it again
            schema = None
        if self.store.auto_id if schema is None else schema.primary.auto_id:
            raise IndexingError(_AUTO_ID)
        return schema is None or bool(schema.primary.type == DataType.VARCHAR)

    async def _new(self, items: Sequence[Item], outcome: _Outcome) -> list[Item]:
        """Return the Documents to write, each id once; note the others in the outcome."""
        known = await self._contents(items)
        new: dict[str, Item] = {}
        for item in items:
            content = known.get(item.id)
            if content == item.content:
                outcome.unchanged.append(item)
            elif item.id in new:
                outcome.failed.append(item.failed(_TWICE))
            else:
                new[item.id] = item
                known[item.id] = item.content
        return list(new.values())

    async def _contents(self, items: Sequence[Item]) -> dict[str, str]:
        """Return what the collection has under the Documents' ids."""
        try:
            there = await self.store.aget_by_ids([item.id for item in items])
        except (CollectionNotFoundError, InvalidInputError):
            return {}  # an id that can't be one fails alone, when its Document is written
        scope = self.store.scope
        return {str(document.id): content_id(document, scope) for document in there}

    async def _write(self, items: Sequence[Item], outcome: _Outcome) -> None:
        """Write what can be written: if it is a Document's fault, all but that one."""
        if not items:
            return
        try:
            await aingest(self.store, [item.document for item in items])
        except MilvusToolsError as error:
            await self._write_rest(items, error, outcome)
        else:
            outcome.written += items

    async def _write_rest(
        self, items: Sequence[Item], error: MilvusToolsError, outcome: _Outcome
    ) -> None:
        """Note what was written before an error, and halve the rest until each fault is alone."""
        done, reason = _partly(error)
        outcome.written += [item for item in items if item.id in done]
        left = [item for item in items if item.id not in done]
        if len(left) == 1 or not _is_fault(reason):
            outcome.failed += [item.failed(str(reason)) for item in left]
            outcome.refused += _is_refusal(reason)
            return
        half = len(left) // 2
        await self._write(left[:half], outcome)
        if _is_refusal(reason) and outcome.refused >= MAX_REFUSED:
            why = _NOT_TRIED.format(reason=reason)
            outcome.failed += [item.failed(why) for item in left[half:]]
        else:
            await self._write(left[half:], outcome)


def _partly(error: MilvusToolsError) -> tuple[AbstractSet[str], BaseException]:
    """Return the ids that were written before an error, and what it was."""
    if isinstance(error, PartialWriteError):
        return set(error.written), error.__cause__ or error
    return set(), error


def _is_fault(reason: BaseException) -> bool:
    """Tell whether an error may be the fault of some of the Documents."""
    return isinstance(reason, InvalidInputError | ScopeError) or _is_refusal(reason)


def _is_refusal(reason: BaseException) -> bool:
    """Tell whether it is as likely to be the fault of none, and to come again for each."""
    if isinstance(reason, EmbeddingError):
        return reason.__cause__ is not None and is_invalid(reason.__cause__)
    return type(reason) is MilvusError


def _checked(given: Any) -> Sequence[Any]:
    if not isinstance(given, list):
        raise ValueError("Give documents: a list of {page_content, metadata, id}.")  # noqa: TRY004
    if len(given) > MAX_DOCUMENTS:
        raise ValueError(f"A run takes {MAX_DOCUMENTS} documents; give the rest to another.")
    return given


def _report(given: Sequence[Any], items: Sequence[Item], outcome: _Outcome) -> OutputState:
    ids = {item.number: item.id for item in items}
    return OutputState(
        written=len(outcome.written),
        unchanged=len(outcome.unchanged),
        failed=sorted(outcome.failed, key=lambda one: one["number"]),
        ids=[ids.get(number) for number in range(len(given))],
    )


def _counts(outcome: _Outcome) -> Mapping[str, int]:
    names = ("written", "unchanged", "failed")
    return {name: len(getattr(outcome, name)) for name in names}
