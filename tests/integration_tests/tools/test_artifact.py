"""What a tool's message carries beside its text, also after a checkpoint."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from milvus_tools.tools import artifact_documents
from tests.helpers.agents import KITE, Birds, ScriptedModel, calls, told
from tests.helpers.support import ON_LITE
from tests.helpers.tools import call, toolkit, tools_of

THREAD: Any = {"configurable": {"thread_id": "1"}}


@ON_LITE
async def test_r42_documents_are_read_from_a_checkpoint_too(birds: Birds) -> None:
    """A checkpointer gives back dictionaries; what is read from them is what was found."""
    search = calls("milvus_search", query=KITE, k=1)
    agent: Any = create_agent(
        ScriptedModel.saying([search], "Done."),
        toolkit(birds.store).get_tools(),
        checkpointer=InMemorySaver(),
    )
    await agent.ainvoke({"messages": [{"role": "user", "content": "Kites?"}]}, THREAD)
    (message,) = told((await agent.aget_state(THREAD)).values["messages"])
    assert isinstance(message.artifact[0], dict)
    (document,) = artifact_documents(message)
    assert isinstance(document, Document)
    assert (document.id, document.page_content) == (birds.kite, KITE)
    assert artifact_documents(message.model_dump()) == [document]


@ON_LITE
async def test_r42_documents_are_read_from_a_new_message(birds: Birds) -> None:
    """They are those of the artifact; a call that failed found none."""
    search = tools_of(toolkit(birds.store))["search"]
    message = await call(search, query=KITE, k=1)
    assert artifact_documents(message) == message.artifact
    assert artifact_documents(ToolMessage("Refused.", tool_call_id="1", status="error")) == []
