"""Time the operations of the store: one call after the other, and all calls at once.

The operations, documents and expressions are those of Milvus's tutorial on the async functions of
langchain-milvus (https://milvus.io/docs/langchain_milvus_async.md). Needs
`pip install -e ".[local]"`, and neither a key nor a server.

    python examples/tutorial.py
    python examples/tutorial.py --uri http://localhost:19530
"""

import argparse
import asyncio
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document

from milvus_tools import MilvusStore, local_embeddings

COLLECTION = "milvus_tools_tutorial"  # Milvus makes its ids
KEYED = "milvus_tools_tutorial_keyed"  # an upsert names the ids
HEADING = "| operation | requests | sync (s) | async (s) | ratio |\n|---|---|---|---|---|"

Arguments = Callable[[int], dict[str, Any]]


def document(number: int) -> Document:
    """Make a document of the tutorial's kind: its `id` is metadata."""
    return Document(
        f"This is test document {number}.",
        metadata={
            "id": f"doc_{number}",
            "score": number % 7 / 7,
            "category": f"cat_{number % 5}",
        },
    )


def text(number: int) -> dict[str, Any]:
    """Return the arguments that add one text."""
    made = document(number)
    return {"texts": [made.page_content], "metadatas": [made.metadata]}


def by_text(number: int) -> dict[str, Any]:
    """Return the arguments of a search: one of fifty queries."""
    return {"query": f"test document {number % 50}", "k": 3}


def operations(making: dict[str, Any]) -> dict[str, Arguments]:
    """Return the operations, each with what gives its n-th call's arguments.

    Args:
        making: The arguments that make a store.
    """
    vectors = making["embedding"].embed_documents([by_text(n)["query"] for n in range(50)])

    def by_vector(number: int) -> dict[str, Any]:
        return {"embedding": vectors[number % 50], "k": 3}

    return {
        "add_texts": text,
        "add_documents": lambda n: {"documents": [document(n)]},
        "add_embeddings": lambda n: {**text(n), "embeddings": [vectors[n % 50]]},
        "similarity_search": by_text,
        "similarity_search_by_vector": by_vector,
        "similarity_search_with_score": by_text,
        "similarity_search_with_score_by_vector": by_vector,
        "max_marginal_relevance_search": by_text,
        "max_marginal_relevance_search_by_vector": by_vector,
        "search_by_metadata": lambda n: {"expr": f"category == 'cat_{n % 5}'", "limit": 3},
        "get_pks": lambda n: {"expr": f"id == 'doc_{n}'"},
        "delete": lambda n: {"expr": f"id == 'doc_{n}'"},
        "upsert": lambda n: {"ids": [f"doc_{n}"], "documents": [document(n)]},
        "from_texts": lambda n: {**text(n), **making},
    }


def refill(store: MilvusStore, documents: int) -> None:
    """Leave exactly so many documents in a collection."""
    if store.count():
        store.delete(expr="score >= 0")
    store.add_documents([document(number) for number in range(documents)])


def one_by_one(store: MilvusStore, name: str, calls: Sequence[dict[str, Any]]) -> float:
    """Call a blocking method in a loop, and return the seconds."""
    start = time.perf_counter()
    results = [getattr(store, name)(**arguments) for arguments in calls]
    seconds = time.perf_counter() - start
    close(results)
    return seconds


async def all_at_once(store: MilvusStore, name: str, calls: Sequence[dict[str, Any]]) -> float:
    """Call the async twin of a method for all arguments at once, and return the seconds."""
    start = time.perf_counter()
    results = await asyncio.gather(*(getattr(store, f"a{name}")(**one) for one in calls))
    seconds = time.perf_counter() - start
    close(results)
    return seconds


def close(results: Sequence[Any]) -> None:
    """Close the stores among the results."""
    for result in results:
        if isinstance(result, MilvusStore):
            result.close()


def row(
    store: MilvusStore, name: str, calls: Sequence[dict[str, Any]], prepare: Callable[[], None]
) -> str:
    """Time an operation in both ways, each on a prepared collection; return the table's row."""
    prepare()
    sync_seconds = one_by_one(store, name, calls)
    prepare()
    seconds = asyncio.run(all_at_once(store, name, calls))
    times = f"{sync_seconds:.3f} | {seconds:.3f} | {sync_seconds / seconds:.1f}x"
    return f"| `{name}` | {len(calls)} | {times} |"


def run(uri: str, documents: int, counts: Sequence[int]) -> None:
    """Print the table, and drop the collections.

    Args:
        uri: The address of a server, or the path of a Milvus Lite file.
        documents: How many documents there are for the searches and deletes.
        counts: How many calls of each operation to time.
    """
    embeddings = local_embeddings()
    place: dict[str, Any] = {"connection_args": {"uri": uri}, "drop_old": True}
    with (
        MilvusStore(embeddings, COLLECTION, auto_id=True, **place) as store,
        MilvusStore(embeddings, KEYED, **place) as keyed,
    ):
        print(HEADING)
        making = {"embedding": embeddings, "collection_name": COLLECTION, **place}
        for count in counts:
            refill(store, documents)
            for name, arguments in operations({**making, "drop_old": False}).items():
                calls = [arguments(number) for number in range(count)]
                renew = functools.partial(refill, store, documents)
                prepare = renew if name == "delete" else lambda: None
                print(row(keyed if name == "upsert" else store, name, calls, prepare))
        print(f"\n{store.count()} documents are left, and {keyed.count()} with ids of their own.")
        store.drop()
        keyed.drop()


def main() -> None:
    """Read the command line, and run on a file that is gone afterwards, or on a server."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--uri", help="of a server; a new Milvus Lite file without")
    parser.add_argument("--requests", type=int, nargs="+", default=[10, 100], help="how many")
    parser.add_argument("--documents", type=int, default=1000, help="how many to search")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "tutorial.db"
        run(given.uri or str(file), given.documents, given.requests)


if __name__ == "__main__":
    main()
