"""The benchmark's arithmetic, its turns, and its table."""

import asyncio

import pytest
from benchmarking.comparing import (
    OURS,
    PEER,
    CallsFailedError,
    Case,
    Measured,
    Run,
    Turn,
    compare,
    together,
)
from benchmarking.report import Results, figure, report, summary, times


def case(peer: tuple[float, ...], ours: tuple[float, ...], problem: str = "", **about) -> Case:
    """A case of two sides."""
    return Case("a job", (Measured(PEER, peer, {}, problem), Measured(OURS, ours)), **about)


def says(answer: object, side: str = "", log: list[str] | None = None) -> Turn:
    """A side that is done at once, and gives an answer."""

    async def run(turn: int) -> Run:
        if log is not None:
            log.append(f"{side} {turn}")
        return Run(float(turn), answer)

    return run


def fails(error: Exception) -> Turn:
    """A side that fails in each turn."""

    async def run(turn: int) -> Run:
        raise error

    return run


def test_a_figure_is_the_median_of_its_turns():
    """One slow turn moves nothing."""
    runs = [Run(1.0, counts={"requests": 4}), Run(9.0, counts={"requests": 2}), Run(2.0)]
    combined = Measured.of(OURS, runs)
    assert combined == Measured(OURS, (1.0, 9.0, 2.0), {"requests": 3.0})
    assert combined.median == 2.0


def test_a_ratio_says_how_many_times_ours_another_side_takes():
    """Both sides must count for it."""
    assert case((6.0, 4.0), (2.0,)).ratio(PEER) == 2.5
    assert case((6.0,), ()).ratio(PEER) is None
    assert case((6.0,), (2.0,), problem="another answer").ratio(PEER) is None


def test_a_difference_is_taken_from_the_baseline():
    """It is the time that a store adds to pymilvus's own."""
    assert case((1.0,), (1.5,), baseline=PEER).difference(OURS) == 0.5
    assert case((), (1.5,), baseline=PEER).difference(OURS) is None


async def test_sides_take_turns_and_the_first_does_not_count():
    """Each turn begins with another side; the first one warms up."""
    log: list[str] = []
    done = await compare("a job", {side: says("same", side, log) for side in (PEER, OURS)}, 2)
    order = [PEER, OURS, OURS, PEER, PEER, OURS]
    assert log == [f"{side} {place // 2}" for place, side in enumerate(order)]
    assert [one.values for one in done.measured] == [(1.0, 2.0), (1.0, 2.0)]


async def test_a_single_turn_counts():
    """`--fast` has one."""
    done = await compare("a job", {PEER: says("same"), OURS: says("same")}, 1)
    assert [one.values for one in done.measured] == [(0.0,), (0.0,)]


async def test_a_slow_side_has_fewer_turns(monkeypatch: pytest.MonkeyPatch):
    """But one at least, which then counts."""
    monkeypatch.setattr("benchmarking.comparing.PATIENCE", 0.0)
    done = await compare("a job", {PEER: says("same"), OURS: says("same")}, 5)
    assert [one.values for one in done.measured] == [(0.0,), (0.0,)]


async def test_another_answer_has_no_figure():
    """However fast it was."""
    done = await compare("a job", {PEER: says("this"), OURS: says("that")}, 1)
    assert done.of(PEER).problem == "another answer than milvus_tools"
    assert done.of(PEER).median is None
    assert done.ratio(PEER) is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (CallsFailedError("1 of 2 documents are there"), "1 of 2 documents are there"),
        (KeyError("any"), "fails: KeyError"),
    ],
)
async def test_a_failing_side_has_no_figure(error: Exception, problem: str):
    """It says what failed, and is not run again; the other side goes on."""
    done = await compare("a job", {PEER: fails(error), OURS: says("that")}, 3)
    assert done.of(PEER) == Measured(PEER, (), {}, problem)
    assert done.of(OURS).values == (1.0, 2.0, 3.0)


async def test_calls_at_once_all_end_and_the_failed_are_counted():
    """A figure of calls of which some failed would be too good."""
    ended = []

    async def call(number: int) -> int:
        await asyncio.sleep(0)
        ended.append(number)
        if number % 2:
            raise KeyError(number)
        return number

    assert await together(call(number) for number in (0, 2)) == [0, 2]
    with pytest.raises(CallsFailedError, match=r"fails: 2 of 4 calls \(2 KeyError\)"):
        await together(call(number) for number in range(4))
    assert sorted(ended) == [0, 0, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.00123, "s", "1.23 ms"),
        (0.05, "s", "50.0 ms"),
        (0.3, "s", "300 ms"),
        (2.989, "s", "2.99 s"),
        (29.2, "s", "29.2 s"),
        (12.34, "MB", "12.3 MB"),
        (0.5, "MB", "0.50 MB"),
    ],
)
def test_figures_have_three_digits(value: float, unit: str, written: str):
    """More would say too much."""
    assert figure(value, unit) == written


def test_ratios_have_three_digits():
    """So have ratios."""
    assert [times(value) for value in (0.954, 12.34, 123.4)] == ["0.95x", "12.3x", "123x"]


def test_the_table_holds_every_case_and_says_what_does_not_count():
    """A row per side stands below its scenario's title."""
    lone = Case(
        "alone", (Measured("raw", (0.001,)), Measured(OURS, (0.0015,))), "one", baseline="raw"
    )
    counted = Measured(OURS, (2.0,), {"embedding": 1.0, "Milvus": 2.0})
    both = Case("both", (Measured(PEER, (6.0,)), counted), "one")
    failed = Case("failed", (Measured(PEER, (), {}, "fails: 3 of 5"), Measured(OURS)), "two")
    results = Results("Lite", {"cores": "2"}, [lone, both, failed])
    lines = report([results], {"one": "The first"}).splitlines()
    start = lines.index("| case | side | Lite |")
    assert lines[start + 2 : start + 10] == [
        "| **The first** |  |  |",
        "| alone | raw | 1.00 ms |",
        "| alone | milvus_tools | 1.50 ms (+0.50 ms) |",
        "| both | langchain-milvus | 6.00 s (3.00x) |",
        "| both | milvus_tools | 2.00 s · embedding 1, Milvus 2 |",
        "| **two** |  |  |",
        "| failed | langchain-milvus | fails: 3 of 5 |",
        "| failed | milvus_tools | not measured |",
    ]
    assert "## What is left out" in lines
    assert "- cores: 2" in lines


def test_results_of_two_backends_stand_side_by_side():
    """A cell is empty where a backend lacks the case."""
    fast, slow = Measured(OURS, (0.5,)), Measured(PEER, (1.0,))
    lite = Results("Lite", {}, [Case("a", (slow, fast), "one")])
    server = Results("server", {}, [Case("a", (fast,), "one"), Case("b", (fast,), "one")])
    lines = report([lite, server], {"one": "The first"}).splitlines()
    start = lines.index("| case | side | Lite | server |")
    assert lines[start + 2 : start + 6] == [
        "| **The first** |  |  |  |",
        "| a | langchain-milvus | 1.00 s (2.00x) |  |",
        "| a | milvus_tools | 500 ms | 500 ms |",
        "| b | milvus_tools |  | 500 ms |",
    ]


def test_the_summary_has_the_headlines_of_all_backends():
    """A pair of columns per backend; a problem stands where no figure counts."""
    fast, slow = Measured(OURS, (0.5,)), Measured(PEER, (1.0,))
    failed = Measured(PEER, problem="fails: 1 of 2 calls (1 OSError)")
    lite = Results(
        "Lite",
        {},
        (
            Case("a", (slow, fast), headline="both"),
            Case("b", (failed, fast), headline="one fails"),
            Case("c", (slow, fast)),
        ),
    )
    server = Results("server", {}, (Case("a", (slow, fast), headline="elsewhere"),))
    assert summary([lite, server]).splitlines()[2:] == [
        "| both | 1.00 s | 500 ms (2.00x) |  |  |",
        "| one fails | fails: 1 of 2 calls | 500 ms |  |  |",
        "| elsewhere |  |  | 1.00 s | 500 ms (2.00x) |",
    ]
