"""Making, opening and dropping a collection, with a blocking client: run it in a thread."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pymilvus import CollectionSchema, MilvusClient, MilvusException

from milvus_tools.blueprint import Blueprint
from milvus_tools.errors import COLLECTION_NOT_FOUND
from milvus_tools.schema import Schema
from milvus_tools.store.models import ModelSource
from milvus_tools.store.requests import (
    Deadline,
    EmbeddingModel,
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a store uses its collection.

    Attributes:
        blueprint: What the collection is, or is to be.
        sources: The embedding models, one per vector field that is not a function's.
        search_params: Milvus's search parameters per vector field.
        consistency_level: Of reads that need no more.
        partition_names: The partitions to load, read and write, or `None` for all.
        replica_number: How many replicas to load.
        drop_old: Whether to drop the collection when the store opens.
        loads_whole: Whether to load all partitions, since this Milvus can't load some.
    """

    blueprint: Blueprint
    sources: tuple[ModelSource, ...]
    search_params: Mapping[str, Mapping[str, Any]]
    consistency_level: str
    partition_names: tuple[str, ...] | None
    replica_number: int
    drop_old: bool
    loads_whole: bool = False

    def on_lite(self) -> "Settings":
        """Return what they are on Milvus Lite.

        It loads no single partitions. With AUTOINDEX, which is HNSW there, a filtered search of
        flushed entities finds but some of those that match; with FLAT it finds them all.
        """
        blueprint = dataclasses.replace(self.blueprint, dense_index="FLAT")
        return dataclasses.replace(self, blueprint=blueprint, loads_whole=True)

    @property
    def models(self) -> tuple[EmbeddingModel | None, ...]:
        """The embedding models; `None` for one that has not been made yet."""
        return tuple(source.model for source in self.sources)


def drop(client: MilvusClient, settings: Settings, deadline: Deadline) -> None:
    """Drop the collection, if it is there."""
    client.drop_collection(settings.blueprint.collection_name, timeout=deadline.remaining)


def open_existing(client: MilvusClient, settings: Settings, deadline: Deadline) -> Schema | None:
    """Load the collection and read what it is; `None` if it is not there."""
    name = settings.blueprint.collection_name
    if not client.has_collection(name, timeout=deadline.remaining):
        return None
    try:
        return _complete(client, settings, deadline)
    except MilvusException as error:
        if error.code == COLLECTION_NOT_FOUND:  # dropped since the line above
            return None
        raise


def create(
    client: MilvusClient, settings: Settings, deadline: Deadline, planned: CollectionSchema
) -> Schema:
    """Make the collection, unless it is there by now, load it, and read what it is."""
    blueprint = settings.blueprint
    try:
        client.create_collection(
            blueprint.collection_name,
            schema=planned,
            consistency_level=settings.consistency_level,
            timeout=deadline.remaining,
            **blueprint.options,
        )
    except MilvusException:
        # Another process may have been faster: theirs is as good, if it is there.
        if not client.has_collection(blueprint.collection_name, timeout=deadline.remaining):
            raise
    for partition in settings.partition_names or ():
        place = (blueprint.collection_name, partition)
        if not client.has_partition(*place, timeout=deadline.remaining):
            client.create_partition(*place, timeout=deadline.remaining)
    if blueprint.properties is not None:
        client.alter_collection_properties(
            blueprint.collection_name,
            properties=dict(blueprint.properties),
            timeout=deadline.remaining,
        )
    return _complete(client, settings, deadline)


def _complete(client: MilvusClient, settings: Settings, deadline: Deadline) -> Schema:
    """Make the indexes that are missing, load the collection, and read what it is."""
    blueprint = settings.blueprint
    name = blueprint.collection_name
    schema = Schema.read(client, name, deadline.remaining)
    bare = schema.vectors.keys() - schema.indexes.keys()
    for field in bare.intersection(blueprint.all_vector_fields):
        indexes = client.prepare_index_params()
        indexes.add_index(field, **blueprint.index_of(field, schema.vectors[field].type))
        try:
            client.create_index(name, indexes, timeout=deadline.remaining)
        except MilvusException:
            # Another store may have been faster, as with the collection.
            if field not in Schema.read(client, name, deadline.remaining).indexes:
                raise
    _load(client, settings, deadline)
    return Schema.read(client, name, deadline.remaining) if bare else schema


def _load(client: MilvusClient, settings: Settings, deadline: Deadline) -> None:
    name = settings.blueprint.collection_name
    replicas = {"replica_number": settings.replica_number, "timeout": deadline.remaining}
    if settings.partition_names is None or settings.loads_whole:
        client.load_collection(name, **replicas)
    else:
        client.load_partitions(name, list(settings.partition_names), **replicas)
