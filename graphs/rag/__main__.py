"""Ask the graph a question about the Wikipedia paragraphs, and watch it search.

Needs `pip install -e ".[graph]"`, and neither a key nor a server nor a network: without a model
the graph goes by rule. With `--model openai:gpt-5-mini`, that provider's package and its key (or
`OPENAI_BASE_URL` of a local server), a model plans and answers.

    python -m graphs.rag "Who directed the film that was shot around Leland, North Carolina?"
"""

import argparse
import asyncio
import pathlib
import sys
from typing import Any

from langgraph.types import StreamMode
from rich.console import Console
from rich.live import Live

from graphs.rag.context import Context
from graphs.rag.display import Display
from graphs.rag.graph import build_graph
from graphs.rag.wikipedia import wikipedia_store
from milvus_tools import MilvusStore
from milvus_tools.tools.content import as_data


async def main(question: str, settings: dict[str, Any], file: pathlib.Path | None) -> None:
    """Open the paragraphs, ask, and show what happens as it does."""
    display, console = Display(question), Console(highlight=False)
    with console.status("Opening the Wikipedia paragraphs …"):
        store: MilvusStore = await asyncio.to_thread(wikipedia_store, file)
    async with store:
        context = Context(store=store, **settings)
        with Live(display, console=console, vertical_overflow="visible", refresh_per_second=10):
            await watch(question, context, display)
    if not console.is_terminal:  # where a live display leaves its last line open
        console.line()


async def watch(question: str, context: Context, display: Display) -> None:
    """Run the graph, and tell the display all that it streams."""
    modes: list[StreamMode] = ["custom", "messages", "values"]
    stream = build_graph().astream(
        {"question": question}, context=context, stream_mode=modes, version="v2"
    )
    output: Any = {}
    async for part in stream:
        match part["type"]:
            case "custom":
                display.tell(part["data"])
            case "messages":
                display.write(part["data"][0].text)
            case "values":
                output = part["data"]
    display.end(output)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    fields = Context.model_fields
    parser = argparse.ArgumentParser(prog="python -m graphs.rag", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("question")
    parser.add_argument("--model", help="such as openai:gpt-5-mini; by rule without one")
    parser.add_argument("--db", type=pathlib.Path, help="a .db file to keep the paragraphs in")
    parser.add_argument("--k", type=int, default=fields["k"].default)
    parser.add_argument("--rounds", type=int, default=fields["max_rounds"].default)
    parser.add_argument("--subquestions", type=int, default=fields["max_subquestions"].default)
    parser.add_argument("--passages", type=int, default=fields["max_passages"].default)
    parser.add_argument("--structured-output", default=fields["structured_output"].default)
    return parser.parse_args()


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says about the run's context."""
    return {
        "model": given.model,
        "k": given.k,
        "max_rounds": given.rounds,
        "max_subquestions": given.subquestions,
        "max_passages": given.passages,
        "structured_output": given.structured_output,
    }


if __name__ == "__main__":
    given = arguments()
    try:
        asyncio.run(main(given.question, settings_of(given), given.db))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a command says what went wrong in one sentence
        sys.exit(as_data(f"{type(error).__name__}: {error}"))
