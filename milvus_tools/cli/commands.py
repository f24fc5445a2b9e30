"""The work of each command: store in, lines or JSON out, exit code back."""

import asyncio
import dataclasses
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from langchain_core.documents import Document

from milvus_tools._io.tasks import gather_or_cancel
from milvus_tools.cli import output
from milvus_tools.cli.filters import read_filters
from milvus_tools.cli.settings import STRONG, Target
from milvus_tools.errors import InvalidInputError
from milvus_tools.ingest.files import FilesProgress, aingest_files
from milvus_tools.ingest.folders import Found, Rules, find
from milvus_tools.ingest.workers import Splitting
from milvus_tools.schema import Schema
from milvus_tools.store import MilvusStore
from milvus_tools.transport.grpc_errors import translated
from milvus_tools.transport.lite import is_lite

DONE: Final = 0
ERROR: Final = 1
BAD_FILES: Final = 3
_VERSIONS: Final = ("milvus_tools", "pymilvus", "milvus-lite", "langchain-core")
_NO_COLLECTION: Final = "The collection does not exist; load files into it: milvus-tools ingest."


class InterruptedLoadError(Exception):
    """A load was interrupted from the keyboard; the message tells what is written."""


@dataclasses.dataclass(frozen=True)
class Ingest:
    """The options of `ingest`."""

    paths: Sequence[Path]
    rules: Rules
    splitting: Splitting
    prune: bool
    dry_run: bool
    hybrid: bool
    workers: int | None
    as_json: bool


async def ingest(target: Target, job: Ingest) -> int:
    """Load files, and report what was done."""
    found = await asyncio.to_thread(find, job.paths, job.rules)
    if job.dry_run:
        return _show_found(found, as_json=job.as_json)
    began = time.monotonic()
    done = await _load(target, job, found)
    seconds = time.monotonic() - began
    if job.as_json:
        output.json_line(_as_report(done, found, seconds))
    else:
        _show_report(done, found, seconds)
    return BAD_FILES if done.bad else DONE


async def _load(target: Target, job: Ingest, found: Found) -> FilesProgress:
    last = FilesProgress()

    def note(progress: FilesProgress) -> None:
        nonlocal last
        last = progress
        show(progress)

    try:
        with output.progress_bar() as show:
            async with target.store(must_exist=False, hybrid=job.hybrid) as store:
                return await aingest_files(
                    store,
                    found,
                    job.splitting,
                    prune=job.prune,
                    workers=job.workers,
                    on_progress=note,
                )
    except asyncio.CancelledError as error:
        raise InterruptedLoadError(
            f"Interrupted. {_counted(last.written, 'passage')} were written, and stay; run the "
            "same command again to go on."
        ) from error


def _show_found(found: Found, *, as_json: bool) -> int:
    if as_json:
        files = [{"source": file.source, "bytes": file.size} for file in found.files]
        output.json_line({"files": files, "left_out": found.left_out, "bad": _bad(found.bad)})
    else:
        for file in found.files:
            output.line(file.source)
        output.note(f"{_counted(len(found.files), 'file')} would be read.{_left_out(found)}")
        _show_bad(found.bad)
    return BAD_FILES if found.bad else DONE


def _show_report(done: FilesProgress, found: Found, seconds: float) -> None:
    output.line(
        f"{_counted(done.files, 'file')}: {done.unchanged} unchanged, {done.converted} read"
        f"{f' ({done.empty} without text)' if done.empty else ''}, {len(done.bad)} bad."
        f"{_left_out(found)}"
    )
    output.line(
        f"{_counted(done.written, 'passage')} written, {done.skipped} there already"
        f"{f', {done.pruned} deleted' if done.pruned else ''}, in {seconds:.1f} s."
    )
    _show_bad(done.bad)


def _as_report(done: FilesProgress, found: Found, seconds: float) -> dict[str, Any]:
    return {
        **dataclasses.asdict(done),
        "bad": _bad(done.bad),
        "left_out": found.left_out,
        "seconds": round(seconds, 3),
    }


def _left_out(found: Found) -> str:
    many = _counted(found.left_out, "file")
    return f" Left out: {many} of kinds that can't be read." if found.left_out else ""


def _bad(bad: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"source": source, "reason": reason} for source, reason in bad]


def _show_bad(bad: Iterable[tuple[str, str]]) -> None:
    for source, reason in bad:
        output.note(f"Bad: {' '.join(source.split())}: {reason}")


async def search(
    target: Target, queries: Sequence[str], *, k: int, filters: Sequence[str], as_json: bool
) -> int:
    """Search for queries at the same time, and show what is found."""
    filter_ = read_filters(filters)
    async with target.store() as store:
        await _require_collection(store)
        # Fused ranks have a score, but not one of relevance.
        is_hybrid = len(store.vector_fields) > 1
        one = (
            store.asimilarity_search_with_score
            if is_hybrid
            else store.asimilarity_search_with_relevance_scores
        )
        found = await gather_or_cancel(
            one(query, k, filter=filter_, consistency_level=STRONG) for query in queries
        )
    answers = list(zip(queries, found, strict=True))
    if as_json:
        output.json_line(
            [
                {"query": query, "results": [output.as_result(*pair) for pair in pairs]}
                for query, pairs in answers
            ]
        )
    else:
        _show_answers(answers)
    return DONE


def _show_answers(answers: Sequence[tuple[str, Sequence[tuple[Document, float]]]]) -> None:
    for query, pairs in answers:
        if len(answers) > 1:
            output.line(f"== {' '.join(query.split())}")
        if not pairs:
            output.line("Nothing is found.")
        for number, (document, score) in enumerate(pairs, 1):
            output.result(number, document, score)


async def _require_collection(store: Any) -> Schema:
    schema: Schema | None = await store.aschema()
    if schema is None:
        raise InvalidInputError(_NO_COLLECTION)
    return schema


async def info(target: Target, *, as_json: bool) -> int:
    """Show the collections, and the one of the store in detail."""
    async with target.opened(must_exist=True) as store:
        names = await asyncio.to_thread(_collections, store)
        told: dict[str, Any] = {
            "backend": await asyncio.to_thread(_backend, target, store),
            "versions": {name: version(name) for name in _VERSIONS},
            "collections": names,
            "collection": store.collection_name,
        }
        schema = await store.aschema()
        if schema is not None:
            scope = target.scope
            scoped = store.scoped(scope) if scope else store
            told |= {
                "entities": await scoped.acount(consistency_level=STRONG),
                **_described(schema),
            }
    if as_json:
        output.json_line(told)
    else:
        _show_info(told)
    return DONE


def _collections(store: MilvusStore) -> list[str]:
    client = store.client
    with translated():
        return sorted(client.list_collections())


def _backend(target: Target, store: MilvusStore) -> str:
    if is_lite(target.environment().uri or ""):
        return "Milvus Lite"
    client = store.client
    with translated():
        return f"Milvus {client.get_server_version()}"


def _described(schema: Schema) -> dict[str, Any]:
    fields = [schema.primary, *schema.scalars.values(), *schema.vectors.values()]
    return {
        "fields": {
            field.name: field.type.name + (f"({field.dim})" if field.dim else "")
            for field in fields
        },
        "primary": schema.primary.name,
        "dynamic": schema.dynamic,
        "indexes": {
            name: f"{index.index_type} {index.metric_type}"
            for name, index in schema.indexes.items()
        },
    }


def _show_info(told: dict[str, Any]) -> None:
    output.line(f"Backend: {told['backend']}")
    output.line("Versions: " + ", ".join(f"{k} {v}" for k, v in told["versions"].items()))
    output.line("Collections: " + (", ".join(told["collections"]) or "none"))
    if "fields" not in told:
        output.line(f"{told['collection']}: does not exist yet")
        return
    output.line(f"{told['collection']}: {_counted(told['entities'], 'entity', 'entities')}")
    for name, kind in told["fields"].items():
        key = ", primary key" if name == told["primary"] else ""
        index = f", index {told['indexes'][name]}" if name in told["indexes"] else ""
        output.line(f"  {name}: {kind}{key}{index}")
    if told["dynamic"]:
        output.line("  and any other metadata")


async def delete(
    target: Target, ids: Sequence[str], filters: Sequence[str], *, yes: bool, as_json: bool
) -> int:
    """Show how many entities match, ask, and delete them."""
    if not ids and not filters:
        raise InvalidInputError("Name ids, or a filter: milvus-tools delete --filter year<2000.")
    filter_ = read_filters(filters)
    async with target.store() as store:
        await _require_collection(store)
        if ids:
            count = len(await store.aexisting_ids(list(ids), filter=filter_))
        else:
            count = await store.acount(filter=filter_, consistency_level=STRONG)
        if count and not yes and not await _confirmed(count):
            output.note("Nothing is deleted.")
            return ERROR
        result = await store.adelete(list(ids) or None, filter=filter_) if count else None
    deleted = result.count if result else 0
    if as_json:
        output.json_line({"deleted": deleted})
    else:
        output.line(f"{_counted(deleted, 'entity', 'entities')} deleted.")
    return DONE


async def _confirmed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise InvalidInputError("Deleting without a terminal needs --yes.")
    return await output.is_sure(f"Delete {_counted(count, 'entity', 'entities')}?")


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
