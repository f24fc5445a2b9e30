"""The embedding service, as a process beside this one: its work is not on our account."""

import contextlib
import dataclasses
import http.client
import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from benchmarking.service_process import Counters, Settings

_SCRIPT = pathlib.Path(__file__).with_name("service_process.py")
_numbers = itertools.count(1)
# A client closes its connections when it is collected; with Python 3.11 the event loop then loses
# new ones that got the same numbers from the operating system, and their callers wait for ever.
_kept: list[OpenAIEmbeddings] = []


@dataclasses.dataclass(frozen=True)
class EmbeddingService:
    """A running service.

    Attributes:
        port: Where it listens, on loopback.
    """

    port: int

    def behave(self, **settings: Any) -> None:
        """Say how slow it is from now on, as `Settings` has it, and count from 0."""
        self._ask("PUT", "/settings", dataclasses.asdict(Settings(**settings)))

    @property
    def counters(self) -> Counters:
        """What was asked for since it was last told how to behave."""
        return Counters(**self._ask("GET", "/counters", {}))

    def model(self) -> OpenAIEmbeddings:
        """Return a new model that uses the service.

        LangChain keeps one HTTP client per address, bound to the event loop that first used it,
        so each model has an address of its own.
        """
        model = OpenAIEmbeddings(
            model="benchmark",
            base_url=f"http://127.0.0.1:{self.port}/{next(_numbers)}/v1",
            api_key=SecretStr("any"),
            check_embedding_ctx_length=False,
        )
        _kept.append(model)
        return model

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, path, json.dumps(body))
            return json.loads(connection.getresponse().read())


@contextlib.contextmanager
def running_service() -> Iterator[EmbeddingService]:
    """Start a service, and stop it afterwards."""
    command = [sys.executable, str(_SCRIPT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603
        # Leaving closes its standard input, at which it ends.
        assert process.stdout is not None  # noqa: S101 - it was asked for
        yield EmbeddingService(int(process.stdout.readline()))
