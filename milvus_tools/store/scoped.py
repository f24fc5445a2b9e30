"""What a store and its views share, and the views that are held to a scope."""

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.vectorstores import VectorStore

from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.filters.literals import Scalar
from milvus_tools.store.methods.read import ReadMethods
from milvus_tools.store.methods.search import SearchMethods, StoreRetriever
from milvus_tools.store.methods.write import WriteMethods


# `delete` returns more than a bool, which is as true as one.
class StoreMethods(SearchMethods, ReadMethods, WriteMethods, VectorStore):  # type: ignore[misc]
    """All that a store and its views share."""

    @property
    def collection_name(self) -> str:
        """The collection's name."""
        return self._settings.spec.collection_name

    @property
    def embeddings(self) -> Any:
        """The embedding model, or the list of them; `None` if Milvus embeds, or not made yet."""
        models = list(self._settings.models)
        return models[0] if len(models) == 1 else models or None

    @property
    def text_field(self) -> str:
        """The field of the Documents' text."""
        return self._settings.spec.text_field

    @property
    def auto_id(self) -> bool:
        """Whether Milvus makes the ids of a collection that this store makes."""
        return self._settings.spec.auto_id

    @property
    def vector_fields(self) -> list[str]:
        """The vector fields that the store searches."""
        return list(self._settings.spec.all_vector_fields)

    @property
    def scope(self) -> Mapping[str, Scalar]:
        """The field values that every entity has which this store reads or writes."""
        return dict(self._scope.values)

    def as_retriever(self, **kwargs: Any) -> StoreRetriever:
        """Return a retriever over this store, whose `search_kwargs["filter"]` always holds."""
        plain = super().as_retriever(**kwargs)
        return StoreRetriever(**{name: getattr(plain, name) for name in plain.model_fields_set})

    def scoped(
        self,
        scope: Mapping[str, Scalar] | None = None,
        /,
        *,
        scoped_ids: bool | None = None,
        **values: Scalar,
    ) -> "ScopedMilvusStore":
        """Return a view of the store that is held to field values.

        It shares the store's connection, and closing it leaves the store open.

        Args:
            scope: Field values, for names that can't be keyword arguments.
            scoped_ids: Whether to make stored keys of the scope and the id; `None` for what this
                store does.
            **values: Field values: `store.scoped(tenant="acme")`.

        Raises:
            ScopeError: If this store fixes one of the fields already, to another value.
        """
        in_keys = self._scope.in_keys if scoped_ids is None else scoped_ids
        narrowed = self._scope.narrowed({**(scope or {}), **values}, in_keys=in_keys)
        if not narrowed:
            raise InvalidInputError("scoped() needs at least one field value.")
        return ScopedMilvusStore(self._settings, self._lifecycle, narrowed)


class ScopedMilvusStore(StoreMethods):
    """A view of a `MilvusStore`, held to a scope. `MilvusStore.scoped` makes it."""

    async def aclose(self) -> None:
        """Close the view; its parent stays open."""
        self._closed_here = True

    def close(self) -> None:
        """Close the view; its parent stays open."""
        self._closed_here = True

    @classmethod
    def from_texts(cls, *_: Any, **__: Any) -> Self:
        """Refuse: a view is made of a store."""
        raise ScopeError("A view is made with MilvusStore.scoped().")

    @classmethod
    async def afrom_texts(cls, *_: Any, **__: Any) -> Self:
        """Refuse: a view is made of a store."""
        raise ScopeError("A view is made with MilvusStore.scoped().")
