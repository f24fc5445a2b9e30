"""A starter of Milvus servers, from the package `milvus` on PyPI (Linux)."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from pymilvus import MilvusClient, MilvusException

ROOT: Final = "root:Milvus"  # who may do everything on a new server
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 60
_DONE: Final = "All cleanup done"  # which a server writes at its end
_KILL_SECONDS: Final = 5
# The package's launcher, made to take ports that a server had a minute ago.
_LAUNCHER: Final = """
import socket, sys
from milvus import main

bind = socket.socket.bind

def bind_again(self, address):
    self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return bind(self, address)

socket.socket.bind = bind_again
sys.exit(main())
"""
# Its etcd takes a second port from this file alone, whose place it reads from the environment.
_ETCD: Final = """
name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""
# Milvus reads its settings from the environment, too; these are milliseconds, but the last one.
_QUICK: Final = {
    "QUERYCOORD_CHECKCHANNELINTERVAL": "100",
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "100",
    "QUERYCOORD_DISTPULLINTERVAL": "100",
    "PROXY_TIMETICKINTERVAL": "100",
    "COMMON_GRACEFULSTOPTIMEOUT": "3",
}
_PORTS: Final = (
    *("proxy", "etcd", "root-coord", "proxy-internal", "query-coord", "query-node"),
    *("index-coord", "index-node", "data-coord", "data-node"),
)


def is_installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("milvus") is not None


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclasses.dataclass
class MilvusServer:
    """A Milvus server, with a folder and ports of its own: several can run at once.

    Attributes:
        folder: Where its data and its output go.
        ports: Its ports, the one of its address first.
        asks_users: Whether it asks each user for a password; else it takes anyone.
        quick: Whether it looks more often than by default for what is to do: it loads and reads
            sooner, and stops soon.
        process: The launcher, while it runs.
    """

    folder: pathlib.Path
    ports: list[int] = dataclasses.field(default_factory=lambda: free_ports(len(_PORTS) + 1))
    asks_users: bool = False
    quick: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def was_started(self) -> bool:
        """Whether some process has started it."""
        return self._log.exists()

    @property
    def _log(self) -> pathlib.Path:
        return self.folder / "output.log"

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            RuntimeError: If it ended; with what it printed.
            TimeoutError: If it did not answer.
        """
        command = [sys.executable, "-c", _LAUNCHER, "--data", str(self.folder)]
        if self.asks_users:
            command += ["--authorization-enabled", "true"]  # any value means that it is
        *ports, peer = self.ports
        for name, port in zip(_PORTS, ports, strict=True):
            command += [f"--{name}-port", str(port)]
        self.folder.mkdir(parents=True, exist_ok=True)
        etcd = self.folder / "etcd.yaml"
        etcd.write_text(_ETCD.format(client=ports[_PORTS.index("etcd")], peer=peer))
        settings = _QUICK if self.quick else {}
        environment = {**os.environ, **settings, "ETCD_CONFIG_PATH": str(etcd)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self._await_answer(self.process)

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(_START_SECONDS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                raise RuntimeError(self._log.read_text())
            if self._answers():
                return
        self.stop()
        raise TimeoutError(f"The Milvus server did not answer within {_START_SECONDS} s.")

    def _answers(self) -> bool:
        try:
            client = MilvusClient(self.uri, token=ROOT, timeout=5, dedicated=True)
        except MilvusException:
            return False
        with contextlib.closing(client):
            try:
                client.list_collections(timeout=5)
            except MilvusException:
                return False
        return True

    def stop(self, seconds: int = _STOP_SECONDS) -> None:
        """Stop it; one that is to start again in its folder needs time to end well.

        The process is a launcher: SIGTERM would end it and leave the server. It ends when the
        server ends, and at SIGINT it kills the server.
        """
        if self.process is None:
            return
        pid = self.process.pid
        if self.process.poll() is None:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            for child in map(int, children.split()):
                os.kill(child, signal.SIGTERM)
        self._await_end(self.process, seconds)
        self.process = None

    def _await_end(self, process: subprocess.Popen[bytes], seconds: int) -> None:
        """Return when it has ended: 2.3.5 says that it is done, and seldom ends then."""
        output = self.folder / "logs" / "milvus-stdout.log"
        for _ in range(seconds):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                return
            if output.exists() and _DONE in output.read_text():
                break
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_STOP_SECONDS)

    def clear(self) -> None:
        """Stop it, and leave nothing of it behind."""
        self.stop(_KILL_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def running(self) -> Iterator["MilvusServer"]:
        """Start it, and clear it away in the end."""
        self.start()
        try:
            yield self
        finally:
            self.clear()
