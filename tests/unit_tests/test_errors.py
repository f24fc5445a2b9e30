"""The error tree, and how foreign errors become part of it."""

import asyncio
import inspect
import re
from collections.abc import Callable

import grpc
import pytest
from pymilvus import MilvusException
from pymilvus.exceptions import ConnectionConfigException, DataNotMatchException, ParamError

from milvus_tools import errors
from milvus_tools.errors import (
    AccessError,
    AnswerTooLargeError,
    CollectionNotFoundError,
    DeadlineError,
    DimensionError,
    EmbeddingError,
    FilterError,
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
    ScopeError,
    StoreClosedError,
    UnavailableError,
    UnsupportedError,
    embedding,
)
from milvus_tools.transport.grpc_errors import translated

SECRETS = [
    *("127.0.0.1", "19530", "milvus.example.org", "unix:", "/run/milvus.sock", "10.0.0.7"),
    *("root:Milvus", "localhost"),
]
ADDRESSES = (
    "failed to connect to all addresses; last error: ipv4:127.0.0.1:19530 and "
    "milvus.example.org:19530, localhost:19530, http://root:Milvus@10.0.0.7:19530/db, "
    "unix:/run/milvus.sock, tcp://milvus.example.org"
)


class RpcError(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, status: grpc.StatusCode, details: str | None) -> None:
        """Keep what gRPC tells."""
        super().__init__()
        self._status, self._details = status, details

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._status

    def details(self) -> str | None:
        """Return the text."""
        return self._details


def tree(root: type[BaseException]) -> set[type[BaseException]]:
    """Return a class and all below it."""
    return {root}.union(*map(tree, root.__subclasses__()))


def translate(error: BaseException) -> MilvusToolsError:
    """Return what an error becomes."""
    with pytest.raises(MilvusToolsError) as caught, translated():
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def test_the_docstring_draws_the_tree() -> None:
    """Every error of the module is below one base, and in the drawing with what it also is."""
    public = {
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if one.__module__ == errors.__name__
    }
    assert public == tree(MilvusToolsError)
    for one in public - {MilvusToolsError}:
        (line,) = (
            line for line in str(errors.__doc__).splitlines() if f" {one.__name__} " in line
        )
        for base in one.__bases__:
            if not issubclass(base, MilvusToolsError):
                assert f"({base.__name__})" in line


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (InvalidInputError, ValueError),
        (FilterError, ValueError),
        (DimensionError, ValueError),
        (ScopeError, PermissionError),
        (StoreClosedError, RuntimeError),
        (UnavailableError, ConnectionError),
        (DeadlineError, TimeoutError),
        (AccessError, PermissionError),
    ],
)
def test_errors_are_what_python_has_for_them(
    error: type[MilvusToolsError], also: type[Exception]
) -> None:
    """Code that knows nothing of us catches them too."""
    assert issubclass(error, also)
    assert str(error("Say it.")) == "Say it."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), DeadlineError),
        (RpcError(grpc.StatusCode.UNAVAILABLE, "x"), UnavailableError),
        (RpcError(grpc.StatusCode.CANCELLED, "x"), UnavailableError),
        (RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "x"), DeadlineError),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED, "x"), AccessError),
        (
            RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "grpc: trying to send message larger than max (93765734 vs. 67108864)",
            ),
            AnswerTooLargeError,
        ),
        (RpcError(grpc.StatusCode.PERMISSION_DENIED, "x"), AccessError),
        (RpcError(grpc.StatusCode.UNIMPLEMENTED, "x"), UnsupportedError),
        (RpcError(grpc.StatusCode.INTERNAL, "x"), MilvusError),
        (RpcError(grpc.StatusCode.UNKNOWN, None), MilvusError),
        (MilvusException(grpc.StatusCode.UNAVAILABLE, "x"), UnavailableError),
        (MilvusException(grpc.StatusCode.UNIMPLEMENTED, "x"), UnsupportedError),
        (MilvusException(2, "Fail connecting to server"), UnavailableError),
        (MilvusException(1, "Cannot invoke RPC on closed channel!"), UnavailableError),
        (ConnectionConfigException(message="Illegal uri"), InvalidInputError),
        (MilvusException(1, "Retry timeout: 3s"), DeadlineError),
        (MilvusException(1400, "x"), AccessError),
        (MilvusException(1401, "x"), AccessError),
        (MilvusException(100, "can't find collection"), CollectionNotFoundError),
        (DataNotMatchException(message="x"), InvalidInputError),
        (ParamError(message="x"), InvalidInputError),
        (MilvusException(1100, "x"), MilvusError),
        (
            MilvusException(65535, "reason=query failed: query results exceed the limit size"),
            AnswerTooLargeError,
        ),
        (
            RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max"),
            MilvusError,
        ),
        (MilvusException(), MilvusError),
    ],
)
def test_foreign_errors_are_translated(error: Exception, kind: type[MilvusToolsError]) -> None:
    """Each becomes exactly one kind of ours, with a sentence; the cause is kept."""
    ours = translate(error)
    assert type(ours) is kind
    assert len(str(ours).split()) > 2


def because(error: Exception, cause: Exception) -> Exception:
    """Return an error with its cause."""
    error.__cause__ = cause
    return error


REFUSED = RpcError(grpc.StatusCode.UNAUTHENTICATED, "auth check failure for root at 127.0.0.1:1")
DENIED = "PrivilegeLoad: permission deny to reader in the `default` database"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (because(MilvusException(2, "Fail connecting"), REFUSED), AccessError, "refused the user"),
        (
            because(MilvusException(2, "Fail"), RpcError(grpc.StatusCode.PERMISSION_DENIED, "x")),
            AccessError,
            r"lacks the privilege\.",
        ),
        (
            because(MilvusException(2, "Fail"), RpcError(grpc.StatusCode.UNAVAILABLE, "x")),
            UnavailableError,
            "unavailable",
        ),
        (MilvusException(1400, "x"), AccessError, "refused the user"),
        (MilvusException(1401, DENIED), AccessError, r"lacks the privilege Load\."),
        (RpcError(grpc.StatusCode.PERMISSION_DENIED, DENIED), AccessError, r"privilege Load\."),
        (RpcError(grpc.StatusCode.PERMISSION_DENIED, "Privilege:"), AccessError, r"privilege\."),
    ],
)
def test_r20_access_that_is_refused_says_why(
    error: Exception, kind: type[MilvusToolsError], said: str
) -> None:
    """A user that is not known, a privilege by its name, and a server that isn't there differ."""
    ours = translate(error)
    assert type(ours) is kind
    assert re.search(said, str(ours))
    for secret in ("root", "reader", "127.0.0.1"):
        assert secret not in str(ours)


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (MilvusException(800, "database not found[database=typo]"), True),
        (MilvusException(6, "database 'typo' does not exist"), True),
        (MilvusException(6, "a database 'typo' does not exist"), False),
        (MilvusException(65535, "database 'typo' does not exist"), False),
    ],
)
def test_r11_a_missing_database_is_one_error(error: Exception, missing: bool) -> None:
    """However Milvus and Milvus Lite say it."""
    ours = translate(error)
    assert type(ours) is MilvusError
    assert ("database does not exist: correct db_name" in str(ours)) is missing
    assert (ours.code == 800) is missing


def test_r24_a_part_that_a_fork_cut_off_is_no_error_of_milvus() -> None:
    """It says what to do, and not where the part is."""
    cause = ImportError("cannot import name '_x' (/usr/lib/python3/site-packages/scipy/x.so)")
    ours = translate(because(MilvusException(1, f"Unexpected error, message=<{cause}>"), cause))
    assert type(ours) is UnsupportedError
    assert "fork before the first call, or spawn" in str(ours)
    assert "scipy" not in str(ours)


@pytest.mark.parametrize(
    "make",
    [
        lambda text: MilvusException(1100, text),
        lambda text: MilvusException(2, text),
        lambda text: MilvusException(grpc.StatusCode.INTERNAL, text),
        lambda text: ParamError(message=text),
        lambda text: RpcError(grpc.StatusCode.UNAVAILABLE, text),
        lambda text: RpcError(grpc.StatusCode.INTERNAL, text),
        lambda text: RpcError(grpc.StatusCode.UNAUTHENTICATED, text),
        TimeoutError,
    ],
)
def test_messages_hold_no_address_and_no_token(make: Callable[[str], Exception]) -> None:
    """A model may read them: they say neither where the store is nor how one gets in."""
    message = str(translate(make(ADDRESSES)))
    for secret in SECRETS:
        assert secret not in message


@pytest.mark.parametrize(
    "address",
    [
        *(
            "minio:9000",
            "etcd:2379",
            "localhost:80",
            "milvus-proxy.svc:19530",
            "::1",
            "[::1]:19530",
        ),
        *("ipv6:%5B::1%5D:19530", "fe80::1", "2001:db8::ff00:42:8329", "10.0.0.7", "10.0.0.7:443"),
        *(
            "s3://bucket/a?token=abc",
            "https://root:word@db.example.org/x?sig=1",
            "file:///etc/x",
        ),
        *("/root/data/milvus.db", "~/milvus.db", "../up/milvus.db", r"C:\\data\\milvus.db"),
        *("/usr/lib/python3/site-packages/scipy/x.so", "lib/scipy/x.so", r"\\\\host\\share"),
        *("root@db.example.org", "token=abc", "password: abc", "Authorization: Bearer abc"),
        *("api_key='abc'", '"secret": "abc"', "unix:/run/milvus.sock", "tcp://etcd:2379"),
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "at {}.", "({})", "endpoint={}: refused", "[{}]", '"{}"']
)
def test_r07_addresses_paths_and_secrets_are_taken_out(address: str, around: str) -> None:
    """No message of Milvus, its client or the file system tells where things are."""
    message = str(translate(MilvusException(1100, around.format(address))))
    assert address not in message
    for secret in re.findall(r"\w{2,}", address.replace("token", "").replace("password", "")):
        known = {"Authorization", "Bearer", "api_key", "secret", "unix", "tcp", "ipv6"}
        assert secret in known or secret not in message, message


@pytest.mark.parametrize(
    "text",
    ["n / 2 == 1", "n /2 == 1", "a/b", "line 1:20", "at 12:30:45", "expected ']'", "tokens: 12"],
)
def test_r07_expressions_stay_readable(text: str) -> None:
    """A division, a place in a text and a time are no paths and no addresses."""
    assert text in str(translate(MilvusException(1100, text)))


@pytest.mark.parametrize(
    "text",
    ['expected "a.b" at 12:30', "field n == 10.5 is not 1.2", "ratio 3:4 in v2.3.5", "x.y == 1"],
)
def test_messages_keep_what_is_no_address(text: str) -> None:
    """Messages of Milvus about an expression stay readable."""
    assert text in str(translate(MilvusException(1100, text)))


def test_milvus_code_is_kept() -> None:
    """The developer finds Milvus's code on the error."""
    error = translate(MilvusException(1100, "x"))
    assert isinstance(error, MilvusError)
    assert error.code == 1100
    assert MilvusError("x").code == 0


def test_ours_and_the_rest_pass_as_they_are() -> None:
    """Errors that are ours already, and those that a bug causes, are not touched."""
    for error in (ScopeError("x"), ValueError("x"), KeyError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, translated():
            raise error
        assert caught.value is error
    with translated():
        pass


def test_a_partial_write_carries_the_ids() -> None:
    """The confirmed ids are a list of its own, in order."""
    ids = ("b", "a")
    error = PartialWriteError("2 of 3.", ids)
    assert (str(error), error.written) == ("2 of 3.", ["b", "a"])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("POST http://10.0.0.5 with key sk-1"),
        TimeoutError("http://10.0.0.5"),
        ValueError(SECRETS),
        KeyError("sk-1"),
        RpcError(grpc.StatusCode.UNAVAILABLE, ADDRESSES),
    ],
)
def test_an_embedding_model_s_error_tells_nothing_but_that_it_failed(error: Exception) -> None:
    """Whatever a model raises is one error of ours, and its own is the cause."""
    with pytest.raises(EmbeddingError) as caught, embedding():
        raise error
    assert str(caught.value) == "The embedding model failed; no vector was made."
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [DimensionError("x"), KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(1)]
)
def test_what_is_no_failure_of_the_model_passes(error: BaseException) -> None:
    """Ours are right already; interrupts and cancellations are not held up."""
    with pytest.raises(type(error)) as caught, embedding():
        raise error
    assert caught.value is error
