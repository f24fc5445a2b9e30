"""The table of langchain-milvus's tutorial on async functions, with a third column.

See <https://milvus.io/docs/langchain_milvus_async.md>. Here no question is asked twice, ids are
given, and the collection is there before the first add (the scenario `adds` is without).
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from benchmarking import work
from benchmarking.bench import Bench, Plan
from benchmarking.results import OURS, PEER, Case

ONE_BY_ONE: Final = "langchain-milvus, one by one"


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Add, search and delete 10 and 100 documents, one call each."""
    async with contextlib.AsyncExitStack() as stack:
        slow, peer, ours = [
            await stack.enter_async_context(bench.subject(side)) for side in (PEER, PEER, OURS)
        ]
        for subject in (slow, peer, ours):
            await work.load(subject, bench.size(1000, 50))
        bench.service.behave(latency=0.3)
        for name, count, blocking, concurrent in _operations(bench):
            yield await bench.compare(
                f"{name} {count}",
                [
                    bench.contender(ONE_BY_ONE, slow, blocking),
                    bench.contender(PEER, peer, concurrent),
                    bench.contender(OURS, ours, concurrent),
                ],
            )


def _operations(bench: Bench) -> Iterator[tuple[str, int, Plan, Plan]]:
    """Yield the tutorial's operations: how they are done one by one, and all at once.

    The searches come first: a side that is slow adds less often, and would find less.
    """
    plans: dict[str, Callable[[int], tuple[Plan, Plan]]] = {
        "search": lambda count: (
            work.searching(count, work.search_one_by_one),
            work.searching(count, work.search_each),
        ),
        "add": lambda count: (
            work.adding(count, work.add_one_by_one),
            work.adding(count, work.add_each),
        ),
        "delete": lambda count: (
            work.deleting(count, work.delete_one_by_one),
            work.deleting(count, work.delete_each),
        ),
    }
    for name, plan in plans.items():
        for count in (bench.size(10, 2), bench.size(100, 5)):
            yield name, count, *plan(count)
