"""The methods by which a model embeds, found from its class without importing it."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor

from milvus_tools.embeddings import openai_vectors
from milvus_tools.embeddings.source import Embed, Vector

# Their `embed_query` is their `embed_documents` of one text.
_ALIKE: Final = {
    ("langchain_openai", "OpenAIEmbeddings"),
    ("langchain_openai", "AzureOpenAIEmbeddings"),
    ("milvus_tools", "LocalEmbeddings"),
}
_DEFAULT: Final = ("langchain_core", "Embeddings")  # whose `aembed_query` is `embed_query`


class QueryEmbedder(NamedTuple):
    """The method by which a model embeds queries.

    Attributes:
        embed: Embeds queries.
        shared: Whether it takes more than one.
    """

    embed: Embed
    shared: bool


def query_method(
    model: Embeddings, embeds_alike: bool | None, embed_queries: Embed | None
) -> QueryEmbedder:
    """Find how a model embeds several queries at once, or else one.

    LangChain's interface has no method for it, and of the integrations none adds one: Cohere's
    takes an argument of `aembed`, Google's one of `aembed_documents`, which is for the caller to
    say by `embed_queries`. Models of the application's own have `aembed_queries` if anything.
    """
    if embed_queries is not None:
        return QueryEmbedder(embed_queries, shared=True)
    if embeds_alike or (embeds_alike is None and _is_known_alike(type(model))):
        return QueryEmbedder(document_method(model), shared=True)
    if callable(getattr(type(model), "aembed_queries", None)):
        return QueryEmbedder(model.aembed_queries, shared=True)  # type: ignore[attr-defined]
    if callable(getattr(type(model), "embed_queries", None)):
        return QueryEmbedder(_in_a_thread(model.embed_queries), shared=True)  # type: ignore[attr-defined]
    return QueryEmbedder(_one_by_one(model), shared=False)


def document_method(model: Embeddings) -> Embed:
    """Return how a model embeds documents: into float32 arrays, where that is known to be so."""
    # A subclass that embeds documents in its own way is left to do so.
    by_openai = _owner(type(model), "aembed_documents") in _ALIKE
    if by_openai and openai_vectors.readable(model):
        return openai_vectors.reader(model)
    return model.aembed_documents


def retries_itself(model: Embeddings) -> bool:
    """Tell whether the model's own client tries again, as far as the model says so."""
    retries = getattr(model, "max_retries", None)
    return isinstance(retries, int) and retries > 0


def _is_known_alike(kind: type[Any]) -> bool:
    """Tell whether a model's queries are embedded by a class that is known.

    A subclass counts as long as it leaves both methods alone.
    """
    return _owner(kind, "embed_query") in _ALIKE and (
        _owner(kind, "aembed_query") in {*_ALIKE, _DEFAULT}
    )


def _owner(kind: type[Any], method: str) -> tuple[str, str]:
    """Return the package and name of the class that a method is inherited from."""
    owner = next(one for one in kind.__mro__ if method in vars(one))
    return owner.__module__.split(".")[0], owner.__name__


def _in_a_thread(embed: Callable[[list[str]], list[Vector]]) -> Embed:
    async def embed_there(texts: list[str]) -> list[Vector]:
        return await run_in_executor(None, embed, texts)

    return embed_there


def _one_by_one(model: Embeddings) -> Embed:
    async def embed_each(texts: list[str]) -> list[Vector]:
        return [await model.aembed_query(text) for text in texts]  # there is one

    return embed_each
