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
from typing import Any, Final, get_args

from langgraph.types import StreamMode
from rich.console import Console
from rich.live import Live

from graphs.rag.context import Context
from graphs.rag.display import Display
from graphs.rag.graph import build_graph
from graphs.rag.wikipedia import wikipedia_store
from milvus_tools import MilvusStore
from milvus_tools.tools.formatting import as_data

NUMBERS: Final = {
    "--k": ("k", "passages that a search returns"),
    "--rounds": ("max_rounds", "rounds of searches (default: 2 by rule, 3 with a model)"),
    "--subquestions": ("max_subquestions", "sub-questions in a round"),
    "--passages": ("max_passages", "passages that the answer is made from"),
    "--paraphrases": ("paraphrases", "other wordings of a sub-question, by the model"),
}


async def main(question: str, context: Context, file: pathlib.Path | None) -> None:
    """Open the paragraphs, ask, and show what happens as it does."""
    display, console = Display(question), Console(highlight=False)
    with console.status("Opening the Wikipedia paragraphs …"):
        store: MilvusStore = await asyncio.to_thread(wikipedia_store, file)
    context = context.model_copy(update={"store": store})
    live = Live(display, console=console, vertical_overflow="visible", refresh_per_second=10)
    async with store:
        try:
            with live:
                await watch(question, context, display)
        finally:
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
    for option, (field, meaning) in NUMBERS.items():
        default = fields[field].default
        said = meaning if default is None else f"{meaning} (default: {default})"
        parser.add_argument(option, dest=field, type=int, default=default, help=said)
    parser.add_argument(
        "--structured-output",
        choices=get_args(fields["structured_output"].annotation),
        default=fields["structured_output"].default,
        help="how the model is asked for a plan (default: %(default)s)",
    )
    return parser.parse_args()


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says about the run's context."""
    return {name: value for name, value in vars(given).items() if name in Context.model_fields}


if __name__ == "__main__":
    given = arguments()
    try:
        asyncio.run(main(given.question, Context(**settings_of(given)), given.db))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a command says what went wrong in one sentence
        sys.exit(as_data(f"{type(error).__name__}: {error}"))
