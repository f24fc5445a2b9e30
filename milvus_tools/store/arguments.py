"""Reading `MilvusStore`'s arguments, which take one of a thing or a list of them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_milvus.function import BaseMilvusBuiltInFunction

from milvus_tools.errors import InvalidInputError
from milvus_tools.lite import is_lite
from milvus_tools.store.options import CONSISTENCY_LEVELS

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def listed(value: Any) -> list[Any]:
    """Return what was given as a list: one thing, several, or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def given(**options: Any) -> dict[str, Any]:
    """Leave out the options that were not given."""
    return {name: value for name, value in options.items() if value is not None}


def resolved(connection_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return pymilvus's arguments with the whole path of a Milvus Lite file.

    The store opens it later, and again after a fork, and the working directory may be another by
    then.
    """
    arguments = dict(connection_args)
    uri = str(arguments.get("uri", ""))
    if is_lite(uri):
        arguments["uri"] = str(pathlib.Path(uri).absolute())
    return arguments


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
    filled = {name for function in functions for name in listed(function.output_field_names)}
    fields = [name for name in named if name not in filled]
    if fields == ["vector"] and not models:
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
