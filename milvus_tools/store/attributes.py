"""The attributes that `langchain_milvus.Milvus` has, to read: what a store and its collection are.

Those that tell of the collection ask Milvus, and open the store if it is not open.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pymilvus import CollectionSchema

from milvus_tools._io.loop import run_sync
from milvus_tools.schema import Schema
from milvus_tools.store import options as opts
from milvus_tools.store.base import StoreBase
from milvus_tools.store.operations import read
from milvus_tools.store.session import Session
from milvus_tools.transport import ddl

Params = Mapping[str, Any]
Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class CollectionIndex:
    """An index of a collection.

    Attributes:
        field_name: The field that it is of.
        index_name: Its name.
        params: `{"index_type": …, "metric_type": …}`.
    """

    field_name: str
    index_name: str
    params: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class CollectionView:
    """The collection as it was when it was asked for.

    Attributes:
        name: Its name.
        schema: Its schema, as pymilvus describes schemas.
        indexes: Its indexes.
    """

    name: str
    schema: CollectionSchema
    indexes: list[CollectionIndex]
    _count: Callable[[], int] = dataclasses.field(repr=False)

    @property
    def num_entities(self) -> int:
        """The number of entities, counted now; inside a scope, of those in the scope."""
        return self._count()


class Attributes(StoreBase):
    """The attributes of `langchain_milvus.Milvus`, read-only.

    Where the collection is there, they tell what it is, and else what it is to be.
    """

    @property
    def col(self) -> CollectionView | None:
        """The collection's schema and indexes, read now; `None` if it is not there."""
        described = run_sync(self._run(_describe, None))
        if described is None:
            return None
        description, indexes = described
        return CollectionView(
            self._settings.spec.collection_name,
            CollectionSchema.construct_from_dict(description),
            list(map(_index, indexes)),
            lambda: run_sync(self._run(read.count, None, None, None, {})),
        )

    @property
    def fields(self) -> list[str]:
        """The names of the collection's fields; `[]` if it is not there."""
        collection = self.col
        return [] if collection is None else [field.name for field in collection.schema.fields]

    @property
    def index_params(self) -> Params | list[Params] | None:
        """The parameters of the vector fields' indexes; a list if there are several fields."""
        collection, given = self.col, self._settings.spec.index_params
        if collection is not None:
            given = {index.field_name: index.params for index in collection.indexes}
        return _one_or_several([given[name] for name in self._searched() if name in given])

    @property
    def search_params(self) -> Params | list[Params] | None:
        """The parameters of searches that give none; a list if there are several fields."""
        return _one_or_several(run_sync(self._run(_search_params, None)))

    @property
    def consistency_level(self) -> str:
        """The consistency level of reads, for other clients' writes."""
        return self._settings.spec.consistency_level

    @property
    def timeout(self) -> float:
        """Seconds for a call that gives none."""
        return self._settings.timeout

    @property
    def embedding_func(self) -> Any:
        """The embedding model, or a list of several, as `embeddings` has it."""
        return _one_or_several(list(self._settings.models))

    @property
    def builtin_func(self) -> Any:
        """Milvus's function, or a list of several."""
        return _one_or_several(list(self._settings.spec.functions))

    @property
    def enable_dynamic_field(self) -> bool:
        """Whether the collection keeps any metadata key."""
        schema = run_sync(self._run(_schema, None))
        return self._settings.spec.dynamic if schema is None else schema.dynamic

    @property
    def collection_description(self) -> str:
        """The description of a new collection."""
        return self._settings.spec.description

    @property
    def collection_properties(self) -> Mapping[str, Any] | None:
        """The properties of a new collection."""
        return self._settings.spec.properties

    @property
    def partition_names(self) -> list[str] | None:
        """The partitions to read; `None` for all."""
        names = self._settings.spec.partition_names
        return None if names is None else list(names)

    @property
    def replica_number(self) -> int:
        """The number of replicas to load."""
        return self._settings.spec.replica_number

    @property
    def num_partitions(self) -> int | None:
        """The number of partitions for the partition key of a new collection, if it was given."""
        return self._settings.spec.options.get("num_partitions")

    @property
    def num_shards(self) -> int | None:
        """The number of shards of a new collection, if it was given."""
        return self._settings.spec.options.get("num_shards")

    @property
    def metadata_schema(self) -> Mapping[str, Mapping[str, Any]]:
        """The declared metadata keys of a new collection."""
        return self._settings.spec.metadata_schema

    @property
    def vector_schema(self) -> Params | list[Params] | None:
        """The declared types of the vector fields of a new collection."""
        return _one_or_several(list(self._settings.spec.vector_schema.values()))

    @property
    def _primary_field(self) -> str:
        schema = run_sync(self._run(_schema, None))
        return self._settings.spec.primary_field if schema is None else schema.primary.name

    @property
    def _text_field(self) -> str:
        return self._settings.spec.text_field

    @property
    def _vector_field(self) -> str | list[str] | None:
        return _one_or_several(self._searched())

    @property
    def _metadata_field(self) -> str | None:
        return self._settings.spec.metadata_field

    @property
    def _partition_key_field(self) -> str | None:
        return self._settings.spec.partition_key_field

    def _searched(self) -> list[str]:
        return run_sync(self._run(_vector_fields, None))


async def _schema(session: Session) -> Schema | None:
    # `None` for a collection that was dropped, too: to tell that is no error.
    return await session.collection.schemas.schema_to_write(session.deadline)


async def _describe(session: Session) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    if await _schema(session) is None:
        return None
    connection, name = session.collection.connection, session.collection.name
    return await connection.administer(ddl.describe, session.deadline, name)


async def _vector_fields(session: Session) -> list[str]:
    schema = await _schema(session)
    spec = session.collection.settings.spec
    if schema is None:
        return list(spec.all_vector_fields)
    embeds = bool(spec.vector_fields)
    embedded = session.collection.embedder.vector_fields(schema) if embeds else []
    return [*embedded, *spec.function_fields]


async def _search_params(session: Session) -> list[Mapping[str, Any]]:
    schema = await _schema(session)
    given = session.collection.settings.search_params
    if schema is None:
        return list(given.values())
    return [
        opts.search_params(given.get(name), schema.indexes.get(name), 1)
        for name in await _vector_fields(session)
    ]


def _index(described: Mapping[str, Any]) -> CollectionIndex:
    params = {name: described.get(name) for name in ("index_type", "metric_type")}
    return CollectionIndex(described["field_name"], described["index_name"], params)


def _one_or_several(values: Sequence[Value]) -> Value | list[Value] | None:
    return values[0] if len(values) == 1 else list(values) or None
