"""Measures how hard the code is to follow: `python tests/measure_house.py`.

Prints the Python frames of warm calls before their request leaves, the awaits on that way, and
the size of the library. Nothing here is a test: the numbers are for people who change the code.
"""

import ast
import asyncio
import dataclasses
import dis
import io
import pathlib
import statistics
import sys
import tempfile
import tokenize
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding

import milvus_tools
from milvus_tools import MilvusMultiQueryRetriever, MilvusStore, MilvusToolkit
from milvus_tools._io.loop import portal

PACKAGE = pathlib.Path(milvus_tools.__file__).parent
ROOT = PACKAGE.parent
DIMENSION = 8
_RESUME = dis.opmap["RESUME"]


@dataclasses.dataclass
class Frames:
    """The frames of ours that a call enters before pymilvus's client is called."""

    functions: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    coroutines: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    done: bool = False

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Count a frame; what a coroutine does when it goes on is the same frame."""
        if event != "call" or self.done:
            return
        code = frame.f_code
        if code.co_name in {"search", "hybrid_search", "query"} and "pymilvus" in code.co_filename:
            self.done = True
            return
        path = pathlib.Path(code.co_filename)
        if PACKAGE not in path.parents or not _begins(frame):
            return
        place = (str(path.relative_to(PACKAGE)), code.co_qualname)
        self.functions.append(place)
        if code.co_flags & 0x80:  # CO_COROUTINE
            self.coroutines.append(place)


def _begins(frame: FrameType) -> bool:
    """Tell whether a call begins, in a function or a coroutine, rather than goes on."""
    code = frame.f_code.co_code
    return code[frame.f_lasti] == _RESUME and code[frame.f_lasti + 1] == 0


async def frames_of(call: Callable[[], Awaitable[object]]) -> Frames:
    """Watch one call on the caller's thread and on the I/O loop's."""
    await call()  # warm
    frames = Frames()
    await portal().run(_watch(frames))
    sys.setprofile(frames.note)
    try:
        await call()
    finally:
        sys.setprofile(None)
        await portal().run(_watch(None))
    return frames


async def _watch(frames: Frames | None) -> None:
    sys.setprofile(None if frames is None else frames.note)


async def calls() -> Iterator[tuple[str, Frames]]:
    """Return what is measured, each with its frames."""
    with tempfile.TemporaryDirectory() as folder:
        model = DeterministicFakeEmbedding(size=DIMENSION)
        uri = str(pathlib.Path(folder) / "house.db")
        async with MilvusStore(model, connection_args={"uri": uri}) as store:
            await store.aadd_texts(["a kite", "an owl"])
            search, *_ = await MilvusToolkit(store).aget_tools()
            retriever = MilvusMultiQueryRetriever(store, queries=["owl"])
            measured: dict[str, Callable[[], Awaitable[Any]]] = {
                "asimilarity_search": lambda: store.asimilarity_search("kite"),
                "milvus_search": lambda: search.ainvoke({"query": "kite"}),
                "retriever, two queries": lambda: retriever.ainvoke("kite"),
            }
            return iter([(name, await frames_of(one)) for name, one in measured.items()])


def modules() -> list[pathlib.Path]:
    """Return the modules of the library and the graphs."""
    return sorted(
        path for name in ("milvus_tools", "graphs") for path in (ROOT / name).rglob("*.py")
    )


def comments(source: str) -> int:
    """Count the comments that are for people."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(
        one.type == tokenize.COMMENT and "noqa" not in one.string and "type:" not in one.string
        for one in tokens
    )


def imports(source: str) -> int:
    """Count the modules that a module imports."""
    nodes = ast.walk(ast.parse(source))
    return sum(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)


def main() -> None:
    """Print the table."""
    for name, frames in asyncio.run(calls()):
        files = len({path for path, _ in frames.functions})
        awaits = len(frames.coroutines)
        awaited = len({path for path, _ in frames.coroutines})
        print(
            f"{name}: {len(frames.functions)} frames in {files} files; "
            f"{awaits} awaits in {awaited}"
        )
    sources = {path: path.read_text() for path in modules()}
    lines = sum(len(source.splitlines()) for source in sources.values())
    numbers = sorted(imports(source) for source in sources.values())
    print(f"{lines} lines in {len(sources)} files")
    print(f"imports of a module, p90: {statistics.quantiles(numbers, n=10)[-1]:.0f}")
    print(f"comments per 100 lines: {100 * sum(map(comments, sources.values())) / lines:.1f}")


if __name__ == "__main__":
    main()
