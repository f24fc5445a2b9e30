"""OpenAI's vectors, read from the service's answer as they are: float32.

The client makes a list of Python floats of each, and LangChain copies that: a vector of 384
values takes 99 microseconds, with its part of the request, instead of 19. langchain-openai is not
imported: the caller's model is known by its class.
"""

import base64
import json
from typing import Any, Final

import numpy as np
from langchain_core.embeddings import Embeddings

from milvus_tools.embeddings.source import Embed, Vector

_FLOAT32: Final = np.dtype("<f4")  # in OpenAI's base64


def readable(model: Embeddings) -> bool:
    """Tell whether a model of langchain-openai sends texts as they are, by a client of OpenAI's.

    With `check_embedding_ctx_length`, its default, it counts tokens, cuts long texts and averages
    the vectors of their parts, which is better left to it.
    """
    client = getattr(model, "async_client", None)
    return (
        not getattr(model, "check_embedding_ctx_length", True)
        and hasattr(client, "with_raw_response")
        and "encoding_format" not in getattr(model, "model_kwargs", {})
    )


def reader(model: Any) -> Embed:
    """Make what asks for the same as the model's `aembed_documents`, and reads float32 arrays."""

    async def embed(texts: list[str]) -> list[Vector]:
        vectors: list[Vector] = []
        # As the model does itself: OpenAI refuses more than 2048 texts in a request.
        for start in range(0, len(texts), model.chunk_size):
            vectors += await _embed(model, texts[start : start + model.chunk_size])
        return vectors

    return embed


async def _embed(model: Any, texts: list[str]) -> list[Vector]:
    dimensions = {} if model.dimensions is None else {"dimensions": model.dimensions}
    answer = await model.async_client.with_raw_response.create(
        input=[],  # which the client would look through, text by text
        extra_body={"input": texts},
        encoding_format="base64",
        **{"model": model.model, **model.model_kwargs, **dimensions},
    )
    return [_vector(one["embedding"]) for one in json.loads(answer.content).get("data") or ()]


def _vector(value: str | list[float]) -> Vector:
    """Read a vector; some services that speak OpenAI's API send numbers in any case."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), _FLOAT32)
    return value
