"""The results as a picture: bars on a logarithmic axis, a panel per backend."""

import pathlib
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarking.comparing import OURS, PEER, Case
from benchmarking.report import Results, figure, times

_COLOURS: Final = {PEER: "#9aa5b1", OURS: "#0b7285"}
_STYLE: Final[Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "savefig.facecolor": "white",
}
_BAR: Final = 0.38
_LINE_INCHES: Final = 0.55
_FLOOR: Final = 0.001  # seconds, where the axis begins
_ROOM: Final = 12.0  # free space beyond the longest bar, for its label


def draw(results: Sequence[Results], path: pathlib.Path) -> None:
    """Draw the cases that have a headline into a PNG."""
    drawn = [[case for case in one.cases if case.headline] for one in results]
    height = 1.3 + _LINE_INCHES * max(map(len, drawn))
    with mpl.rc_context(_STYLE):
        whole = Figure(figsize=(5.6 * len(results), height), layout="constrained")
        panels = whole.subplots(1, len(results), squeeze=False)[0]
        for panel, one, cases in zip(panels, results, drawn, strict=True):
            _draw_panel(panel, cases)
            panel.set_title(f"Milvus {one.backend}", loc="left", fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        whole.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
        whole.savefig(path, dpi=160)


def _draw_panel(panel: Axes, cases: Sequence[Case]) -> None:
    longest = _FLOOR
    for offset, side in ((-_BAR / 2, PEER), (_BAR / 2, OURS)):
        places = [number + offset for number in range(len(cases))]
        values = [case.of(side).median or _FLOOR for case in cases]
        longest = max([longest, *values])
        panel.barh(places, values, _BAR, color=_COLOURS[side], label=side)
        for place, value, case in zip(places, values, cases, strict=True):
            panel.text(value * 1.1, place, _label(case, side), va="center", fontsize=8)
    panel.set_yticks(range(len(cases)), [case.headline for case in cases])
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlim(_FLOOR, _ROOM * longest)
    panel.xaxis.set_major_formatter(lambda s, _: f"{s:g} s" if s >= 1 else f"{s * 1000:g} ms")
    panel.set_xlabel("time, less is better (logarithmic)")


def _label(case: Case, side: str) -> str:
    """Write a bar's figure, and by how much the other side's is longer."""
    value = case.of(side).median
    if value is None:
        return "fails" if case.of(side).problem.startswith("fails") else "does not count"
    ratio = case.ratio(side)
    beside = "" if side == OURS or ratio is None else f"  {times(ratio)}"
    return figure(value, case.unit) + beside
