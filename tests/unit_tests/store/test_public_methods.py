"""The public surface, beside langchain-milvus's: nothing is missing, nothing falls through."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers.self_query.base import SelfQueryRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    StructuredQuery,
    Visitor,
)
from langchain_core.vectorstores import VectorStore
from langchain_milvus import Milvus

from milvus_tools import MilvusStore, ScopedMilvusStore
from tests.helpers.support import embeddings

# What langchain-milvus has in public and we don't define, and why.
NOT_OURS = {
    "search": "LangChain's dispatcher, which calls our searches",
    "asearch": "LangChain's dispatcher, which calls our searches",
}
# Sync methods whose twin is a property, or that have none, and why.
NO_TWIN = {
    "as_retriever": "makes an object, sends nothing",
    "scoped": "makes an object, sends nothing",
}
# The arguments of langchain-milvus that our signature does not name.
BY_KEYWORD = {
    ("from_texts", "builtin_function"): "goes on to the constructor, which names it",
    ("afrom_texts", "builtin_function"): "goes on to the constructor, which names it",
}
STORES = [MilvusStore, ScopedMilvusStore]


def public(cls: type) -> set[str]:
    """Return the public names of a class."""
    return {name for name in dir(cls) if not name.startswith("_")}


def methods(cls: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class, class methods unbound from `cls`."""
    found = {name: inspect.getattr_static(cls, name) for name in public(cls)}
    plain = {name: getattr(one, "__func__", one) for name, one in found.items()}
    return {name: one for name, one in plain.items() if callable(one)}


def definer(cls: type, name: str) -> type:
    """Return the class that defines a name for `cls`."""
    return next(one for one in cls.__mro__ if name in one.__dict__)


def positional(method: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def shape(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return what a caller sees of the arguments: names, kinds and defaults."""
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters]


def is_async(method: Callable[..., Any]) -> bool:
    """Tell whether a method is awaited, or iterated by `async for`."""
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def twins(cls: type) -> list[tuple[str, str]]:
    """Return the names of the sync methods and of the async twins that they must have."""
    found = methods(cls)
    twins_there = {name for name, one in found.items() if is_async(one)}
    names = found.keys() - twins_there - NO_TWIN.keys()
    return sorted((name, f"a{name}") for name in names | {twin[1:] for twin in twins_there})


@pytest.mark.parametrize("name", sorted(public(Milvus) | public(VectorStore)))
def test_every_public_name_of_langchain_milvus_is_ours_or_excused(name: str) -> None:
    """A name of langchain-milvus is defined above LangChain's class, or the table says why not."""
    ours = hasattr(MilvusStore, name) and not issubclass(VectorStore, definer(MilvusStore, name))
    assert ours != (name in NOT_OURS)


def test_the_tables_name_nothing_that_is_gone() -> None:
    """An excuse for a name that no longer exists is taken off the tables."""
    assert NOT_OURS.keys() <= public(Milvus)
    assert NO_TWIN.keys() <= public(MilvusStore)
    for method, argument in BY_KEYWORD:
        assert argument in inspect.signature(getattr(Milvus, method)).parameters
        assert argument in inspect.signature(MilvusStore).parameters


@pytest.mark.parametrize(
    ("cls", "sync", "twin"), [(cls, *pair) for cls in STORES for pair in twins(cls)]
)
def test_every_method_has_a_twin_with_the_same_arguments(cls: type, sync: str, twin: str) -> None:
    """A sync method and its async twin take the same arguments, with the same defaults."""
    found = methods(cls)
    assert shape(found[sync]) == shape(found[twin])
    assert is_async(found[twin])


@pytest.mark.parametrize("name", sorted(methods(Milvus)))
def test_arguments_stand_where_langchain_milvus_has_them(name: str) -> None:
    """Arguments of langchain-milvus's methods can be given to ours by position and by name."""
    theirs, ours = methods(Milvus)[name], getattr(MilvusStore, name)
    ours = getattr(ours, "__func__", ours)
    names = positional(theirs)
    assert positional(ours)[: len(names)] == names
    for argument, parameter in inspect.signature(theirs).parameters.items():
        same = inspect.signature(ours).parameters.get(argument)
        if (name, argument) in BY_KEYWORD:
            continue
        assert same is not None
        assert same.kind == parameter.kind
        assert same.default == parameter.default or parameter.default is parameter.empty


def test_the_constructor_takes_the_arguments_of_langchain_milvus() -> None:
    """The constructor's arguments have langchain-milvus's names, places and defaults."""
    ours = inspect.signature(MilvusStore).parameters
    theirs = inspect.signature(Milvus).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].kind == parameter.kind
        if name != "enable_dynamic_field":  # None, which is on, unless there is a metadata_field
            assert ours[name].default == parameter.default


@pytest.mark.parametrize("name", ["client", "aclient", "drop", "adrop"])
def test_a_view_gives_no_way_past_its_scope(name: str) -> None:
    """A view has neither a client, which knows no scope, nor a way to drop the collection."""
    view = MilvusStore(embeddings()).scoped(tenant="a")
    assert not hasattr(view, name)


class Translator(Visitor):
    """The least translator that a self-query retriever takes."""

    allowed_comparators = (Comparator.EQ,)
    allowed_operators = ()

    def visit_operation(self, operation: Operation) -> Any:
        """Refuse."""
        raise NotImplementedError

    def visit_comparison(self, comparison: Comparison) -> Any:
        """Refuse."""
        raise NotImplementedError

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """Leave out the filter."""
        return structured_query.query, {}


def test_t52_a_self_query_retriever_needs_a_translator_for_our_store() -> None:
    """LangChain does not choose its own translator, which does not escape, for our store."""
    store = MilvusStore(embeddings())
    asked = RunnableLambda(lambda _: StructuredQuery(query="kite", filter=None, limit=None))
    # Without langchain-community there is no translator at all; with it, none is ours.
    with pytest.raises((ImportError, ValueError), match=r"langchain-community|not supported"):
        SelfQueryRetriever(vectorstore=store, query_constructor=asked)
    assert not isinstance(store, Milvus)
    given = SelfQueryRetriever(
        vectorstore=store, query_constructor=asked, structured_query_translator=Translator()
    )
    assert isinstance(given.structured_query_translator, Translator)
