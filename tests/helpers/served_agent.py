"""An agent for several tenants, as `langgraph dev` serves it; it asks before it writes."""

import dataclasses
import json
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import BaseMessage, HumanMessage

from milvus_tools import MilvusStore
from tests.helpers.agents import Reply, ScriptedModel
from tests.helpers.support import embeddings
from tests.helpers.tools import toolkit

FILE = "tenants.db"
"""The store's file, in the server's folder."""


@dataclasses.dataclass(frozen=True)
class Context:
    """The run's context, as the client sends it."""

    tenant_id: str | None = None


class ObedientModel(ScriptedModel):
    """Makes the calls that the user's message lists as JSON."""

    def _next(self, messages: list[BaseMessage]) -> Reply:
        last = messages[-1]
        return list(json.loads(str(last.content))) if isinstance(last, HumanMessage) else "Done."


_store = MilvusStore(embeddings(), connection_args={"uri": f"./{FILE}"})
_kit = toolkit(_store, scope_from_user={"tenant": "tenant_id"})
graph: Any = create_agent(
    ObedientModel(script=[]),
    _kit.get_tools(),
    context_schema=Context,
    middleware=[HumanInTheLoopMiddleware(interrupt_on=_kit.interrupt_on())],
)
