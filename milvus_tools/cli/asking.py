"""`milvus-tools ask` and `serve-mcp`: commands that need more than the package's core."""

import importlib
from collections.abc import Mapping
from typing import Any

from milvus_tools.cli import output
from milvus_tools.cli.settings import Target
from milvus_tools.errors import InvalidInputError, UnsupportedError
from milvus_tools.users import read_tokens

_NO_GRAPHS = (
    "The graphs are in the repository, not in the package: clone it, and run "
    'pip install -e ".[graph,cli]" there.'
)
_NO_MCP = 'Serving over MCP needs an extra: pip install "milvus_tools[mcp]"'


async def ask(target: Target, question: str, *, as_json: bool) -> int:
    """Answer a question from the collection."""
    rag = _imported("graphs.rag.graph", _NO_GRAPHS)
    context = _imported("graphs.rag.context", _NO_GRAPHS).Context
    async with target.store() as store:
        answer: Mapping[str, Any] = await rag.build_graph().ainvoke(
            {"question": question},
            context=context(store=store, model=target.environment().model),
        )
    if as_json:
        cited = [{"id": one.id, "metadata": one.metadata} for one in answer["documents"]]
        told = {name: answer[name] for name in ("answer", "answered_by", "notes")}
        output.json_line({**told, "documents": cited})
        return 0
    for line in str(answer["answer"]).splitlines():
        output.line(line)
    for number, document in enumerate(answer["documents"], 1):
        output.line(f"[{number}] {document.metadata.get('source', document.id)}")
    return 0


def serve_mcp(target: Target, *, http: bool, port: int) -> int:
    """Serve the collection's tools over MCP, until the client or a signal ends it."""
    served = _imported("milvus_tools.mcp", _NO_MCP)
    environment = target.environment()
    store = environment.store()
    served.serve(
        store.scoped(target.scope) if target.scope else store,
        http=http,
        port=port,
        tokens=_tokens() if http else None,
        allow_writes=environment.allow_writes,
        allow_dynamic=True,
    )
    return 0


def _tokens() -> dict[str, dict[str, str]] | None:
    try:
        return read_tokens()
    except ValueError as error:
        raise InvalidInputError(str(error)) from None


def _imported(name: str, missing: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnsupportedError(missing) from error
