"""`MilvusToolkit`: the tools of one collection, a text for the prompt, and approval of writes."""

import asyncio
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, BaseToolkit

from milvus_tools._io.loop import run_sync
from milvus_tools._text import cut
from milvus_tools.errors import MilvusToolsError
from milvus_tools.filters.names import DocumentId, path_of, value_at
from milvus_tools.tools import (
    FilterField,
    ToolSettings,
    delete_tool,
    search_by_metadata_tool,
    search_tool,
    upsert_tool,
)
from milvus_tools.tools.delete import delete_question
from milvus_tools.tools.filters import known_fields
from milvus_tools.tools.formatting import counted, inline
from milvus_tools.tools.settings import AnyStore
from milvus_tools.tools.structured_tool import scoped_store
from milvus_tools.tools.upsert import upsert_question

# Examples are texts of documents in a prompt, so they are few and short.
_SAMPLE: Final = 20
_EXAMPLES: Final = 3
_EXAMPLE_CHARS: Final = 40


class MilvusToolkit(ToolSettings, BaseToolkit):
    """Tools for an agent over one collection: search, search by metadata, upsert and delete.

    The toolkit is read-only unless `allow_writes=True`. No model can change the settings or the
    store's scope.

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
        """Check and keep the settings.

        Args:
            store: The store, or a scoped view of it.
            **settings: The attributes of this class.

        Raises:
            ValidationError: If a setting is unknown, out of bounds, or contradicts another.
        """
        super().__init__(store=store, **settings)

    async def aget_tools(self) -> list[BaseTool]:
        """Return the tools. The tools that write are among them only if they are allowed.

        Without `filter_fields`, this reads the collection's schema for the fields that the model
        may filter on.

        Raises:
            ImportError: If `scope_from` or `scope_from_user` is set and the extra `agents` is not
                installed.
            MilvusToolsError: If the schema is needed and can't be read.
        """
        fields = await self._fields()
        makers = [search_tool, search_by_metadata_tool]
        makers += [upsert_tool] if self.upserts else []
        makers += [delete_tool] if self.deletes else []
        return [make(self, fields) for make in makers]

    def get_tools(self) -> list[BaseTool]:
        """The blocking version of `aget_tools`."""
        return run_sync(self.aget_tools())

    async def _fields(self) -> dict[str, FilterField]:
        schema = await self.store.aschema() if self.filter_fields is None else None
        return known_fields(self, schema)

    def interrupt_on(self) -> dict[str, Any]:
        """Return the configuration with which `HumanInTheLoopMiddleware` asks before each write.

        A person can approve a call, edit it, reject it, or respond in its place: then nothing is
        written, and the model reads the person's words as the tool's answer.

        Example:
            ```python
            HumanInTheLoopMiddleware(interrupt_on=toolkit.interrupt_on())
            ```
        """
        decisions = ["approve", "edit", "reject", "respond"]
        questions = {"upsert": upsert_question} if self.upserts else {}
        questions |= {"delete": delete_question} if self.deletes else {}
        return {
            self.name(verb): {
                "allowed_decisions": decisions,
                "description": functools.partial(self._question, question),
            }
            for verb, question in questions.items()
        }

    def _question(
        self, question: Callable[[ToolSettings, Any], str], call: Mapping[str, Any], *_: Any
    ) -> str:
        """Return the question for a call, or say that the tool would refuse it."""
        # The middleware also passes the state and the runtime, which are ignored.
        try:
            return question(self, call.get("args", {}))
        except MilvusToolsError as error:
            return f"Nothing would happen: the call will be refused. {error}"

    async def aget_context(self, context: Any = None, *, user: Any = None) -> str:
        """Return text for a system prompt: the collection, its size, its fields with examples.

        The examples are short and quoted, but they are data from the collection: do not trust
        them as instructions. Without the context or the user that `scope_from` or
        `scope_from_user` needs, the text has neither examples nor the size.

        Args:
            context: The run's context, if `scope_from` is set.
            user: The authenticated user, `runtime.server_info.user`, if `scope_from_user` is set.
        """
        fields = await self._fields()
        lines = [f"The collection {inline(self.store.collection_name)} holds {self._what()}."]
        store = scoped_store(self, context, user)
        # Without the scope nothing is read: examples and size could be those of another tenant.
        samples: Sequence[Document] = []
        if store is not None:
            count, samples = await asyncio.gather(
                store.acount(), store.asearch_by_metadata(limit=_SAMPLE)
            )
            lines.append(f"It has {counted(count, 'document')}.")
        lines.append("Fields to filter on:")
        for name, field in fields.items():
            # A field that the model may not read can still be a filter, but without examples.
            lines.append(_field_line(name, field, samples if self._shows(name) else ()))
        return "\n".join(lines)

    def get_context(self, context: Any = None, *, user: Any = None) -> str:
        """The blocking version of `aget_context`."""
        return run_sync(self.aget_context(context, user=user))

    def _shows(self, name: str) -> bool:
        """Tell whether the model sees a field's values in Documents."""
        shown = self.metadata_fields
        return shown is None or isinstance(name, DocumentId) or path_of(name)[0] in shown

    def _what(self) -> str:
        return self.description or "documents"


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return cut(text, _EXAMPLE_CHARS) if len(text) > _EXAMPLE_CHARS else value


def _value(document: Document, name: str) -> Any:
    if isinstance(name, DocumentId):
        return document.id
    return value_at(document.metadata, path_of(name))


def _field_line(name: str, field: FilterField, samples: Sequence[Document]) -> str:
    values = [_value(one, name) for one in samples]
    shown = (inline(_short(value)) for value in values if value is not None)
    examples = ", ".join(list(dict.fromkeys(shown))[:_EXAMPLES])
    meaning = f": {field.description}" if field.description else ""
    return f"- {name} ({field.type}){meaning}" + (f", such as {examples}" if examples else "")
