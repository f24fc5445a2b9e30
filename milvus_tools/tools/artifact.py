"""The Documents that a tool's message carries beside its text."""

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import ToolMessage


def artifact_documents(message: ToolMessage | Mapping[str, Any]) -> list[Document]:
    """Return the Documents that a search found, from its message.

    The artifact of a message that was just made holds `Document`s. A checkpointer writes them as
    dictionaries and does not make them Documents again, and so does a server that sends the
    message as JSON.

    Args:
        message: The message of `milvus_search` or `milvus_search_by_metadata`, or the dictionary
            that a client of a LangGraph server has of it.

    Returns:
        The Documents; none if the call failed.
    """
    artifact = message.get("artifact") if isinstance(message, Mapping) else message.artifact
    return [
        one if isinstance(one, Document) else Document.model_validate(one)
        for one in artifact or ()
    ]
