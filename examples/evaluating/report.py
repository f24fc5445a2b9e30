"""The tables and the chart of the ways to search."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from evaluating.figures import TUNED, cell, interval, mcnemar, p_value
from evaluating.measuring import ALL_5, ALL_10, Measured
from evaluating.sets import QuestionSet
from evaluating.ways import BASELINE, EXPANDING_HITS, EXPANDING_TERMS, GRAPH, K

COLUMNS: Final = (ALL_10, ALL_5, "recall@10", "nDCG@10", "MRR")
MEANING: Final = f"""\
In percent of the questions, in brackets with 95 % intervals of resampled questions.

- **{ALL_10}**, **{ALL_5}**: all paragraphs that a question needs are among the first ten, or five.
- **more than {BASELINE}**: the difference of {ALL_10} to one search in the same mode, question by
  question, and the p-value of McNemar's exact test, which is not corrected for the number of rows.
- **searches**: the mean number of searches for a question. A search is one call of the store with
  one text, which returns up to {K} paragraphs, or as many as the row says; a hybrid one looks for
  vectors and words.
- **CPU ms**: the mean CPU time for a question of all threads of the process, Milvus Lite and the
  embedding model included.
- **RM3**: the question with the likeliest terms ({EXPANDING_TERMS}) of its first hits \
({EXPANDING_HITS}).
- **graph**: by rule. By default it has two rounds of up to eight sub-questions each, of which the
  first is the question itself.

{TUNED}
"""

Results = Mapping[str, Sequence[Measured]]
"""The ways by the name of the set."""


def report(sets: Sequence[QuestionSet], results: Results) -> str:
    """Write the results as Markdown, a heading for each set."""
    parts = [f"## Side by side\n\n{side_by_side(results)}"] if len(results) > 1 else []
    for one in sets:
        measured = results[one.name]
        asked, of = len(measured[0].searches), len(one.paragraphs)
        parts.append(f"## {one.name}: {asked} questions, {of} paragraphs\n\n{table(measured)}")
    return "\n\n".join([*parts, MEANING])


def side_by_side(results: Results) -> str:
    """Write for how many questions all is found, and what it costs, with a column for each set."""
    columns = [f"{name}: {ALL_10} / {ALL_5} | searches | CPU ms" for name in results]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * (3 * len(columns))}"]
    for measured in zip(*results.values(), strict=True):
        cells = [
            f"{_share(one, ALL_10)} / {_share(one, ALL_5)} | {_costs(one)}" for one in measured
        ]
        lines.append(f"| {measured[0].name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(one: Measured, measure: str) -> str:
    return f"{100 * one.values[measure].mean():.0f}"


def _costs(one: Measured) -> str:
    return f"{one.searches.mean():.1f} | {one.milliseconds.mean():.0f}"


def table(results: Sequence[Measured]) -> str:
    """Write a set's results with their intervals."""
    lines = [
        f"| | {' | '.join(COLUMNS)} | more than {BASELINE} | searches | CPU ms |",
        f"|---|{'---|' * (len(COLUMNS) + 3)}",
    ]
    known = {result.name: result for result in results}
    for result in results:
        cells = [*(cell(result.values[name]) for name in COLUMNS), gain(result, known)]
        lines.append(f"| {result.name} | {' | '.join(cells)} | {_costs(result)} |")
    return "\n".join(lines)


def gain(result: Measured, known: Mapping[str, Measured]) -> str:
    """Write by how much it is better, question by question, than one query in the same mode."""
    mode = result.name.partition(", ")[2].partition(":")[0]
    once = known.get(f"{BASELINE}, {mode}")
    if once is None or once is result:
        return ""
    ours, theirs = result.values[ALL_10], once.values[ALL_10]
    return f"{cell(ours - theirs)}, {p_value(mcnemar(ours, theirs))}"


def draw(results: Results, file: pathlib.Path) -> None:
    """Draw for how many questions all needed paragraphs are found, a panel for each set."""
    rows = max(map(len, results.values()))
    with mpl.rc_context({"font.size": 9}):
        size = (4.5 + 3 * len(results), 0.9 + 0.3 * rows)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
        for axes, (name, measured) in zip(panels, results.items(), strict=True):
            means = np.array([100 * one.values[ALL_10].mean() for one in measured])
            bounds = 100 * np.array([interval(one.values[ALL_10]) for one in measured]).T
            labels = [one.name for one in measured]
            colours = ["tab:blue" if label.startswith(GRAPH) else "tab:gray" for label in labels]
            errors = np.abs(bounds - means)
            axes.barh(labels, means, xerr=errors, color=colours, capsize=3, ecolor="black")
            axes.set_title(name)
            axes.set_xlim(0, 100)
        panels[0].invert_yaxis()
        figure.supxlabel("% of questions with all needed paragraphs in the top 10 (95 % interval)")
        figure.savefig(file, dpi=150)
