"""Deletes without a model: a rule calls the agent's tool, which waits for approval as always."""

import re
import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

TOOL: Final = "milvus_delete"
HELP: Final = "ids, as in p0000 p0001, or a field and its value, as in source: notes.md"
_FIELD: Final = re.compile(r"(\w+)\s*:\s*(\S.*)")


class RuleModel(BaseChatModel):
    """Makes a call of the delete tool of what the user writes, and repeats what it answers."""

    sources: Sequence[str] = ()
    """The files that can be named without the field."""

    @property
    def _llm_type(self) -> str:
        return "rule"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Know the tool already."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        *_: Any,
        **__: Any,
    ) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            message = AIMessage(last.text)
        else:
            call = {"name": TOOL, "args": arguments(last.text, self.sources)}
            message = AIMessage("", tool_calls=[{**call, "id": str(uuid.uuid4())}])
        return ChatResult(generations=[ChatGeneration(message=message)])


def arguments(text: str, sources: Collection[str]) -> dict[str, Any]:
    """Return the tool's arguments: a file's name, a field and its value, or ids."""
    text = text.strip()
    if text in sources:
        return {"filters": [{"field": "source", "operator": "eq", "value": text}]}
    if named := _FIELD.fullmatch(text):
        return {"filters": [{"field": named[1], "operator": "eq", "value": named[2]}]}
    return {"ids": text.replace(",", " ").split()}
