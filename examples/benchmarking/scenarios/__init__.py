"""What is measured: a scenario is a function that yields its cases."""

import dataclasses
from collections.abc import AsyncIterator, Callable

from benchmarking.bench import Bench
from benchmarking.results import Case
from benchmarking.scenarios import calls, graphs, loading, lone, loops, retrieving, tutorial


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A scenario.

    Attributes:
        title: What it shows, in a line.
        cases: Yields its cases.
    """

    title: str
    cases: Callable[[Bench], AsyncIterator[Case]]


SCENARIOS = {
    "tutorial": Scenario("langchain-milvus's own tutorial, 1000 documents", tutorial.cases),
    "searches": Scenario("Concurrent searches, embedding in 300 ms", calls.searches),
    "adds": Scenario("Single adds to a collection that is not there yet", calls.adds),
    "deletes": Scenario("Concurrent deletes, each by an expression", calls.deletes),
    "limited": Scenario("An embedding service that works on 8 requests at a time", calls.limited),
    "threads": Scenario("Blocking searches from 32 threads", loops.threads),
    "questions": Scenario("Sub-questions of one question, at once", calls.sub_questions),
    "graph": Scenario("The LangGraph app, embedding in 300 ms", graphs.cases),
    "retriever": Scenario("Multi-query retrievers, whose queries are given", retrieving.cases),
    "stalls": Scenario("The longest stall of the caller's event loop", loops.stalls),
    "loading": Scenario("Loading, embedding in 0.3 s per 1000 texts", loading.time_taken),
    "memory": Scenario("Memory of the process while loading, at its peak", loading.memory),
    "lone": Scenario("One search by vector at a time, against pymilvus alone", lone.cases),
}


async def cases_of(name: str, bench: Bench) -> AsyncIterator[Case]:
    """Yield the cases of the scenario of a name."""
    bench.service.behave()
    async for case in SCENARIOS[name].cases(bench):
        yield dataclasses.replace(case, scenario=name)
