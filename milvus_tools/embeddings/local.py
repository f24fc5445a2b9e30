"""The local default: an embedding model that runs on any machine."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from langchain_core.embeddings import Embeddings

if TYPE_CHECKING:
    from wordllama import WordLlamaInference


# The model makes a vector of each token, of as many as the longest text of a batch has.
_BATCH_SIZE: Final = 16


class LocalEmbeddings(Embeddings):
    """Static word embeddings that run on any machine, without key, download or GPU.

    [WordLlama](https://github.com/dleemiller/WordLlama) averages token vectors distilled from
    large language models: thousands of texts a second on one core, and weaker than a transformer,
    so best paired with full-text search.
    """

    def __init__(self, model: "WordLlamaInference") -> None:
        """Wrap a loaded model; `local_embeddings` loads the one that the package brings."""
        self._model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Args:
            texts: The texts.

        Returns:
            One unit vector per text, `(n, dim)` float32 values.
        """
        if not texts:
            return []
        made = self._model.embed(texts, batch_size=_BATCH_SIZE)
        vectors = np.asarray(made, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # A text without a known token is the zero vector, which has no direction to keep.
        unit: list[list[float]] = (vectors / np.where(lengths > 0, lengths, 1)).tolist()
        return unit

    def embed_query(self, text: str) -> list[float]:
        """Embed one text, as `embed_documents` does."""
        return self.embed_documents([text])[0]


def local_embeddings() -> LocalEmbeddings:
    """Load the embedding model that comes inside the `wordllama` package.

    Returns:
        A model of 256 dimensions.

    Raises:
        ImportError: If the extra `local` is not installed.
    """
    try:
        with _logging_kept():
            import wordllama  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            'local_embeddings() needs an extra: pip install "milvus_tools[local]"'
        ) from error
    # The tokenizer lies beside the weights; without this folder it would be downloaded.
    folder = pathlib.Path(wordllama.__file__).parent
    return LocalEmbeddings(wordllama.WordLlama.load(cache_dir=folder, disable_download=True))


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what wordllama does to the application's logging when it is imported."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
