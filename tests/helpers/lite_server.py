"""A starter of Milvus Lite served over TCP, which the store takes for a server."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from pymilvus import MilvusClient, MilvusException

from tests.helpers.milvus_server import free_ports
from tests.helpers.support import quiet

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 10


@contextlib.contextmanager
def lite_over_tcp(folder: pathlib.Path) -> Iterator[str]:
    """Serve Milvus Lite on a port of its own, and yield its address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        uri = f"http://127.0.0.1:{port}"
        _await_answer(process, uri, folder)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)


def _await_answer(process: subprocess.Popen[bytes], uri: str, folder: pathlib.Path) -> None:
    for _ in range(_START_SECONDS):
        with contextlib.suppress(MilvusException):
            client = MilvusClient(timeout=1, dedicated=True, **quiet(uri))
            client.close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
            raise RuntimeError((folder / "output.log").read_text())
    raise TimeoutError(f"Milvus Lite did not answer within {_START_SECONDS} s.")
