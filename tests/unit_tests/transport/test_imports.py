"""Only the transport talks to Milvus."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

import milvus_tools

ROOT = pathlib.Path(str(milvus_tools.__file__)).parent
MODULES = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}
FOREIGN = {"grpc", "milvus_lite", "pymilvus"}
# Values, which reach nothing: what a field's type is, what a new collection or a ranker is to be.
VALUES = {
    *("BaseRanker", "CollectionSchema", "DataType", "Function", "FunctionType", "RRFRanker"),
    "WeightedRanker",
}
CLIENTS = {"AsyncMilvusClient", "MilvusClient"}


def imported(source: str) -> Iterator[str]:
    """Yield what a module imports of pymilvus, gRPC and Milvus Lite, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in FOREIGN:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name.split(".")[0] in FOREIGN)


def is_transport(module: str) -> bool:
    """Tell whether a module is the transport's."""
    return module.startswith("transport/")


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"store/store.py"}))
def test_clients_and_grpc_are_imported_by_the_transport_alone(module: str) -> None:
    """Other modules import values at most, with which nothing can be sent."""
    assert is_transport(module) or set(imported(MODULES[module])) <= VALUES


def test_the_transport_does_import_them() -> None:
    """So the test above looks for the right names."""
    found = {
        name for module in MODULES if is_transport(module) for name in imported(MODULES[module])
    }
    assert {*CLIENTS, "MilvusException", "grpc"} <= found


def test_the_store_names_the_clients_in_two_annotations() -> None:
    """`client` and `aclient` say what they return; the transport makes it."""
    source = MODULES["store/store.py"]
    assert set(imported(source)) == CLIENTS
    uses = [
        node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and node.id in CLIENTS
    ]
    annotations = {
        node.name: ast.unparse(node.returns)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and node.name in {"client", "aclient"}
        and node.returns
    }
    assert annotations == {"client": "MilvusClient", "aclient": "AsyncMilvusClient"}
    assert sorted(uses) == sorted(annotations.values())
