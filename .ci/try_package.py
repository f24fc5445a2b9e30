"""Try an installed wheel: `python -W error try_package.py [EXTRA]`; without an extra, the core."""

import contextlib
import importlib
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

import milvus_tools

FOLDER = pathlib.Path(sys.executable).parent
ALL = ("local", "openai", "agents", "graph", "cli", "mcp")


def main(extra: str = "") -> None:
    """Try what an extra brings, and that what it does not bring is asked for."""
    assert "site-packages" in str(milvus_tools.__file__), milvus_tools.__file__
    for name in milvus_tools.__all__:
        assert getattr(milvus_tools, name) is not None, name
    found = {"": [], "all": ALL, "graph": ("agents", "local", "graph"), "cli": ("local", "cli")}
    brought = found.get(extra, (extra,))
    add_and_search(DeterministicFakeEmbedding(size=8))
    for one, attempt in TRIED.items():
        if one in brought:
            attempt()
    if extra in ALONE:
        ALONE[extra]()
    if "local" not in brought:
        require_hint(milvus_tools.local_embeddings, "milvus_tools[local]")
    if "mcp" not in brought:
        require_hint(lambda: importlib.import_module("milvus_tools.mcp"), "milvus_tools[mcp]")
    if "cli" not in brought:
        done = command("--help")
        assert done.returncode == 1, done.stdout
        assert 'pip install "milvus_tools[cli]"' in done.stderr, done.stderr


def add_and_search(embeddings: Embeddings) -> None:
    """Write a Document to Milvus Lite, and find it."""
    with tempfile.TemporaryDirectory() as folder:
        uri = str(pathlib.Path(folder, "docs.db"))
        with contextlib.closing(
            milvus_tools.MilvusStore(embeddings, connection_args={"uri": uri})
        ) as store:
            store.add_texts(["Owls hunt at night."], [{"year": 2003}], ids=["owl"])
            late = {"field": "year", "operator": "gt", "value": 2000}
            found = store.similarity_search("owls", k=1, filter=late)
            assert [one.id for one in found] == ["owl"], found
            tools = milvus_tools.MilvusToolkit(store).get_tools()
            assert "Owls hunt" in tools[0].invoke({"query": "owls"}), tools


def require_hint(attempt: Callable[[], object], hint: str) -> None:
    """Demand that a missing extra is named."""
    try:
        attempt()
    except ImportError as error:
        assert hint in str(error), error
        return
    raise AssertionError(f"{hint} was not asked for.")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `milvus-tools`."""
    return subprocess.run(  # noqa: S603 - of this environment
        [FOLDER / "milvus-tools", *arguments], capture_output=True, text=True, check=False
    )


def try_local() -> None:
    """The model is in the wheel."""
    add_and_search(milvus_tools.local_embeddings())


def try_openai() -> None:
    """LangChain's model of OpenAI can be batched; nothing is sent."""
    models = importlib.import_module("langchain_openai")
    milvus_tools.BatchingEmbeddings(models.OpenAIEmbeddings(api_key="none"))


def try_agents() -> None:
    """A toolkit's tools take their scope from a run, and an agent takes the tools."""
    agents = importlib.import_module("langchain.agents")
    fakes = importlib.import_module("langchain_core.language_models.fake_chat_models")
    store = milvus_tools.MilvusStore(
        DeterministicFakeEmbedding(size=8), connection_args={"uri": "none.db"}
    )
    toolkit = milvus_tools.MilvusToolkit(store, filter_fields={}, scope_from={"tenant": "tenant"})
    assert agents.create_agent(fakes.FakeListChatModel(responses=[]), toolkit.get_tools())


def try_graph() -> None:
    """What the clone's graphs import is there."""
    for name in ("langgraph.graph", "langchain.agents", "rich.console"):
        importlib.import_module(name)


def try_cli() -> None:
    """The command helps."""
    assert "ingest" in command("--help").stdout


def ingest_and_search() -> None:
    """The command reads a folder, and finds what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "owls.md").write_text("# Owls\n\nThey hunt at night.\n")
        uri = ("--uri", str(pathlib.Path(folder, "docs.db")))
        written = command("ingest", folder, *uri)
        assert written.returncode == 0, written.stderr
        found = command("search", "owls", *uri)
        assert "They hunt at night." in found.stdout, found.stderr


def try_mcp() -> None:
    """The server is made."""
    assert importlib.import_module("milvus_tools.mcp").build_server


def serve_stdio() -> None:
    """The server starts, and ends when its client does."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - of this environment
            [sys.executable, "-W", "error", "-c", SERVED, f"{folder}/docs.db"],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


SERVED = """
import sys
from langchain_core.embeddings import DeterministicFakeEmbedding
from milvus_tools import MilvusStore
from milvus_tools.mcp import serve
serve(MilvusStore(DeterministicFakeEmbedding(size=8), connection_args={"uri": sys.argv[1]}))
"""
TRIED = {name: globals()[f"try_{name}"] for name in ALL}
ALONE = {"cli": ingest_and_search, "mcp": serve_stdio}  # which take longer


if __name__ == "__main__":
    main(*sys.argv[1:])
