"""The one place where the errors of pymilvus, gRPC and asyncio become ours.

Messages never hold addresses, paths or secrets: what another part says is redacted here.
"""

import contextlib
import ipaddress
import re
from collections.abc import Iterator

import grpc
from pymilvus import MilvusException
from pymilvus.exceptions import ConnectionConfigException, DataNotMatchException, ParamError

from milvus_tools.errors import (
    AccessError,
    AnswerTooLargeError,
    CollectionNotFoundError,
    DeadlineError,
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    UnavailableError,
    UnsupportedError,
)

ILLEGAL_ARGUMENT = 6  # what Milvus Lite answers to a malformed expression
COLLECTION_NOT_FOUND = 100
NOT_LOADED = 101
DATABASE_NOT_FOUND = 800
_CONNECT_FAILED = 2
_UNAVAILABLE = "The Milvus store is unavailable: it can't be reached, or the connection broke."
_DEADLINE = "Milvus did not answer within the deadline; a write's outcome is unknown."
_NO_LOGIN = (
    "Milvus refused the user: the token, or the user and the password, are missing or wrong."
)
_NO_ACCESS = "Milvus refused access: the user lacks the privilege."
NO_DATABASE = "The database does not exist: correct db_name, or make it first."
BAD_URI = "The uri must be http://…, https://… or a path that ends in .db."
_TOO_LARGE = "The answer has more bytes than Milvus sends; ask for fewer entities."
# What gRPC says of an answer, and servers of the rows in it.
_TOLD_TOO_LARGE = (
    *("send message larger than max", "sent message larger than max"),
    *("results exceed the limit size", "result size exceeds"),
)
_NO_IMPORT = (
    "A part of Milvus's client can't be imported. If the process was forked while another thread "
    "imported it, fork before the first call, or spawn."
)
_BY_STATUS: dict[grpc.StatusCode, tuple[type[MilvusError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (UnavailableError, _UNAVAILABLE),
    grpc.StatusCode.CANCELLED: (UnavailableError, _UNAVAILABLE),
    grpc.StatusCode.DEADLINE_EXCEEDED: (DeadlineError, _DEADLINE),
    grpc.StatusCode.UNAUTHENTICATED: (AccessError, _NO_LOGIN),
}
# A message is read word by word, so that what is hostile in it takes linear time.
_WORD = re.compile(r"[^\s\"'<>(),;]+")
_PART = re.compile(r"[^=|{}\[\]]+")
_IP_IN_BRACKETS = re.compile(r"\[(?=[0-9a-fA-F.]{0,40}:)[0-9a-fA-F:.%]{2,60}\](?::\d{1,5})?")
_LOOKED_UP = re.compile(r"(?<=lookup )[\w.-]+")
_SECRET = re.compile(
    r"(?<!\w)(token|passw(?:or)?d|secret|credentials?|authorization|signature|(?:api|access|secret)[_-]?key)"
    r"([\"']?\s{0,2}[=:]\s{0,2}[\"']?)(?:(?:bearer|basic)\s{1,2})?[^\s\"',;&)]+",
    re.IGNORECASE,
)
_SCHEMES = ("ipv4:", "ipv6:", "unix:", "unix-abstract:", "dns:", "vsock:", "tcp:")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SHORT_PORT, _LONG_PORT = 2, 4  # digits: after a name with dots, and after one without
_UNAUTHENTICATED, _NOT_PERMITTED = 1400, 1401
# Milvus's name of a privilege that is missing, as in "PrivilegeLoad: permission deny to …".
_PRIVILEGE = re.compile(r"(?<![A-Za-z])Privilege([A-Z][A-Za-z]{1,40}):")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what pymilvus, gRPC and asyncio raise into the tree above.

    Raises:
        MilvusToolsError: In place of the foreign error, which becomes its cause.
    """
    try:
        yield
    except MilvusToolsError:
        raise
    except (MilvusException, grpc.RpcError, TimeoutError) as error:
        raise _translate(error) from error


def _translate(error: Exception) -> MilvusToolsError:
    if isinstance(error, TimeoutError):
        return DeadlineError(_DEADLINE)
    if isinstance(error, grpc.RpcError):
        return _from_status(error.code(), redacted(error.details() or ""))
    return _from_milvus(error)


def quotes_milvus(error: BaseException) -> bool:
    """Tell whether an error of ours repeats what Milvus, or its client, says."""
    return type(error) is MilvusError or isinstance(error.__cause__, MilvusException)


def redacted(message: str) -> str:
    """Take addresses, paths and secrets out of what another part says."""
    message = _SECRET.sub(r"\1\2<secret>", message)
    for pattern in (_LOOKED_UP, _IP_IN_BRACKETS):
        message = pattern.sub("<address>", message)
    return _WORD.sub(_redacted_word, message)


def _redacted_word(found: re.Match[str]) -> str:
    word = found[0]
    return "<address>" if "://" in word else _PART.sub(_redacted_part, word)


def _redacted_part(found: re.Match[str]) -> str:
    part = _without_stops(found[0])
    if _is_path(part):
        return "<path>"
    if part.lower().startswith(_SCHEMES) or _is_ip(part) or _is_host(part):
        return "<address>"
    return found[0]


def _without_stops(part: str) -> str:
    """Return a part without the stops and colons of the sentence round it; `::` is its own."""
    part = part.strip(".")
    start = part if part.startswith("::") else part.lstrip(":")
    return start if start.endswith("::") else start.rstrip(":")


def _is_path(part: str) -> bool:
    rooted = part.lstrip("~.").startswith(("/", "\\\\")) or _DRIVE.match(part)
    nested = part.count("/") > 1 or part.count("\\") > 1
    return bool(rooted or nested) and any(map(str.isalpha, part))


def _is_ip(part: str) -> bool:
    host, _, port = part.rpartition(":")
    without_port = host if port.isdigit() and host.count(".") == 3 else part  # noqa: PLR2004
    if without_port.count(".") != 3 and part.count(":") < 2:  # noqa: PLR2004
        return False
    try:
        ipaddress.ip_address(without_port)
    except ValueError:
        return False
    return True


def _is_host(part: str) -> bool:
    host, _, port = part.rpartition(":")
    shortest = _SHORT_PORT if "." in host or host == "localhost" else _LONG_PORT
    with_port = port.isdigit() and len(port) >= shortest and any(map(str.isalpha, host))
    return with_port or ("@" in part and ("." in part or ":" in part))


def is_denied(error: Exception) -> bool:
    """Tell whether Milvus refused a request because the user lacks a privilege."""
    status = getattr(error, "code", 0)
    return (status() if callable(status) else status) in (
        grpc.StatusCode.PERMISSION_DENIED,
        _NOT_PERMITTED,
    )


def _from_status(status: object, details: str) -> MilvusToolsError:
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return UnsupportedError("This version of Milvus does not know the request.")
    if status is grpc.StatusCode.PERMISSION_DENIED:
        return _denied(details)
    if isinstance(status, grpc.StatusCode) and status in _BY_STATUS:
        kind, message = _BY_STATUS[status]
        return kind(message)
    if _is_too_large(details):
        return AnswerTooLargeError(_TOO_LARGE)
    return MilvusError(f"Milvus failed: {details or status}.")


def _denied(details: str, code: int = 0) -> AccessError:
    named = _PRIVILEGE.search(details)
    missing = f"Milvus refused access: the user lacks the privilege {named[1]}." if named else ""
    return AccessError(missing or _NO_ACCESS, code)


def _from_milvus(error: Exception) -> MilvusToolsError:
    code = getattr(error, "code", 0)
    message = redacted(str(getattr(error, "message", "") or error))
    if isinstance(code, grpc.StatusCode):
        return _from_status(code, message)
    known = _of_client(error, message) or _by_code(code, message)
    return known or MilvusError(f"Milvus refused the request: {message}", code)


def _of_client(error: Exception, message: str) -> MilvusToolsError | None:
    """Translate an error that pymilvus made by itself."""
    if isinstance(error, ConnectionConfigException):
        return InvalidInputError(BAD_URI)
    if isinstance(error, DataNotMatchException | ParamError):
        return InvalidInputError(f"Milvus's client refused the data: {message}")
    cause = error.__cause__
    if isinstance(cause, ImportError):
        return UnsupportedError(_NO_IMPORT)
    # pymilvus says of each failure to connect that the server may be unavailable.
    if getattr(error, "code", 0) == _CONNECT_FAILED and isinstance(cause, grpc.RpcError):
        exact = _from_status(cause.code(), redacted(cause.details() or ""))
        return exact if isinstance(exact, AccessError) else None
    return None


def _by_code(code: int, message: str) -> MilvusToolsError | None:
    closed = "closed" in message and "channel" in message.lower()
    if closed or code == _CONNECT_FAILED:
        return UnavailableError(_UNAVAILABLE, code)
    if "Retry timeout" in message:
        return DeadlineError(_DEADLINE, code)
    if code == COLLECTION_NOT_FOUND:
        return CollectionNotFoundError("The collection does not exist (any more).")
    if code in (_UNAUTHENTICATED, _NOT_PERMITTED):
        return AccessError(_NO_LOGIN, code) if code == _UNAUTHENTICATED else _denied(message, code)
    if code == DATABASE_NOT_FOUND or _is_missing_database(code, message):
        return MilvusError(NO_DATABASE, DATABASE_NOT_FOUND)
    return AnswerTooLargeError(_TOO_LARGE, code) if _is_too_large(message) else None


def _is_too_large(message: str) -> bool:
    return any(told in message.lower() for told in _TOLD_TOO_LARGE)


def _is_missing_database(code: int, message: str) -> bool:
    """Tell whether Milvus Lite, which has no code for it, says that a database is missing."""
    said = message.startswith("database ") and message.endswith(" does not exist")
    return said and code == ILLEGAL_ARGUMENT
