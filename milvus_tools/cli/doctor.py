"""`milvus-tools doctor`: what works, what does not, and what to do about it."""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version
from typing import Final

from milvus_tools.cli import output
from milvus_tools.cli.advice import advice
from milvus_tools.cli.settings import STRONG, Target
from milvus_tools.environment import Environment
from milvus_tools.errors import MilvusToolsError
from milvus_tools.transport.lite import is_lite

_EXTRAS: Final[Mapping[str, str]] = {
    "local": "wordllama",
    "openai": "langchain_openai",
    "agents": "langgraph",
    "mcp": "mcp",
}
_PACKAGES: Final = ("milvus_tools", "pymilvus", "milvus-lite", "langchain-milvus")
# gRPC reads them, in these letters.
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        check: What was checked.
        ok: Whether it is as it should be.
        found: What was found, in a sentence.
        advice: What to do about it, or `""`.
    """

    check: str
    ok: bool
    found: str
    advice: str = ""


async def doctor(target: Target, *, as_json: bool) -> int:
    """Check everything, and return 1 if something must be done."""
    findings = [_versions(), _extras(), *_proxies(target.environment())]
    findings += [finding async for finding in _store(target)]
    if as_json:
        output.json_line([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            output.line(f"{'ok ' if finding.ok else 'BAD'} {finding.check}: {finding.found}")
            if finding.advice:
                output.line(f"    {finding.advice}")
    return int(not all(finding.ok for finding in findings))


def _versions() -> Finding:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return Finding("versions", ok=True, found=f"Python {sys.version.split()[0]}, {packages}.")


def _extras() -> Finding:
    there = [name for name, module in _EXTRAS.items() if importlib.util.find_spec(module)]
    return Finding("extras", ok=True, found=f"{', '.join(['cli', *there])} are installed.")


def _proxies(environment: Environment) -> Iterator[Finding]:
    named = [name for name in _PROXIES if os.environ.get(name)]
    if not named or environment.uri is None or is_lite(environment.uri):
        return
    excepted = any(os.environ.get(name) for name in _EXCEPTIONS)
    step = "" if excepted else "If the server is in your own network, name it in no_proxy."
    yield Finding("proxy", ok=True, found=f"{', '.join(named)} may be used.", advice=step)


async def _store(target: Target) -> AsyncIterator[Finding]:
    try:
        async with target.store(must_exist=False) as store:
            yield Finding("connection", ok=True, found="The store opens, and the token is taken.")
            schema = await store.aschema()
            if schema is None:
                found = "It does not exist yet; milvus-tools ingest makes it."
                yield Finding("collection", ok=True, found=found)
                return
            # Opening compared the dimensions.
            count = await store.acount(consistency_level=STRONG)
            found = f"It has {count} entities, and the embedding model fits it."
            yield Finding("collection", ok=True, found=found)
    except (MilvusToolsError, ImportError) as error:
        yield Finding("connection", ok=False, found=str(error), advice=advice(error))
