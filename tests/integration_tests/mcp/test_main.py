"""The command, started as a client or a person starts it."""

import importlib
import pathlib
import signal
import sys

import httpx
import pytest

import milvus_tools
from milvus_tools.mcp.__main__ import main
from tests.helpers.mcp_clients import (
    INITIALIZE,
    PlainClient,
    answer,
    call,
    end_of,
    open_session,
    request,
    send,
    started,
)

ANN = "a" * 16
USERS = f'{{"ann": {{"token": "{ANN}", "tenant": "acme"}}}}'
SEARCH = call("milvus_search", 8, query="owls")


def test_stdio_carries_the_protocol_alone_until_ctrl_c(tmp_path: pathlib.Path) -> None:
    """What is no message is passed over; Ctrl-C ends the server though a line could still come."""
    with started(str(tmp_path / "own.db")) as process:
        open_session(process)
        send(process, b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"[]\n\n", {"a": 1})
        send(process, call("milvus_search", 7, query="x" * 5_000_000), SEARCH)
        assert "at most 2000 characters" in str(answer(process, 7))
        assert "no documents that you may see" in str(answer(process, 8))
        process.send_signal(signal.SIGINT)
        status, said = end_of(process)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert status == 130
    assert "Traceback" not in said


def test_a_lost_client_ends_stdio(tmp_path: pathlib.Path) -> None:
    """An answer that no process reads is no error, though one may still hold stdin."""
    with started(str(tmp_path / "own.db")) as process:
        open_session(process)
        assert process.stdout is not None
        process.stdout.close()
        send(process, request("tools/list"))
        assert end_of(process) == (0, "")


async def test_the_command_serves_by_http_until_ctrl_c(tmp_path: pathlib.Path) -> None:
    """A user of the environment is let in by a further name, and no other."""
    arguments = ("--http", "--port", "0", "--allow-host", "docs.example")
    users = {"USERS": USERS}
    with started(str(tmp_path / "own.db"), *arguments, variables=users) as process:
        assert process.stderr is not None
        address = process.stderr.readline().decode().split()[-1]
        async with httpx.AsyncClient(timeout=60) as http:
            ann = await PlainClient(http, address, ANN).open()
            found = await ann.post(SEARCH, Host="docs.example")
            foreign = await ann.post(SEARCH, Host="evil.example")
            refused = await PlainClient(http, address, "b" * 16).post(INITIALIZE)
        process.send_signal(signal.SIGINT)
        status, said = end_of(process)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert status == 130
    assert said == "Invalid Host header: evil.example\n"
    assert "no documents that you may see" in found.text
    assert (foreign.status_code, refused.status_code) == (421, 401)


async def test_milvus_tools_serves_the_users_of_the_environment_alone(
    tmp_path: pathlib.Path,
) -> None:
    """By HTTP, `milvus-tools serve-mcp` asks for their tokens, as this command does."""
    code = "import sys; from milvus_tools.cli import main; sys.exit(main())"
    program, users = ("-c", code, "serve-mcp"), {"USERS": USERS}
    uri = str(tmp_path / "own.db")
    with started(uri, "--http", "--port", "0", variables=users, program=program) as process:
        assert process.stderr is not None
        address = process.stderr.readline().decode().split()[-1]
        async with httpx.AsyncClient(timeout=60) as http:
            ann = await PlainClient(http, address, ANN).post(INITIALIZE)
            refused = await PlainClient(http, address, "b" * 16).post(INITIALIZE)
    assert (ann.status_code, refused.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("variables", "arguments", "sentence"),
    [
        ({}, (), "Set MILVUS_TOOLS_URI to the address"),
        ({"URI": "x.db", "EMBEDDINGS": "none"}, (), "MILVUS_TOOLS_EMBEDDINGS must be"),
        ({"URI": "x.db", "ALLOW_WRITES": "maybe"}, (), "MILVUS_TOOLS_ALLOW_WRITES must be"),
        ({"URI": "x.db", "USERS": "[]"}, ("--http",), "MILVUS_TOOLS_USERS is wrong"),
        ({"URI": "x.db"}, ("--http", "--host", "0.0.0.0"), "Only loopback is served"),
        ({"URI": "x.db"}, ("--http", "--port", "99999"), "A port is a number"),
        ({"URI": "x.db"}, ("--http", "--host", "a" * 70), "Only loopback is served"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    variables: dict[str, str],
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is on stdout."""
    for name in ("URI", "EMBEDDINGS", "ALLOW_WRITES", "USERS"):
        monkeypatch.setenv(f"MILVUS_TOOLS_{name}", variables.get(name, ""))
    assert main(arguments) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith(sentence)
    assert said.count("\n") == 1


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import says how to install it."""
    for name in [one for one in sys.modules if one.startswith(("milvus_tools.mcp", "mcp"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delattr(milvus_tools, "mcp")
    with pytest.raises(ImportError) as raised:
        importlib.import_module("milvus_tools.mcp")
    assert str(raised.value) == 'milvus_tools.mcp needs an extra: pip install "milvus_tools[mcp]"'
