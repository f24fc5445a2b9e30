"""The scripted OpenAI service in a process of its own, so that it takes no time from its caller.

Each line of the process's standard input is a JSON object of attributes to set; the process
answers with the number of requests for embeddings so far, and ends when its standard input does.
"""

import json
import pathlib
import subprocess
import sys
from typing import Any, Self

from tests.helpers.openai_service import EMBEDDINGS, OpenAIService

_ROOT = pathlib.Path(__file__).parents[2]
_DEFAULTS: dict[str, Any] = {
    "latency": 0.0,
    "latency_per_text": 0.0,
    "max_concurrent": None,
    "refuse_when_full": False,
    "retry_after": 0.01,
    "forbidden": None,
}


class OpenAIProcess:
    """Starts the service, and stops it at the end of a `with` block.

    Args:
        dim: The dimension of its embeddings.
    """

    def __init__(self, dim: int) -> None:
        command = [sys.executable, "-m", __name__, str(dim)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, text=True)
        self.base_url = self._read()

    def configure(self, **settings: Any) -> None:
        """Set `latency` and the like, as `OpenAIService` takes them; others get their defaults."""
        self._ask(_DEFAULTS | settings)

    @property
    def embedding_requests(self) -> int:
        """How many requests for embeddings came so far."""
        return int(self._ask({}))

    def _ask(self, settings: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        """Let it serve."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its standard input, at which it ends."""
        with self._process:
            pass


def main() -> None:
    """Serve until standard input ends."""
    with OpenAIService(dim=int(sys.argv[1])) as service:
        print(service.base_url, flush=True)
        for line in sys.stdin:
            vars(service).update(json.loads(line))
            service.embedding_inputs.clear()
            print(service.requests[EMBEDDINGS], flush=True)


if __name__ == "__main__":
    main()
