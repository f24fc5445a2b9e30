"""The graph, whose sub-questions of a round are searched for at the same time."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from benchmarking import work
from benchmarking.bench import Bench, Job, Plan
from benchmarking.comparing import CallsFailedError, Contender
from benchmarking.results import OURS, Case
from benchmarking.scenarios.calls import LATENCY
from benchmarking.sides import Subject, found
from graphs.rag import Context, build_graph

_SEVERAL: Final = 8


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Ask a question that is split into several, by rule and in one round, and one that is not."""
    async with bench.subject(OURS) as ours:
        await work.load(ours, bench.size(1000, 50))
        bench.service.behave(latency=LATENCY)
        contenders = [_contender(bench, ours, count) for count in (_SEVERAL, 1)]
        yield await bench.compare("a run of the graph, in one round", contenders)


def _contender(bench: Bench, subject: Subject, count: int) -> Contender:
    side = "1 sub-question" if count == 1 else f"{count} sub-questions"
    return bench.contender(side, subject, _asking(subject, count))


def _asking(subject: Subject, count: int) -> Plan:
    """Plan to run the graph; each sub-question must find what it finds alone."""
    graph = build_graph(Context(store=subject.store, k=work.K, max_rounds=1))

    async def plan(subject: Subject, turn: int) -> Job:
        # A question of several is searched for as a whole, too.
        parts = work.questions(count - 1 or 1, turn)

        async def answer(output: Mapping[str, Any]) -> None:
            asked = output["subquestions"]
            if len(asked) != count:
                raise CallsFailedError(f"{len(asked)} sub-questions")
            for one in asked:
                alone = await subject.store.asimilarity_search(one["text"], k=work.K)
                if one["found"] != [id_ for id_, _ in found(alone)]:
                    raise CallsFailedError("another answer than a sub-question has alone")

        return Job(lambda: graph.ainvoke({"question": " ".join(parts)}), answer, count)

    return plan
