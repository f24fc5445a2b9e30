"""Data definition: making, opening and dropping a collection, and reading what it is.

`Connection.administer` runs these functions, with a blocking client, in a thread.
"""

from pymilvus import CollectionSchema, MilvusClient, MilvusException

from milvus_tools.schema import Index, Schema
from milvus_tools.spec import CollectionSpec
from milvus_tools.transport.grpc_errors import COLLECTION_NOT_FOUND
from milvus_tools.transport.requests import Deadline


def drop(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> None:
    """Drop the collection, if it is there."""
    client.drop_collection(spec.collection_name, timeout=deadline.remaining)


def open_existing(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> Schema | None:
    """Load the collection and read what it is; `None` if it is not there."""
    name = spec.collection_name
    if not client.has_collection(name, timeout=deadline.remaining):
        return None
    try:
        return _complete(client, deadline, spec)
    except MilvusException as error:
        if error.code == COLLECTION_NOT_FOUND:  # dropped since the line above
            return None
        raise


def create(
    client: MilvusClient, deadline: Deadline, spec: CollectionSpec, planned: CollectionSchema
) -> Schema:
    """Make the collection, unless it is there by now, load it, and read what it is."""
    try:
        client.create_collection(
            spec.collection_name,
            schema=planned,
            consistency_level=spec.consistency_level,
            timeout=deadline.remaining,
            **spec.options,
        )
    except MilvusException:
        # Another process may have been faster: theirs is as good, if it is there.
        if not client.has_collection(spec.collection_name, timeout=deadline.remaining):
            raise
    for partition in spec.partition_names or ():
        place = (spec.collection_name, partition)
        if not client.has_partition(*place, timeout=deadline.remaining):
            client.create_partition(*place, timeout=deadline.remaining)
    if spec.properties is not None:
        client.alter_collection_properties(
            spec.collection_name,
            properties=dict(spec.properties),
            timeout=deadline.remaining,
        )
    return _complete(client, deadline, spec)


def read_schema(client: MilvusClient, deadline: Deadline, collection_name: str) -> Schema:
    """Ask Milvus what the collection is, and which indexes it has."""
    description = client.describe_collection(collection_name, timeout=deadline.remaining)
    indexes = {}
    for name in client.list_indexes(collection_name, timeout=deadline.remaining):
        index = client.describe_index(collection_name, name, timeout=deadline.remaining)
        indexes[index["field_name"]] = Index.from_description(index)
    return Schema.from_description(description, indexes)


def _complete(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> Schema:
    """Make the indexes that are missing, load the collection, and read what it is."""
    name = spec.collection_name
    schema = read_schema(client, deadline, name)
    bare = schema.vectors.keys() - schema.indexes.keys()
    for field in bare.intersection(spec.all_vector_fields):
        indexes = client.prepare_index_params()
        indexes.add_index(field, **spec.index_of(field, schema.vectors[field].type))
        try:
            client.create_index(name, indexes, timeout=deadline.remaining)
        except MilvusException:
            # Another store may have been faster, as with the collection.
            if field not in read_schema(client, deadline, name).indexes:
                raise
    _load(client, deadline, spec)
    return read_schema(client, deadline, name) if bare else schema


def _load(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> None:
    name = spec.collection_name
    replicas = {"replica_number": spec.replica_number, "timeout": deadline.remaining}
    if spec.partition_names is None or spec.loads_whole:
        client.load_collection(name, **replicas)
    else:
        client.load_partitions(name, list(spec.partition_names), **replicas)
