"""A Milvus server of the benchmark's own, from the package `milvus` on PyPI (Linux)."""

import contextlib
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from pymilvus import MilvusClient, MilvusException

_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 60
_PARTS: Final = (
    *("etcd", "root-coord", "proxy-internal", "query-coord", "query-node"),
    *("index-coord", "index-node", "data-coord", "data-node"),
)


def is_installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("milvus") is not None


@contextlib.contextmanager
def running_server(folder: pathlib.Path) -> Iterator[str]:
    """Start a server with its data in a folder, and stop it afterwards.

    Yields:
        Its address.
    """
    first, *others = _free_ports(len(_PARTS) + 1)
    command = [sys.executable, "-c", "from milvus import main; main()", "--data", str(folder)]
    command += ["--proxy-port", str(first)]
    for part, port in zip(_PARTS, others, strict=True):
        command += [f"--{part}-port", str(port)]
    process = subprocess.Popen(  # noqa: S603 - it is the package's launcher
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        uri = f"http://127.0.0.1:{first}"
        _await_answer(process, uri)
        yield uri
    finally:
        _stop(process)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _await_answer(process: subprocess.Popen[bytes], uri: str) -> None:
    for _ in range(_START_SECONDS):
        if process.poll() is not None:
            raise RuntimeError("The Milvus server ended as soon as it was started.")
        if _answers(uri):
            return
        time.sleep(1)
    raise TimeoutError(f"The Milvus server did not answer within {_START_SECONDS} s.")


def _answers(uri: str) -> bool:
    try:
        with contextlib.closing(MilvusClient(uri, timeout=5, dedicated=True)) as client:
            client.list_collections(timeout=5)
    except MilvusException:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server, which is the launcher's child: the launcher ends when the server does."""
    if process.poll() is None:
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in map(int, children.split()):
            os.kill(child, signal.SIGTERM)
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_STOP_SECONDS)
