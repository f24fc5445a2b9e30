"""Embedding models, the functions that make them when they are needed, and their vectors."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_milvus.utils.sparse import BaseSparseEmbedding
from numpy.typing import NDArray

from milvus_tools._io.loop import portal
from milvus_tools.errors import InvalidInputError

EmbeddingModel = Embeddings | BaseSparseEmbedding
Embedding = EmbeddingModel | Callable[[], EmbeddingModel]
Vector = list[float] | NDArray[np.float32]
Embed = Callable[[list[str]], Awaitable[Sequence[Vector]]]


class ModelSource:
    """An embedding model, or what makes it.

    Attributes:
        model: The model; `None` as long as it has not been made.
    """

    def __init__(self, given: Embedding) -> None:
        """Take a model, or a class or function that makes one without arguments.

        Raises:
            InvalidInputError: If it is neither.
        """
        self.model: EmbeddingModel | None = None
        self._make: Callable[[], Any] | None = None
        if _embeds(given):
            self.model = given  # type: ignore[assignment] # as just seen
        elif callable(given):
            self._make = given
        else:
            raise InvalidInputError(
                "embedding_function must be an embedding model or a function that makes one, "
                f"not {type(given).__name__}."
            )

    async def make(self) -> EmbeddingModel:
        """Return the model; what makes it runs in a thread, for it may take long.

        Raises:
            InvalidInputError: If what it makes is no model.
        """
        if self._make is not None:
            # In threads of its own: loading a model may take minutes, and others' must not wait.
            with portal().threads_of(self._make).used():
                made = await asyncio.to_thread(self._make)
            if not _embeds(made):
                raise InvalidInputError(
                    f"The embedding_function made a {type(made).__name__}, no embedding model."
                )
            self.model = made
        assert self.model is not None  # noqa: S101 - given or made
        return self.model


def _embeds(one: object) -> bool:
    """Tell a model from the class of one, which has the same names."""
    return hasattr(one, "embed_documents") and not isinstance(one, type)


def as_list(vector: Vector) -> list[float]:
    """Return a vector as LangChain's interface has it."""
    return vector if isinstance(vector, list) else vector.tolist()
