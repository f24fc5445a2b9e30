"""Load 994 Wikipedia paragraphs into Milvus Lite, and search, filter, upsert and delete.

Needs `pip install -e ".[local]"`, and neither a key nor a server nor a network.

    python examples/quickstart.py
"""

import asyncio
import json
import pathlib
import tempfile
import textwrap
import time
from collections.abc import Sequence

from langchain_core.documents import Document

from milvus_tools import MilvusStore, local_embeddings

DATA = pathlib.Path(__file__).parent / "data"
WIDTH = 88


async def main() -> None:
    """Run the tour on a database file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "quickstart.db"
        async with MilvusStore(local_embeddings(), connection_args={"uri": str(file)}) as store:
            await tour(store)


async def tour(store: MilvusStore) -> None:
    """Show what a store does, one step after the other."""
    paragraphs, questions = load_paragraphs(), load_questions()

    start = time.perf_counter()
    await store.aadd_documents(paragraphs)
    heading(f"Loaded {len(paragraphs)} Wikipedia paragraphs in {since(start)}.")

    query = "Who invented a game that is played with dice?"
    heading(f"Search: {query}")
    show(await store.asimilarity_search_with_score(query, k=3))

    start = time.perf_counter()
    found = await asyncio.gather(*(store.asimilarity_search(q, k=1) for q in questions[:20]))
    heading(f"20 searches at once, in {since(start)}. The first three:")
    for question, (document,) in list(zip(questions, found, strict=False))[:3]:
        print(shortened(f"  {document.metadata['title']}  <-  {question}"))

    heading("Metadata search: sentences >= 7 (no vectors)")
    show_titles(await store.asearch_by_metadata("sentences >= 7", limit=4))

    heading("Upsert: two texts under one id, the later one in place of the earlier")
    for text in ("Milvus is a genus of kites.", "Milvus is a database for vectors."):
        await store.aupsert(documents=[Document(id="milvus", page_content=text)])
    print(f"  {(await store.aget_by_ids(['milvus']))[0].page_content}")

    heading("Delete: that id, and one that is not there")
    print(f"  {await store.adelete(['milvus', 'no such id'])}")
    print(f"  {await store.acount()} paragraphs are left.")


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


def show(found: Sequence[tuple[Document, float]]) -> None:
    """Print Documents with their cosine similarity."""
    for document, similarity in found:
        print(shortened(f"  {similarity:.2f}  {document.page_content}"))


def show_titles(documents: Sequence[Document]) -> None:
    """Print titles and how many sentences each paragraph has."""
    for document in documents:
        print(f"  {document.metadata['sentences']:2}  {document.metadata['title']}")


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}")


def shortened(line: str) -> str:
    """Cut a line to the width of the page."""
    indent = line[: len(line) - len(line.lstrip())]
    return indent + textwrap.shorten(line, WIDTH - len(indent), placeholder=" …")


def since(start: float) -> str:
    """Say how much time has passed."""
    return f"{time.perf_counter() - start:.1f} s"


if __name__ == "__main__":
    asyncio.run(main())
