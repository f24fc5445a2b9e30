"""Data definition: making, opening and dropping a collection, and reading what it is.

`Connection.administer` runs these functions, with a blocking client, in a thread.
"""

import time
from typing import Any, Final

import grpc
from pymilvus import CollectionSchema, MilvusClient, MilvusException
from pymilvus.client.types import LoadState

from milvus_tools.schema import Index, Schema
from milvus_tools.spec import CollectionSpec
from milvus_tools.transport.grpc_errors import COLLECTION_NOT_FOUND, is_denied
from milvus_tools.transport.requests import Deadline

_BEING_MADE: Final = 5.0  # seconds in which Milvus Lite makes a collection, on a busy machine
_A_MOMENT: Final = 0.02


def drop(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> None:
    """Drop the collection, if it is there."""
    client.drop_collection(spec.collection_name, timeout=deadline.remaining)


def open_existing(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> Schema | None:
    """Load the collection and read what it is; `None` if it is not there."""
    name = spec.collection_name
    if not client.has_collection(name, timeout=deadline.remaining):
        _require_database(client, deadline)
        return None
    try:
        return _complete(client, deadline, spec)
    except MilvusException as error:
        if error.code == COLLECTION_NOT_FOUND:  # dropped since the line above
            return None
        raise


def _require_database(client: MilvusClient, deadline: Deadline) -> None:
    """Raise if the database is missing: Milvus 2.3 has no collection there, and says no more."""
    try:
        client.list_collections(timeout=deadline.remaining)
    except (MilvusException, grpc.RpcError) as error:
        if not is_denied(error):  # a user who may not list them may still use one
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
    except MilvusException as error:
        # Another process may have been faster: theirs is as good, if it is there.
        if not _is_made(client, deadline, spec.collection_name, error):
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


def _is_made(client: MilvusClient, deadline: Deadline, name: str, error: MilvusException) -> bool:
    """Tell whether a collection that could not be made is there now.

    Milvus Lite makes a collection's folder before it knows the collection, and goes on with a
    creation whose caller gave it up: then the collection comes in a moment.
    """
    seconds = _BEING_MADE if "File exists" in str(error) else 0.0
    until = Deadline.after(min(seconds, deadline.remaining))
    while not client.has_collection(name, timeout=deadline.remaining):
        if until.passed:
            return False
        time.sleep(_A_MOMENT)
    return True


def read_schema(client: MilvusClient, deadline: Deadline, collection_name: str) -> Schema:
    """Ask Milvus what the collection is, and which indexes it has."""
    description, described = describe(client, deadline, collection_name)
    indexes = {index["field_name"]: Index.from_description(index) for index in described}
    return Schema.from_description(description, indexes)


def describe(
    client: MilvusClient, deadline: Deadline, collection_name: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return pymilvus's descriptions of the collection and of its indexes."""
    description = client.describe_collection(collection_name, timeout=deadline.remaining)
    names = client.list_indexes(collection_name, timeout=deadline.remaining)
    return description, [
        client.describe_index(collection_name, name, timeout=deadline.remaining) for name in names
    ]


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
    """Load the collection, unless another user, who may load it, has done so.

    Even to ask whether it is loaded needs the privilege to load, before Milvus 2.4; so a user
    without it reads a row.
    """
    try:
        _request_load(client, deadline, spec)
    except (MilvusException, grpc.RpcError) as error:
        if not is_denied(error) or not _is_loaded(client, deadline, spec):
            raise


def _request_load(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> None:
    name = spec.collection_name
    replicas = _replicas(client, deadline, spec)
    if spec.partition_names is None or spec.loads_whole:
        client.load_collection(name, timeout=deadline.remaining, **replicas)
    else:
        partitions = list(spec.partition_names)
        client.load_partitions(name, partitions, timeout=deadline.remaining, **replicas)


def _replicas(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> dict[str, Any]:
    """Return which replicas to load: those that there are, unless more are wanted.

    Servers from 2.4.13 on change a loaded collection's replicas to those that a request names, or
    to one in the default resource group. Older ones refuse another number.
    """
    if spec.replica_number > 1 or spec.loads_whole:
        return {"replica_number": spec.replica_number}
    groups = _loaded_in(client, deadline, spec.collection_name)
    return {"replica_number": len(groups), "resource_groups": groups} if groups else {}


def _loaded_in(client: MilvusClient, deadline: Deadline, name: str) -> list[str]:
    """Return the resource group of each replica; an empty list if none is loaded, or none told."""
    try:
        state = client.get_load_state(name, timeout=deadline.remaining)["state"]
        if state is LoadState.NotLoad:
            return []
        replicas = client.describe_replica(name, timeout=deadline.remaining)
    except (MilvusException, grpc.RpcError):  # such as of a privilege: the load itself tells more
        return []
    return [replica.resource_group for replica in replicas]


def _is_loaded(client: MilvusClient, deadline: Deadline, spec: CollectionSpec) -> bool:
    try:
        client.query(
            spec.collection_name,
            limit=1,
            partition_names=list(spec.partition_names or ()),
            timeout=deadline.remaining,
        )
    except (MilvusException, grpc.RpcError) as error:
        return is_denied(error)  # then nothing tells; a call that may be made tells more
    return True
