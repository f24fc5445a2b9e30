"""Measure milvus_tools beside langchain-milvus, in turns, on Milvus Lite or on a server.

Needs `pip install -e ".[graph]" --group benchmark`, and neither a key nor a network: the embedding
service is a process on this machine. `--backend server` takes the server at `--uri`, or starts one
if the package `milvus` is installed.

    python examples/benchmark.py --list
    python examples/benchmark.py searches loading --backend lite
    python examples/benchmark.py --backend both --out examples/results
    python examples/benchmark.py scale --backend server
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import logging
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Iterator

from benchmarking.bench import Bench
from benchmarking.chart import draw
from benchmarking.comparing import Case
from benchmarking.report import Results, report
from benchmarking.scenarios import BY_DEFAULT, SCENARIOS, TITLES, cases_of
from pymilvus import MilvusClient

from tests.helpers.milvus_server import MilvusServer, is_installed
from tests.helpers.openai_process import OpenAIProcess

DIM = 384
PACKAGES = (
    *("milvus_tools", "langchain-milvus", "pymilvus", "milvus-lite", "langchain-core"),
    *("langchain-openai", "langchain-classic", "openai", "grpcio", "numpy"),
)


def main() -> None:
    """Do as the command line says."""
    arguments = parsed()
    if arguments.list:
        for name, title in TITLES.items():
            print(f"{name:10} {title}")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    backends = ["lite", "server"] if arguments.backend == "both" else [arguments.backend]
    results = [measure(backend, arguments) for backend in backends]
    text = report(results, TITLES)
    (arguments.out / "benchmark.md").write_text(text, encoding="utf-8")
    draw(results, arguments.out / "benchmark.png")
    print(text)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = "which; all but scale by default"
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", default=BY_DEFAULT, help=which)
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--backend", choices=["lite", "server", "both"], default="lite")
    parser.add_argument("--uri", default=os.environ.get("MILVUS_URI"), help="of the server")
    parser.add_argument("--fast", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeat", type=int, default=5, help="how many turns count")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(), help="folder to write")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.scenarios) - SCENARIOS.keys())
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}; --list lists them")
    if arguments.repeat < 1:
        parser.error("--repeat must be 1 or more")
    return arguments


def measure(backend: str, arguments: argparse.Namespace) -> Results:
    """Run scenarios on a backend."""
    logging.disable()  # what fails stands in the report
    with (
        tempfile.TemporaryDirectory() as folder,
        server_of(backend, arguments.uri, pathlib.Path(folder)) as server,
        OpenAIProcess(DIM) as service,
    ):
        repeat = 1 if arguments.fast else arguments.repeat
        bench = Bench(service, pathlib.Path(folder), server, repeat, arguments.fast)
        cases = asyncio.run(run(arguments.scenarios, bench))
        return Results("server" if server else "Lite", about(bench), cases)


@contextlib.contextmanager
def server_of(backend: str, uri: str | None, folder: pathlib.Path) -> Iterator[str | None]:
    """Yield the server's address, or `None` for Milvus Lite."""
    if backend == "lite":
        yield None
    elif uri:
        yield uri
    elif is_installed():
        with MilvusServer(folder / "server").running() as server:
            yield server.uri
    else:
        sys.exit("Name a server with --uri, or install one: pip install 'milvus==2.3.5'.")


async def run(names: list[str], bench: Bench) -> list[Case]:
    """Run scenarios, and report progress on standard error."""
    cases = []
    for name in names:
        async for case in cases_of(name, bench):
            print(f"{name}: {case.name}", file=sys.stderr, flush=True)
            cases.append(case)
    return cases


def about(bench: Bench) -> dict[str, str]:
    """Describe what was measured on."""
    versions = (f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    return {
        "Milvus": f"server {server_version(bench.server)}" if bench.server else "Lite",
        "packages": ", ".join(versions),
        "Python": f"{platform.python_version()}, {platform.system()}",
        "cores": str(os.cpu_count()),
        "turns": "1, small" if bench.fast else str(bench.repeat),
    }


def server_version(uri: str) -> str:
    """Ask a server for its version."""
    with contextlib.closing(MilvusClient(uri, dedicated=True)) as client:
        return str(client.get_server_version())


if __name__ == "__main__":
    main()
