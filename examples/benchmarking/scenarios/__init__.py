"""The scenarios: functions that yield cases, with their docstrings for titles."""

import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Final

from benchmarking.bench import Bench
from benchmarking.comparing import Case
from benchmarking.scenarios import calls, limits, loading, queries, reads, scale, stalls, tenants

SCENARIOS: Final[dict[str, Callable[[Bench], AsyncIterator[Case]]]] = {
    "tutorial": calls.tutorial,
    "searches": calls.searches,
    "adds": calls.adds,
    "deletes": calls.deletes,
    "metadata": reads.metadata,
    "mmr": reads.mmr,
    "limited": calls.limited,
    "threads": calls.threads,
    "questions": calls.sub_questions,
    "graph": queries.graph,
    "retriever": queries.retriever,
    "stalls": stalls.cases,
    "loading": loading.time_taken,
    "memory": loading.memory,
    "lone": calls.lone,
    "tenants": tenants.tenants,
    "limits": limits.cases,
    "scale": scale.cases,
}
BY_DEFAULT: Final = [name for name in SCENARIOS if name != "scale"]  # which takes half an hour
TITLES: Final = {
    name: str(inspect.getdoc(cases)).partition("\n")[0].rstrip(".")
    for name, cases in SCENARIOS.items()
}


async def cases_of(name: str, bench: Bench) -> AsyncIterator[Case]:
    """Yield the cases of a scenario."""
    bench.service.configure()
    async for case in SCENARIOS[name](bench):
        yield dataclasses.replace(case, scenario=name)
