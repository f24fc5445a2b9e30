"""The methods that a store and its views share, and the views, which have a scope."""

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.vectorstores import VectorStore

from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.filters.literals import Scalar
from milvus_tools.store.attributes import Attributes
from milvus_tools.store.methods.read import ReadMethods
from milvus_tools.store.methods.search import SearchMethods, StoreRetriever
from milvus_tools.store.methods.write import WriteMethods
from milvus_tools.store.scope import Scope


# LangChain's class comes last: where ours has a method, its default must not run.
# `delete` returns a `DeleteResult` in place of LangChain's `bool | None`.
class StoreMethods(SearchMethods, ReadMethods, WriteMethods, Attributes, VectorStore):  # type: ignore[misc]
    """The methods and properties that a store and its views share."""

    @property
    def collection_name(self) -> str:
        """The collection's name."""
        return self._settings.spec.collection_name

    @property
    def embeddings(self) -> Any:
        """The embedding model, or a list of several.

        It is `None` if Milvus embeds the texts, or if the model was not made yet.
        """
        models = list(self._settings.models)
        return models[0] if len(models) == 1 else models or None

    @property
    def text_field(self) -> str:
        """The field that holds the Documents' text."""
        return self._settings.spec.text_field

    @property
    def auto_id(self) -> bool:
        """Whether Milvus makes the ids in a collection that this store creates."""
        return self._settings.spec.auto_id

    @property
    def vector_fields(self) -> list[str]:
        """The vector fields that the store searches."""
        return list(self._settings.spec.all_vector_fields)

    @property
    def scope(self) -> Mapping[str, Scalar]:
        """The field values of every entity that this store reads or writes."""
        return dict(self._scope.values)

    def as_retriever(self, **kwargs: Any) -> StoreRetriever:
        """Return a retriever over this store.

        The retriever always applies the `filter` and the `expr` of its `search_kwargs`.

        Args:
            **kwargs: As in LangChain's `VectorStore.as_retriever`.
        """
        plain = super().as_retriever(**kwargs)  # checks the arguments and adds LangChain's tags
        return StoreRetriever(**{name: getattr(plain, name) for name in plain.model_fields_set})

    def scoped(
        self,
        scope: Mapping[str, Scalar] | None = None,
        /,
        *,
        scoped_ids: bool | None = None,
        **values: Scalar,
    ) -> "ScopedMilvusStore":
        """Return a view of the store that reads and writes only entities with some field values.

        The view shares the store's connection. Closing the view leaves the store open. Milvus
        takes one filter per request, so searches of different views share no request.

        Args:
            scope: Field values, for fields whose names can't be keyword arguments.
            scoped_ids: Whether to make stored keys of the scope and the id; `None` for this
                store's own setting. Views of a store whose ids are scoped share its keys.
            **values: Field values, such as `store.scoped(tenant="acme")`.

        Raises:
            InvalidInputError: If there is no field value, or one of another type than a string,
                an integer or a boolean.
            ScopeError: If this store's scope already fixes a field to another value, or if its
                ids are scoped and those of the view would not be.
        """
        in_keys = self._scope.in_keys if scoped_ids is None else scoped_ids
        narrowed = self._scope.narrowed({**(scope or {}), **values}, in_keys=in_keys)
        if not narrowed:
            raise InvalidInputError("scoped() needs at least one field value.")
        return ScopedMilvusStore(self, narrowed)


class ScopedMilvusStore(StoreMethods):
    """A view of a `MilvusStore` with a scope. `MilvusStore.scoped` makes it."""

    def __init__(self, parent: StoreMethods, scope: Scope) -> None:
        """Share what the parent has."""
        super().__init__(parent._settings, parent._lifecycle, scope)  # noqa: SLF001
        self._viewed = parent._viewed or parent  # noqa: SLF001

    async def aclose(self) -> None:
        """Close the view; its parent stays open."""
        self._closed_here = True

    def close(self) -> None:
        """Close the view; its parent stays open."""
        self._closed_here = True

    @classmethod
    def from_texts(cls, *_: Any, **__: Any) -> Self:
        """Raise `ScopeError`: `MilvusStore.scoped` makes views."""
        raise ScopeError("A view is made by MilvusStore.scoped().")

    @classmethod
    async def afrom_texts(cls, *_: Any, **__: Any) -> Self:
        """Raise `ScopeError`: `MilvusStore.scoped` makes views."""
        raise ScopeError("A view is made by MilvusStore.scoped().")
