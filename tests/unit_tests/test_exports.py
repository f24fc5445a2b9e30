"""The exports of the package, and the imports of its modules."""

import ast
import graphlib
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

import milvus_tools

ROOT = pathlib.Path(str(milvus_tools.__file__)).parent
# A module imports only from a lower level.
LEVELS = [
    {"errors", "batching", "_text", "english"},
    {"_io"},
    {"ranking", "links", "schema"},
    {"filters", "embeddings", "spec"},
    {"transport"},
    {"store"},
    {"retrievers", "ingest", "environment", "users"},
    {"tools"},
    {"toolkit"},
    {"cli", "mcp"},
]
# Those that are made of several modules.
PACKAGES = {"_io", "batching", "cli", "filters", "embeddings", "ingest", "retrievers", "store"}
PACKAGES |= {"mcp", "tools", "transport"}
PUBLIC_PACKAGES = {"embeddings", "filters", "ingest", "mcp", "retrievers", "store", "tools"}
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
EXTRAS = {
    *("langchain", "langgraph", "langchain_openai", "openai", "wordllama", "typer", "rich"),
    *("mcp", "starlette", "uvicorn", "langchain_classic", "langchain_community", "anthropic"),
    *("bs4", "langchain_text_splitters", "lxml", "mammoth", "openpyxl", "pptx", "pypdfium2"),
}
HEAVY = {"milvus_lite", "torch", "transformers"}
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
}


def imports_of(name: str) -> Iterator[str]:
    """Yield the names of ours that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def ours(name: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    found = {one for one in imports_of(name) if one.split(".")[0] == "milvus_tools"}
    return {one if one in MODULES else f"{one}.__init__" for one in found}


def top(name: str) -> str:
    """Return the name that stands in the table of levels."""
    return name.split(".")[1]


def place(name: str) -> tuple[bool, str]:
    """Return a name's place in `__all__`: constants come first."""
    return (not name.isupper(), name)


def public_names(module: object) -> set[str]:
    """Return the public names of a module that are no modules."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }


@pytest.mark.parametrize(
    "name", ["milvus_tools", *(f"milvus_tools.{one}" for one in sorted(PUBLIC_PACKAGES))]
)
def test_all_is_sorted_and_whole(name: str) -> None:
    """`__all__` names what is public, each once, in order."""
    module = importlib.import_module(name)
    assert sorted(set(module.__all__), key=place) == module.__all__
    assert set(module.__all__) == public_names(module)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_lower_levels(name: str) -> None:
    """Every module has a level, and imports only from below it."""
    if name == "milvus_tools.__init__":
        assert {top(one) for one in ours(name)} <= LEVEL.keys()
        return
    for one in ours(name):
        inside = top(one) == top(name) in PACKAGES
        assert inside or LEVEL[top(one)] < LEVEL[top(name)], f"{name} imports {one}"


def test_no_modules_import_each_other() -> None:
    """There is an order in which all modules can be read, inside the store too."""
    graph = {name: ours(name) for name in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == MODULES.keys()
    assert not any("milvus_tools.__init__" in imported for imported in graph.values())
    assert {one.name for one in pkgutil.walk_packages([str(ROOT)], "milvus_tools.")} == {
        name.removesuffix(".__init__") for name in MODULES if name != "milvus_tools.__init__"
    }


@pytest.mark.parametrize("name", ["milvus_tools", "milvus_tools.environment"])
def test_the_import_needs_no_extra(name: str) -> None:
    """It imports neither LangChain's agents, a model provider, nor Lite."""
    code = f"import sys, {name}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert run.stderr == ""
    imported = set(run.stdout.split())
    assert "milvus_tools" in imported
    assert not imported & EXTRAS
    assert not imported & HEAVY


def test_the_package_is_typed() -> None:
    """The wheel tells type checkers so."""
    assert (ROOT / "py.typed").is_file()
