"""Load 994 Wikipedia paragraphs into Milvus Lite, and use the tools as an agent would.

Needs `pip install -e ".[local]"`, and neither a key nor a server nor a network.

    python examples/quickstart.py
"""

import asyncio
import json
import pathlib
import tempfile
import textwrap
import time
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from milvus_tools import MilvusStore, MilvusToolkit, local_embeddings

DATA = pathlib.Path(__file__).parent / "data"
WIDTH = 96


async def main() -> None:
    """Run the tour on a database file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "quickstart.db"
        async with MilvusStore(local_embeddings(), connection_args={"uri": str(file)}) as store:
            await tour(store)


async def tour(store: MilvusStore) -> None:
    """Show what the tools do, one step after the other, as a model would call them."""
    start = time.perf_counter()
    await store.aadd_documents(load_paragraphs())
    print(f"Loaded {await store.acount()} Wikipedia paragraphs in {since(start)}.")

    toolkit = MilvusToolkit(
        store,
        description="paragraphs of Wikipedia",
        filter_fields={"title": "string", "sentences": "integer"},
        allow_writes=True,
    )
    tools = {tool.name: tool for tool in await toolkit.aget_tools()}
    long = {"field": "sentences", "operator": "gt", "value": 13}

    await call(tools["milvus_search"], query="a game that is played with dice", k=1)
    await call(tools["milvus_search_by_metadata"], filters=[long], order_by="sentences", limit=1)
    await call(tools["milvus_upsert"], documents=[{"id": "milvus", "text": "A genus of kites."}])
    await call(tools["milvus_delete"], ids=["milvus", "no such id"])

    before, start = store.stats.search, time.perf_counter()
    questions = load_questions()
    await asyncio.gather(*(store.asimilarity_search(question) for question in questions))
    requests = store.stats.search.batches - before.batches
    print(f"\n{len(questions)} searches at once: {since(start)}; requests to Milvus: {requests}")


async def call(tool: BaseTool, **arguments: Any) -> None:
    """Call a tool as an agent does, and print what the model would read."""
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    print()
    print(textwrap.fill(f"> {tool.name}({given})", WIDTH, subsequent_indent="    "))
    message: ToolMessage = await tool.ainvoke(
        {"name": tool.name, "args": arguments, "id": "1", "type": "tool_call"}
    )
    for line in message.text.splitlines():
        print(textwrap.shorten(line, WIDTH, placeholder=" …"))


def load_paragraphs() -> list[Document]:
    """Read the paragraphs; their titles are metadata, and part of what is embedded."""
    lines = (DATA / "paragraphs.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Document(
            id=paragraph["id"],
            page_content=f"{paragraph['title']}: {paragraph['text']}",
            metadata={"title": paragraph["title"], "sentences": paragraph["sentences"]},
        )
        for paragraph in map(json.loads, lines)
    ]


def load_questions() -> list[str]:
    """Read the questions."""
    lines = (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


def since(start: float) -> str:
    """Say how much time has passed."""
    return f"{time.perf_counter() - start:.1f} s"


if __name__ == "__main__":
    asyncio.run(main())
