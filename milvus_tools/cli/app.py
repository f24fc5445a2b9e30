"""The commands and their options."""

import asyncio
import functools
import inspect
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer import Argument, Option

from milvus_tools.cli import asking, commands, output
from milvus_tools.cli import doctor as checking
from milvus_tools.cli.advice import advice
from milvus_tools.cli.settings import Target
from milvus_tools.errors import MilvusToolsError
from milvus_tools.ingest.folders import Rules
from milvus_tools.ingest.workers import Splitting

USAGE: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT
MAX_PASSAGE: Final = 16_000  # characters: Milvus's limit is 65 535 bytes

app = typer.Typer(
    name="milvus-tools",
    help="Load files into a Milvus collection, and search them. Exit codes: 0 done, 1 an error, "
    "2 wrong usage, 3 done, but some files could not be read, 130 interrupted. A server's token "
    "(user:password, or an API key) is read from MILVUS_TOOLS_TOKEN alone.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Uri = Annotated[
    str | None,
    Option(
        metavar="URI",
        help="A server's address, or a path in .db for Milvus Lite; else MILVUS_TOOLS_URI.",
    ),
]
Db = Annotated[str | None, Option(metavar="NAME", help="The database; else MILVUS_TOOLS_DB_NAME.")]
Collection = Annotated[
    str | None,
    Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="The collection; else MILVUS_TOOLS_COLLECTION, else LangChainCollection.",
    ),
]
Embeddings = Annotated[
    str | None,
    Option(
        metavar="MODEL",
        help="local, or provider:model; else MILVUS_TOOLS_EMBEDDINGS, else local.",
    ),
]
Tenant = Annotated[
    list[str] | None,
    Option(metavar="FIELD=VALUE", help="Work only on entities with this value; repeatable."),
]
Filters = Annotated[
    list[str] | None,
    Option(
        "--filter",
        "-f",
        metavar="CONDITION",
        help="A condition, such as year>=2000 or title=Kites; operators = != >= <= > < and ^= "
        "(begins with). Repeatable; all must hold.",
    ),
]
Json = Annotated[bool, Option("--json", help="Write JSON, for machines.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Show the traceback of an error.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]

_state = {"verbose": False}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    _state["verbose"] = False
    try:
        result = app(
            args=None if arguments is None else list(arguments),
            prog_name="milvus-tools",
            standalone_mode=False,
        )
    except commands.InterruptedLoadError as error:
        output.note(str(error))
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        output.note("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has enough of it.
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001 - a command ends with a line, not a traceback
        return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: Exception) -> int:
    if _state["verbose"]:
        # Without what pymilvus said, which may hold an address or a token.
        output.note("".join(traceback.format_exception(error, chain=False)))
    if hasattr(error, "format_message"):
        output.error_line(error.format_message() or "Try milvus-tools --help.")
        return int(getattr(error, "exit_code", USAGE))
    output.error_line(_reason(error))
    return commands.ERROR


def _reason(error: Exception) -> str:
    if isinstance(error, MilvusToolsError | ImportError):
        step = advice(error)
        return f"{str(error).rstrip('.')}. {step}" if step else str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}."
    return f"{type(error).__name__}; --verbose shows where."


def _do(command: Coroutine[Any, Any, int], *, verbose: bool) -> int:
    _state["verbose"] = verbose
    with output.quiet(verbose=verbose):
        try:
            return asyncio.run(command)
        except KeyboardInterrupt as error:
            # Typer would end without a word.
            raise typer.Abort from error


def _on_target(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that name its store, in the place of its argument `target`."""

    def run(
        uri: Uri = None,
        db_name: Db = None,
        collection: Collection = None,
        embeddings: Embeddings = None,
        tenant: Tenant = None,
        **others: Any,
    ) -> int:
        target = Target(uri, db_name, collection, embeddings, tenant or ())
        return command(target=target, **others)

    # Typer reads the options from the signature, and calls by name.
    options = list(inspect.signature(run).parameters.values())[:-1]
    merged = [
        one.replace(kind=one.KEYWORD_ONLY)
        for own in inspect.signature(command).parameters.values()
        for one in (options if own.name == "target" else [own])
    ]
    functools.update_wrapper(run, command)
    run.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in merged}
    return run


@app.callback(invoke_without_command=True)
def _options(
    *, show_version: Annotated[bool, Option("--version", help="Show the version.")] = False
) -> None:
    if show_version:
        output.line(f"milvus-tools {version('milvus_tools')}")


@app.command()
@_on_target
def ingest(
    paths: Annotated[list[Path], Argument(metavar="PATH", help="Files and folders.")],
    *,
    include: Annotated[
        list[str] | None,
        Option(metavar="PATTERN", help="Only files that match, by the rules of .gitignore."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option(metavar="PATTERN", help="Not files that match, by the rules of .gitignore."),
    ] = None,
    hidden: Annotated[bool, Option("--hidden", help="Also names that begin with a dot.")] = False,
    relative_to: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Name sources relative to it, not from the root."),
    ] = None,
    prune: Annotated[
        bool, Option("--prune", help="Delete the passages of files that changed or vanished.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only list the files that would be read.")
    ] = False,
    hybrid: Annotated[
        bool,
        Option(
            "--hybrid",
            help="Make a new collection that is searched by words (BM25), too: on Milvus Lite, "
            "or a server from 2.5.",
        ),
    ] = False,
    chunk_size: Annotated[
        int, Option(min=50, max=MAX_PASSAGE, help="The most characters of a passage.")
    ] = Splitting.size,
    chunk_overlap: Annotated[
        int, Option(min=0, help="The most characters that two passages share.")
    ] = Splitting.overlap,
    max_bytes: Annotated[int, Option(min=1, help="The largest file to read.")] = (
        Splitting.max_bytes
    ),
    workers: Annotated[
        int | None,
        Option(
            min=1,
            max=64,
            help="Processes that read files; else one per processor, but at most 8.",
        ),
    ] = None,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Load files and folders: text, Markdown, reStructuredText, HTML, PDF, Word, PowerPoint,
    Excel, e-mail, EPUB, Jupyter, source code, JSON, JSONL and CSV.

    A second run writes only what is missing, so an interrupted run goes on where it was.
    """  # noqa: D205 - Typer shows the first paragraph as it stands
    if chunk_overlap >= chunk_size:
        raise typer.BadParameter("--chunk-overlap must be less than --chunk-size.")
    job = commands.Ingest(
        paths,
        Rules(tuple(include or ()), tuple(exclude or ()), hidden, relative_to),
        Splitting(chunk_size, chunk_overlap, max_bytes),
        prune=prune,
        dry_run=dry_run,
        hybrid=hybrid,
        workers=workers,
        as_json=as_json,
    )
    return _do(commands.ingest(target, job), verbose=verbose)


@app.command()
@_on_target
def search(
    queries: Annotated[
        list[str], Argument(metavar="QUERY", help="What to search for; several go together.")
    ],
    *,
    k: Annotated[int, Option("-k", min=1, max=1000, help="The most results of a query.")] = 5,
    filters: Filters = None,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Search the collection by meaning, and by words if it was made with `ingest --hybrid`."""
    work = commands.search(target, queries, k=k, filters=filters or (), as_json=as_json)
    return _do(work, verbose=verbose)


@app.command()
@_on_target
def info(
    *,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Show the collections, and the fields, indexes and counts of one."""
    return _do(commands.info(target, as_json=as_json), verbose=verbose)


@app.command()
@_on_target
def delete(
    ids: Annotated[list[str] | None, Argument(metavar="ID", help="The ids of entities.")] = None,
    *,
    filters: Filters = None,
    yes: Yes = False,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Delete entities by id or by filter; shows their number and asks first."""
    work = commands.delete(target, ids or (), filters or (), yes=yes, as_json=as_json)
    return _do(work, verbose=verbose)


@app.command()
@_on_target
def ask(
    question: Annotated[
        str, Argument(metavar="QUESTION", help="A question that the collection may answer.")
    ],
    *,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Answer a question from the collection; needs a clone of the repository.

    MILVUS_TOOLS_MODEL names the chat model; without one, the answer is made by rule.
    """
    return _do(asking.ask(target, question, as_json=as_json), verbose=verbose)


@app.command()
@_on_target
def doctor(
    *,
    target: Target,
    as_json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Check connection, token, collection, embeddings and extras, and say what to do."""
    return _do(checking.doctor(target, as_json=as_json), verbose=verbose)


@app.command()
@_on_target
def serve_mcp(
    *,
    http: Annotated[bool, Option("--http", help="Serve HTTP on loopback, not stdio.")] = False,
    port: Annotated[int, Option(min=0, max=65_535, help="The port of --http.")] = 8000,
    target: Target,
    verbose: Verbose = False,
) -> int:
    """Serve the collection's tools over MCP; needs the extra mcp.

    The tools only read, unless MILVUS_TOOLS_ALLOW_WRITES is true. Over HTTP, the users of
    MILVUS_TOOLS_USERS are let in by their tokens, and no others.
    """
    _state["verbose"] = verbose
    with output.quiet(verbose=verbose):
        return asking.serve_mcp(target, http=http, port=port)
