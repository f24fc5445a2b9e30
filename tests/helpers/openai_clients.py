"""LangChain's OpenAI clients, pointed at the scripted service and closed after use."""

from typing import Any, Protocol, Self

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

KEY = "sk-test"
MODEL = "scripted"


class Service(Protocol):
    """A service that runs here, or in a process of its own."""

    base_url: str


class Clients:
    """Makes clients of one service, and closes their connections in the end.

    They belong to the event loop on which they are used, and are closed there.
    """

    def __init__(self, service: Service) -> None:
        self._options = {
            "base_url": service.base_url,
            "api_key": SecretStr(KEY),
            "model": MODEL,
        }
        self._sync: list[openai.OpenAI] = []
        self._async: list[openai.AsyncOpenAI] = []

    def chat(self, **options: Any) -> ChatOpenAI:
        """Make a chat model."""
        model = ChatOpenAI(**{**self._options, **options})
        self._sync.append(model.root_client)
        self._async.append(model.root_async_client)
        return model

    def embeddings(self, **options: Any) -> OpenAIEmbeddings:
        """Make an embedding model, which sends texts: token counts want a download."""
        options = {"check_embedding_ctx_length": False, **self._options, **options}
        model = OpenAIEmbeddings(**options)
        self._sync.append(model.client._client)
        self._async.append(model.async_client._client)
        return model

    async def __aenter__(self) -> Self:
        """Have made none."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them all."""
        for client in self._sync:
            client.close()
        for async_client in self._async:
            await async_client.close()
