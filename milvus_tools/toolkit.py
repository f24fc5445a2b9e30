"""`MilvusToolkit`: the tools of one collection, and what an agent needs around them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, BaseToolkit

from milvus_tools._portal import wait
from milvus_tools.conditions import describe, parse
from milvus_tools.errors import FilterError
from milvus_tools.tools import (
    FilterField,
    ToolSettings,
    delete_tool,
    search_by_metadata_tool,
    search_tool,
    upsert_tool,
)
from milvus_tools.tools.calls import view_for
from milvus_tools.tools.content import as_data, counted, cut, inline
from milvus_tools.tools.filtering import ID, known_fields
from milvus_tools.tools.settings import AnyStore

_SAMPLE: Final = 20
_EXAMPLES: Final = 3
_EXAMPLE_CHARS: Final = 40
_MAX_QUESTION_CHARS: Final = 1_000


class MilvusToolkit(ToolSettings, BaseToolkit):
    """Tools for an agent over one collection: search, search by metadata, upsert and delete.

    Read-only unless `allow_writes=True`. What the operator fixed here, or as the store's scope,
    no model can change.

    Example:
        ```python
        toolkit = MilvusToolkit(store, filter_fields={"year": "integer"}, allow_writes=True)
        agent = create_agent(
            model,
            tools=toolkit.get_tools(),
            middleware=[HumanInTheLoopMiddleware(interrupt_on=toolkit.interrupt_on())],
            checkpointer=InMemorySaver(),
        )
        ```
    """

    def __init__(self, store: AnyStore, **settings: Any) -> None:
        """Keep the settings.

        Args:
            store: The store, or a view of it.
            **settings: The attributes of this class.

        Raises:
            ValidationError: If one is unknown, out of bounds, or contradicts another.
        """
        super().__init__(store=store, **settings)

    async def aget_tools(self) -> list[BaseTool]:
        """Return the tools; those that write are there only if they are allowed.

        Without `filter_fields` the collection's schema says what may be filtered on: it is read
        now.

        Raises:
            ImportError: If `scope_from` or `scope_from_user` is given and the extra `agents` is
                not installed.
            MilvusToolsError: If the collection must be read and can't be.
        """
        fields = await self._fields()
        makers = [search_tool, search_by_metadata_tool]
        makers += [upsert_tool] if self.upserts else []
        makers += [delete_tool] if self.deletes else []
        return [make(self, fields) for make in makers]

    def get_tools(self) -> list[BaseTool]:
        """Do what `aget_tools` does, and wait."""
        return wait(self.aget_tools())

    async def _fields(self) -> dict[str, FilterField]:
        schema = await self.store.aschema() if self.filter_fields is None else None
        return known_fields(self, schema)

    def interrupt_on(self) -> dict[str, Any]:
        """Return what `HumanInTheLoopMiddleware` needs to ask before each write.

        Example:
            ```python
            HumanInTheLoopMiddleware(interrupt_on=toolkit.interrupt_on())
            ```
        """
        decisions = ["approve", "edit", "reject"]
        questions = {"upsert": self._upsert_question} if self.upserts else {}
        questions |= {"delete": self._delete_question} if self.deletes else {}
        return {
            self.name(verb): {"allowed_decisions": decisions, "description": question}
            for verb, question in questions.items()
        }

    def _delete_question(self, call: Mapping[str, Any], *_: Any) -> str:
        arguments = call.get("args", {})
        parts = [f"id is one of {inline(ids)}" for ids in [arguments.get("ids")] if ids]
        parts += [_described(filters) for filters in [arguments.get("filters")] if filters]
        parts += [_on_one_line(expr) for expr in [arguments.get("expr")] if expr]
        verb = "Show what would be deleted" if arguments.get("dry_run") is True else "Delete"
        condition = " and ".join(parts) or "nothing in particular (will be refused)"
        return self._question(f"{verb} where {condition}")

    def _upsert_question(self, call: Mapping[str, Any], *_: Any) -> str:
        documents = call.get("args", {}).get("documents")
        count = len(documents) if isinstance(documents, list) else 0
        return self._question(f"Write {counted(count, 'document')}: {inline(documents)}")

    def _question(self, text: str) -> str:
        return cut(f"{text}, in the collection {self.store.collection_name}?", _MAX_QUESTION_CHARS)

    async def aget_context(self, context: Any = None, *, user: Any = None) -> str:
        """Return text for a system prompt: the collection, its fields with examples, its size.

        The examples are data from the collection: short, quoted, and still what somebody wrote.
        Without the context or the user that `scope_from` and `scope_from_user` need, neither
        examples nor size are told.

        Args:
            context: The run's context, if `scope_from` is given.
            user: The authenticated user, `runtime.server_info.user`, if `scope_from_user` is
                given.
        """
        fields = await self._fields()
        lines = [f"The collection {inline(self.store.collection_name)} holds {self._what()}."]
        store = view_for(self, context, user)
        samples: Sequence[Document] = []
        if store is not None:
            count, samples = await asyncio.gather(
                store.acount(), store.asearch_by_metadata(limit=_SAMPLE)
            )
            lines.append(f"It has {counted(count, 'document')}.")
        lines.append("Fields to filter on:")
        for name, field in fields.items():
            hidden = self.metadata_fields is not None and name not in (ID, *self.metadata_fields)
            lines.append(_field_line(name, field, () if hidden else samples))
        return "\n".join(lines)

    def get_context(self, context: Any = None, *, user: Any = None) -> str:
        """Do what `aget_context` does, and wait."""
        return wait(self.aget_context(context, user=user))

    def _what(self) -> str:
        return self.description or "documents"


def _described(filters: Any) -> str:
    try:
        return as_data(describe(parse(filters)))
    except FilterError:
        return inline(filters)


def _on_one_line(expr: Any) -> str:
    """Keep a string in an expression from posing as a line of the question."""
    return as_data(str(expr)).replace("\n", "\\n")


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return cut(text, _EXAMPLE_CHARS) if len(text) > _EXAMPLE_CHARS else value


def _field_line(name: str, field: FilterField, samples: Sequence[Document]) -> str:
    values = [one.id if name == ID else one.metadata.get(name) for one in samples]
    shown = (inline(_short(value)) for value in values if value is not None)
    examples = ", ".join(list(dict.fromkeys(shown))[:_EXAMPLES])
    meaning = f": {field.description}" if field.description else ""
    return f"- {name} ({field.type}){meaning}" + (f", such as {examples}" if examples else "")
