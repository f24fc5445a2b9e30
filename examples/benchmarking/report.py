"""The results as Markdown."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchmarking.results import OURS, PEER, Case, Measured, Results

LEFT_OUT: Final = """
- All of it runs on one machine, without a network between the processes. A real network adds the
  same time to each request, so sharing requests saves more there.
- The embedding service answers after a fixed time, with vectors of 384 dimensions without a
  meaning. Neither recall nor cost is measured, though fewer requests may cost less.
- The index is FLAT and the metric COSINE, so that both sides must find the same. Other index
  types, filters, hybrid search and collections of millions are not measured.
- All questions of a run differ; filters, limits and collections do not. Calls that differ in those
  share no request to Milvus.
- One process uses the store. Several processes share no requests.
""".strip()
_HOW: Final = (
    "Each figure is the median of its turns, which the sides take one after the other. It counts "
    "only if ids, texts and numbers of rows are right on both sides. In brackets: the figure as a "
    "multiple of ours, or what it adds to pymilvus's. After the dot: the requests to the "
    "embedding service and to Milvus."
)


def markdown(results: Results, titles: Mapping[str, str]) -> str:
    """Write the whole report.

    Args:
        results: What was measured.
        titles: The scenarios' titles, by name.
    """
    parts = [f"# milvus_tools and langchain-milvus on Milvus {_backend(results)}", _HOW]
    for scenario in dict.fromkeys(case.scenario for case in results.cases):
        cases = [case for case in results.cases if case.scenario == scenario]
        parts += [f"## {titles.get(scenario, scenario)}", *_tables(cases)]
    parts += ["## What is left out", LEFT_OUT]
    about = "\n".join(f"- {name}: {value}" for name, value in results.about.items())
    parts += ["## What it ran on", about]
    return "\n\n".join(parts) + "\n"


def summary(results: Sequence[Results]) -> str:
    """Write the cases that have a headline as one table, with two columns per backend.

    Args:
        results: What was measured on each backend.
    """
    by = [{case.headline: case for case in one.cases if case.headline} for one in results]
    heads = [f"{_backend(one)}: {side}" for one in results for side in (PEER, OURS)]
    rows = [
        [headline, *itertools.chain.from_iterable(_pair(cases.get(headline)) for cases in by)]
        for headline in dict.fromkeys(itertools.chain.from_iterable(by))
    ]
    return _table(heads, rows) + "\n"


def _pair(case: Case | None) -> tuple[str, str]:
    """Write both sides' figures, and by how much the other's is ours."""
    if case is None:
        return "", ""
    peer, ours = (_brief(case, case.of(side)) for side in (PEER, OURS))
    ratio = case.ratio(PEER)
    return peer, ours if ratio is None else f"{ours} ({times(ratio)})"


def _brief(case: Case, one: Measured) -> str:
    if one.median is None:
        return one.problem.partition(" (")[0]
    return figure(one.median, case.unit)


def _backend(results: Results) -> str:
    return "Lite" if results.backend == "lite" else "server"


def _tables(cases: Sequence[Case]) -> Iterator[str]:
    """Write a table for all cases that have the same sides."""
    for sides in dict.fromkeys(tuple(one.side for one in case.measured) for case in cases):
        alike = [case for case in cases if tuple(one.side for one in case.measured) == sides]
        yield _table(sides, map(_cells, alike))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write rows, each with its name first, under the heads of the others."""
    lines = [["", *heads], ["---"] * (len(heads) + 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(case: Case) -> list[str]:
    return [case.name, *(_cell(case, one) for one in case.measured)]


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
    """Write a figure with three digits that count: seconds as milliseconds where they are few."""
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
