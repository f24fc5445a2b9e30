"""The figures of a run, and their arithmetic."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Self

OURS = "milvus_tools"
PEER = "langchain-milvus"


@dataclasses.dataclass(frozen=True)
class Run:
    """One side's work, done once.

    Attributes:
        value: How long it took in seconds, or what else the case is about.
        answer: What it came to, for comparison; `None` if there is nothing to compare.
        counts: What was counted meanwhile, by name.
    """

    value: float
    answer: object = None
    counts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What became of one side in a case.

    Attributes:
        side: Its name.
        values: The figures that count, one per turn.
        counts: What was counted: medians, by name.
        problem: Why no figure counts; empty if they do.
    """

    side: str
    values: tuple[float, ...] = ()
    counts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    problem: str = ""

    @property
    def median(self) -> float | None:
        """The figure, if it counts."""
        return None if self.problem or not self.values else statistics.median(self.values)


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table: the same work, done by several sides.

    Attributes:
        name: What was done.
        measured: The sides, ours last.
        scenario: The name of the scenario that it belongs to.
        unit: `s` or `MB`; less is better.
        headline: What the chart calls it; empty if it is not drawn.
        baseline: The side that the others are compared with by difference, rather than by ratio.
    """

    name: str
    measured: tuple[Measured, ...]
    scenario: str = ""
    unit: str = "s"
    headline: str = ""
    baseline: str = ""

    def of(self, side: str) -> Measured:
        """Return what became of one side."""
        return next(one for one in self.measured if one.side == side)

    def ratio(self, side: str) -> float | None:
        """Return how many times our figure another side's is; `None` if one doesn't count."""
        ours, theirs = self.measured[-1].median, self.of(side).median
        return theirs / ours if ours and theirs is not None else None

    def difference(self, side: str) -> float | None:
        """Return what a side needs beyond the baseline; `None` if one doesn't count."""
        base, other = self.of(self.baseline).median, self.of(side).median
        return None if base is None or other is None else other - base


@dataclasses.dataclass(frozen=True)
class Results:
    """A run of the benchmark.

    Attributes:
        about: What it ran on: backend, versions, machine.
        cases: The figures.
    """

    about: Mapping[str, str]
    cases: Sequence[Case]

    @property
    def backend(self) -> str:
        """`lite` or `server`."""
        return self.about["backend"]

    def save(self, path: pathlib.Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: pathlib.Path) -> Self:
        """Read what `save` wrote."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls(saved["about"], [_case(**case) for case in saved["cases"]])


def _case(measured: Sequence[Mapping[str, Any]], **rest: Any) -> Case:
    return Case(
        measured=tuple(Measured(**{**one, "values": tuple(one["values"])}) for one in measured),
        **rest,
    )


def measured(side: str, runs: Sequence[Run], problem: str = "") -> Measured:
    """Put a side's runs together."""
    names = dict.fromkeys(name for run in runs for name in run.counts)
    counts = {
        name: statistics.median(run.counts[name] for run in runs if name in run.counts)
        for name in names
    }
    return Measured(side, tuple(run.value for run in runs), counts, problem)
