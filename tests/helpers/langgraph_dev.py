"""`langgraph dev`, really started: a process with the app, and a graph that blocks on purpose."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from milvus_tools.environment import PREFIX

Connect = Callable[..., LangGraphClient]

ROOT = pathlib.Path(__file__).parents[2]
START_SECONDS = 120
STOP_SECONDS = 60
_BLOCKING = """
import time
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict):
    done: bool

async def block(state: State) -> State:
    time.sleep(0.01)
    return {"done": True}

graph = StateGraph(State).add_node(block).set_entry_point("block").compile()
"""
_BOUNDED = """
from graphs.rag import Context, build_graph
from graphs.rag.wikipedia import wikipedia_store

graph = build_graph(Context(store=wikipedia_store, k=3, max_rounds=1))
"""


def _outside() -> dict[str, str]:
    """Return the tests' own environment, without the deployment that it may name."""
    return {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}


class DevServer:
    """The server's process, in a folder of its own that the repository is linked into.

    Args:
        folder: The folder, empty.
        config: What stands in `langgraph.json`; by default what stands in ours, with two graphs
            of the tests'.
    """

    def __init__(self, folder: pathlib.Path, config: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self._config = config
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The server's output so far."""
        text = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    @contextlib.contextmanager
    def running(self, **environment: str) -> Iterator["DevServer"]:
        """Serve meanwhile, without telemetry."""
        self._lay_out()
        with (self.folder / "log").open("w") as log, self._started(log, environment) as process:
            try:
                self._wait(process)
                yield self
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    @contextlib.asynccontextmanager
    async def connecting(self) -> AsyncIterator[Connect]:
        """Make clients that send headers; close them in the end."""
        async with contextlib.AsyncExitStack() as clients:

            def connected(**headers: str) -> LangGraphClient:
                client = get_client(url=self.url, headers=headers)
                clients.push_async_exit(client)
                return client

            yield connected

    def _lay_out(self) -> None:
        for name in ("graphs", "examples", "tests"):
            (self.folder / name).symlink_to(ROOT / name)
        config = self._config or self._with_more_graphs()
        (self.folder / "langgraph.json").write_text(json.dumps(config))

    def _with_more_graphs(self) -> Mapping[str, Any]:
        config: dict[str, Any] = json.loads((ROOT / "langgraph.json").read_text())
        for name, text in {"blocking": _BLOCKING, "bounded": _BOUNDED}.items():
            config["graphs"][name] = f"./{name}.py:graph"
            (self.folder / f"{name}.py").write_text(text)
        return config

    def _started(self, log: object, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGSMITH_TRACING": "false"}
        place = {"TMPDIR": str(self.folder)}
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
        return subprocess.Popen(
            [*command, "--port", str(self.port), "--n-jobs-per-worker", "4"],
            cwd=self.folder,
            env={**_outside(), **quiet, **place, **environment},
            stdout=log,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"langgraph dev did not start:\n{self.log[-5_000:]}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ok", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
