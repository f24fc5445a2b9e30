"""Reading `connection_args`: pymilvus's arguments, in each of the forms that it has had."""

import os
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

from milvus_tools.errors import InvalidInputError
from milvus_tools.transport.grpc_errors import BAD_URI
from milvus_tools.transport.lite import is_lite

_DEFAULT_PORT: Final = 19530
_MAX_PORT: Final = 65535
_TEXTS: Final = ("token", "user", "password", "db_name")
_OTHERS: Final = frozenset(
    {
        *("alias", "cluster_id", "dedicated", "option", "timeout", "using"),
        *("grpc_options", "secure", "server_name", "server_pem_path"),
        *("ca_pem_path", "client_key_path", "client_pem_path"),
    }
)
_PLACES: Final = frozenset({"uri", "address", "host", "port"})


def read_connection_args(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of pymilvus's clients, with one `uri` for however the place is given.

    A Milvus Lite file gets its whole path: the store opens it later, and again after a fork, and
    the working directory may be another by then.

    Raises:
        InvalidInputError: If an argument is unknown or has the wrong type, or if the place is
            given twice, or not at all.
    """
    arguments = {name: value for name, value in (given or {}).items() if value is not None}
    _check_names(arguments)
    uri = _uri(arguments)
    if uri is None and _PLACES & (given or {}).keys():
        raise InvalidInputError("connection_args must have a uri that is not None.")
    kept = {name: value for name, value in arguments.items() if name not in _PLACES}
    if uri is None:
        return kept
    return {"uri": str(pathlib.Path(uri).absolute()) if is_lite(uri) else uri, **kept}


def _check_names(arguments: Mapping[str, Any]) -> None:
    known = {*_PLACES, *_TEXTS, *_OTHERS}
    unknown = sorted(str(name) for name in arguments if name not in known)
    if unknown:
        raise InvalidInputError(
            f"connection_args has no {', '.join(map(repr, unknown))}; it takes uri (or host and "
            f"port), {', '.join(_TEXTS)}, and pymilvus's arguments for TLS and gRPC."
        )
    for name in _TEXTS:
        if not isinstance(arguments.get(name, ""), str):
            raise InvalidInputError(f"connection_args: {name} must be a string.")


def _uri(arguments: Mapping[str, Any]) -> str | None:
    """Return the URI, whether it is given as one, as an address, or as a host and a port."""
    ways = [way for way in ("uri", "address", "host") if way in arguments]
    if "port" in arguments and "host" not in arguments:
        ways.append("port")
    if len(ways) > 1:
        raise InvalidInputError(
            f"connection_args has both {' and '.join(ways)}; give the uri, or the host and port."
        )
    if not ways:
        return None
    return {"uri": _given_uri, "address": _from_address}.get(ways[0], _from_host)(arguments)


def _given_uri(arguments: Mapping[str, Any]) -> str:
    uri = arguments["uri"]
    text = os.fspath(uri) if isinstance(uri, os.PathLike) else uri
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(BAD_URI)
    if not is_lite(text):
        _check_port(text)
    return text


def _check_port(uri: str) -> None:
    try:
        _ = urllib.parse.urlsplit(uri).port
    except ValueError as error:
        raise InvalidInputError(BAD_URI) from error


def _from_address(arguments: Mapping[str, Any]) -> str:
    host, _, port = str(arguments["address"]).rpartition(":")
    return _from_host({"host": host, "port": port})


def _from_host(arguments: Mapping[str, Any]) -> str:
    host, port = arguments.get("host", "localhost"), arguments.get("port", _DEFAULT_PORT)
    if not isinstance(host, str) or not _is_host(host) or not _is_port(port):
        raise InvalidInputError(
            "connection_args: host must be the server's name alone, and port a number from 1 to "
            f"{_MAX_PORT}, as in host='localhost', port=19530 or address='localhost:19530'."
        )
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{name}:{int(port)}"


def _is_host(host: str) -> bool:
    return bool(host) and "/" not in host and host.count(":") != 1  # IPv6 has two colons or more


def _is_port(port: object) -> bool:
    text = str(port)
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _MAX_PORT
