"""Reading `MilvusStore`'s arguments, which take one of a thing or a list of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_milvus.function import BaseMilvusBuiltInFunction

from milvus_tools.embeddings.source import Embedding, EmbeddingModel, ModelSource
from milvus_tools.errors import InvalidInputError
from milvus_tools.filters.literals import Scalar
from milvus_tools.spec import CollectionSpec, filled_by, listed
from milvus_tools.store.options import CONSISTENCY_LEVELS
from milvus_tools.store.scope import Scope

DEFAULT_TIMEOUT = 30.0
_MAX_SECONDS = 1_000_000_000  # gRPC takes some more, and infinity, for a time long past

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Functions = BaseMilvusBuiltInFunction | Sequence[BaseMilvusBuiltInFunction] | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings with which a store uses its collection.

    Attributes:
        spec: What the collection is, or is to be.
        sources: The embedding models, one per vector field that is not a function's.
        search_params: Milvus's search parameters per vector field.
        drop_old: Whether to drop the collection when the store opens.
        timeout: Seconds for a call that gives none.
    """

    spec: CollectionSpec
    sources: tuple[ModelSource, ...]
    search_params: Mapping[str, Mapping[str, Any]]
    drop_old: bool
    timeout: float

    def on_lite(self) -> "Settings":
        """Return what they are on Milvus Lite."""
        return dataclasses.replace(self, spec=self.spec.on_lite())

    @property
    def models(self) -> tuple[EmbeddingModel | None, ...]:
        """The embedding models; `None` for one that has not been made yet."""
        return tuple(source.model for source in self.sources)


def read_settings(
    embedding_function: Embedding | Sequence[Embedding] | None,
    builtin_function: Functions,
    vector_field: str | Sequence[str],
    *,
    vector_schema: Parameters,
    index_params: Parameters,
    search_params: Parameters,
    enable_dynamic_field: bool | None,
    metadata_field: str | None,
    metadata_schema: Mapping[str, Mapping[str, Any]] | None,
    consistency_level: str,
    partition_names: Sequence[str] | None,
    num_partitions: int | None,
    num_shards: int | None,
    replica_number: int,
    drop_old: bool | None,
    timeout: float | None,
    **plain: Any,
) -> Settings:
    """Read what `MilvusStore` was told of its collection, under the names that it has there.

    `plain` is what a `CollectionSpec` takes as it is.

    Raises:
        InvalidInputError: If the arguments contradict each other.
    """
    sources = tuple(map(ModelSource, listed(embedding_function)))
    functions = tuple(listed(builtin_function))
    fields = embedded_fields(listed(vector_field), functions, len(sources))
    order = _order(listed(vector_field), fields, functions)
    dynamic = metadata_field is None if enable_dynamic_field is None else enable_dynamic_field
    searching = per_field(search_params, order, "search_params")
    spec = CollectionSpec(
        vector_fields=fields,
        functions=functions,
        dynamic=dynamic,
        metadata_field=None if enable_dynamic_field else metadata_field,
        metadata_schema=dict(metadata_schema or {}),
        vector_schema=per_field(vector_schema, order, "vector_schema"),
        index_params=per_field(index_params, order, "index_params"),
        metrics={
            name: one["metric_type"] for name, one in searching.items() if "metric_type" in one
        },
        options=given(num_shards=num_shards, num_partitions=num_partitions),
        consistency_level=checked_level(consistency_level),
        partition_names=None if partition_names is None else tuple(partition_names),
        replica_number=replica_number,
        **plain,
    )
    return Settings(
        spec=spec,
        sources=sources,
        search_params=searching,
        drop_old=bool(drop_old),
        timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
    )


def checked_timeout(seconds: float) -> float:
    """Return the seconds for a call, if they can be meant.

    Raises:
        InvalidInputError: If they can't.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InvalidInputError("timeout must be a number of seconds greater than 0.")
    if seconds > _MAX_SECONDS:
        raise InvalidInputError(f"timeout can't be more than {_MAX_SECONDS} seconds.")
    return seconds


def read_scope(values: Mapping[str, Scalar] | None, *, in_keys: bool, auto_id: bool) -> Scope:
    """Read a store's scope.

    Raises:
        InvalidInputError: If it can't be one, or is to be in keys that Milvus makes.
    """
    if auto_id and in_keys:
        raise InvalidInputError(
            "auto_id=True lets Milvus make the keys, and scoped_ids=True makes them of the scope "
            "and the id: choose one."
        )
    return Scope(dict(values or {}), in_keys=in_keys)


def _order(
    named: Sequence[str], fields: Sequence[str], functions: Sequence[BaseMilvusBuiltInFunction]
) -> Sequence[str]:
    """Return the vector fields in the order that lists of parameters follow: the caller's."""
    all_ = [*fields, *filled_by(functions)]
    return named if len(named) == len(all_) else all_


def given(**options: Any) -> dict[str, Any]:
    """Leave out the options that were not given."""
    return {name: value for name, value in options.items() if value is not None}


def checked_level(level: str) -> str:
    """Return a consistency level that Milvus knows."""
    if level not in CONSISTENCY_LEVELS:
        raise InvalidInputError(
            f"consistency_level must be one of {', '.join(CONSISTENCY_LEVELS)}."
        )
    return level


def embedded_fields(
    named: Sequence[str], functions: Sequence[BaseMilvusBuiltInFunction], models: int
) -> tuple[str, ...]:
    """Return one field name per embedding model, of those that no function fills."""
    if not models and not functions:
        raise InvalidInputError("A store needs an embedding_function or a builtin_function.")
    if len(set(named)) != len(named):
        raise InvalidInputError("The names in vector_field must differ.")
    fields = [name for name in named if name not in filled_by(functions)]
    if fields == ["vector"] and not models:  # the default, where functions fill all fields
        return ()
    if len(fields) > models:
        raise InvalidInputError(
            f"vector_field names {', '.join(fields)}, but there are {models} embedding models."
        )
    return (*fields, *(f"vector_{number + 1}" for number in range(len(fields), models)))


def per_field(
    given: Parameters, fields: Sequence[str], argument: str
) -> dict[str, Mapping[str, Any]]:
    """Give each of some fields its parameters."""
    parameters = listed(given)
    if parameters and len(parameters) != len(fields):
        raise InvalidInputError(
            f"{argument} must be {len(fields)} dictionaries, one for each of {', '.join(fields)}."
        )
    return {name: one for name, one in zip(fields, parameters, strict=False) if one}
