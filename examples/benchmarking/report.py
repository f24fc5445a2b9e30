"""The results as Markdown."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchmarking.comparing import OURS, PEER, Case, Measured

LEFT_OUT: Final = """
- All of it runs on one machine, without a network between the processes. A real network adds the
  same time to each request, so sharing requests saves more there.
- The embedding service answers after a fixed time, with vectors of 384 dimensions without a
  meaning. Neither recall nor cost is measured, though fewer requests may cost less.
- The index is FLAT and the metric COSINE, so that both sides must find the same. Other index
  types, filters and collections of millions are in the scenario `scale` alone; hybrid search is
  not measured.
- All questions of a run differ; filters, limits and collections do not. Searches that differ in
  those share no request to Milvus.
- One process uses the store. Several processes share no requests.
""".strip()
_HOW: Final = (
    "Each figure is the median of its turns, which the sides take one after the other. It counts "
    "only if ids, texts and numbers of rows are right on both sides. In brackets: the figure as a "
    "multiple of ours, or what it adds to pymilvus's. After the dot, in the second table: the "
    "requests to the embedding service and to Milvus."
)


@dataclasses.dataclass(frozen=True)
class Results:
    """The figures of one backend.

    Attributes:
        backend: `Lite` or `server`.
        about: Versions and the machine.
        cases: The figures.
    """

    backend: str
    about: Mapping[str, str]
    cases: Sequence[Case]


def report(results: Sequence[Results], titles: Mapping[str, str]) -> str:
    """Write the whole report.

    Args:
        results: The figures of each backend.
        titles: The scenarios' titles, by name.
    """
    parts = ["# milvus_tools and langchain-milvus", _HOW, summary(results).strip()]
    parts += ["## All cases", _all_cases(results, titles), "## What is left out", LEFT_OUT]
    for one in results:
        about = "\n".join(f"- {name}: {value}" for name, value in one.about.items())
        parts += [f"## The run on {one.backend}", about]
    return "\n\n".join(parts) + "\n"


def summary(results: Sequence[Results]) -> str:
    """Write the cases that have a headline as one table, with two columns per backend."""
    by = [{case.headline: case for case in one.cases if case.headline} for one in results]
    heads = [f"{one.backend}: {side}" for one in results for side in (PEER, OURS)]
    rows = [
        [headline, *itertools.chain.from_iterable(_pair(cases.get(headline)) for cases in by)]
        for headline in dict.fromkeys(itertools.chain.from_iterable(by))
    ]
    return _table(["", *heads], rows) + "\n"


def _pair(case: Case | None) -> tuple[str, str]:
    if case is None:
        return "", ""
    peer, ours = (_brief(case, case.of(side)) for side in (PEER, OURS))
    ratio = case.ratio(PEER)
    return peer, ours if ratio is None else f"{ours} ({times(ratio)})"


def _brief(case: Case, one: Measured) -> str:
    if one.median is None:
        return one.problem.partition(" (")[0]
    return figure(one.median, case.unit)


def _all_cases(results: Sequence[Results], titles: Mapping[str, str]) -> str:
    """Write a row for each side of each case, and a row above for each scenario."""
    by = [
        {
            (case.scenario, case.name, m.side): _cell(case, m)
            for case in one.cases
            for m in case.measured
        }
        for one in results
    ]
    rows = []
    keys = dict.fromkeys(itertools.chain.from_iterable(by))
    for scenario, group in itertools.groupby(keys, key=lambda key: key[0]):
        rows.append([f"**{titles.get(scenario, scenario)}**", "", *[""] * len(by)])
        rows += [[key[1], key[2], *(cells.get(key, "") for cells in by)] for key in group]
    return _table(["case", "side", *(one.backend for one in results)], rows)


def _cells(cases: Sequence[Case]) -> Iterator[tuple[tuple[str, str, str], str]]:
    for case in cases:
        for one in case.measured:
            yield (case.scenario, case.name, one.side), _cell(case, one)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(case: Case, one: Measured) -> str:
    if one.median is None:
        return one.problem or "not measured"
    parts = [figure(one.median, case.unit), *_compared(case, one)]
    counts = ", ".join(f"{name} {count:g}" for name, count in one.counts.items())
    return " ".join([*parts, *([f"· {counts}"] if counts else [])])


def _compared(case: Case, one: Measured) -> Iterator[str]:
    if case.baseline:
        added = case.difference(one.side)
        if one.side != case.baseline and added is not None:
            yield f"({'+' if added >= 0 else '-'}{figure(abs(added), case.unit)})"
    elif one is not case.measured[-1]:
        ratio = case.ratio(one.side)
        if ratio is not None:
            yield f"({times(ratio)})"


def figure(value: float, unit: str) -> str:
    """Write a figure with three significant digits: less than a second as milliseconds."""
    if unit == "s" and value < 1:
        value, unit = value * 1000, "ms"
    return f"{_three_digits(value)} {unit}"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{_three_digits(ratio)}x"


def _three_digits(value: float) -> str:
    if value >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - two
