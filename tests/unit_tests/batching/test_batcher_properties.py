"""The micro-batcher under any interleaving of calls, cancellations, failures and groups."""

import asyncio
import dataclasses
import gc
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from milvus_tools._io.loop import Portal, join
from milvus_tools.batching import (
    BatcherClosedError,
    Limits,
    MicroBatcher,
    WrongNumberOfResultsError,
)
from tests.helpers.batching import nothing_left, turns

__all__ = ["nothing_left"]  # a fixture
ROUNDS = 2000  # of the loop, within which whatever ends at all has ended


@dataclasses.dataclass(frozen=True, eq=False)
class Ask:
    """A request. What a lone call would get follows from its group and number."""

    group: str
    number: int
    shareable: bool = False

    @property
    def good(self) -> bool:
        """Whether it is valid."""
        return self.number % 4 != 3

    @property
    def weight(self) -> int:
        """The weight of a request."""
        return self.number % 3 + 1

    @property
    def identity(self) -> int | None:
        """The key that identical requests share."""
        return self.number if self.shareable else None

    def is_answered_by(self, other: "Ask") -> bool:
        """Tell whether the answer to another request is the answer to this one."""
        same = (self.group, self.identity) == (other.group, other.identity)
        return self is other or (same and self.identity is not None)


class InvalidError(Exception):
    """A request is wrong; tells which."""


class LostError(Exception):
    """Says that the outcome of a batch is unknown, and names its requests."""


def lone_answer(ask: Ask) -> Any:
    """Return what a call that shares no batch gets: the request itself, or an error."""
    return ask if ask.good else InvalidError(ask)


def refuse_whole(asks: Sequence[Ask]) -> list[Any]:
    """Answer as Milvus does: one bad request fails all."""
    for ask in asks:
        if not ask.good:
            raise InvalidError(ask)
    return list(asks)


def refuse_each(asks: Sequence[Ask]) -> list[Any]:
    """Answer each request by itself."""
    return [lone_answer(ask) for ask in asks]


def lose(asks: Sequence[Ask]) -> list[Any]:
    """Lose the answer."""
    raise LostError(*asks)


def miscount(asks: Sequence[Ask]) -> list[Any]:
    """Answer with one result too many."""
    return [*asks, asks[0]]


WAYS = [refuse_whole, refuse_each, lose, miscount]


@dataclasses.dataclass
class Sent:
    """A batch that was sent."""

    asks: Sequence[Ask]
    gate: asyncio.Future[Callable[[Sequence[Ask]], list[Any]]]
    way: Callable[[Sequence[Ask]], list[Any]] | None = None
    cancelled: bool = False


def check_outcome(ask: Ask, call: asyncio.Task[Ask], *, aborted: bool) -> None:
    """Check that a call that wasn't cancelled got its own answer, or a failure of its own."""
    error = call.exception()
    if error is None:
        assert ask.good
        assert ask.is_answered_by(call.result())
    elif isinstance(error, InvalidError):
        assert not ask.good
        assert ask.is_answered_by(error.args[0])
    elif isinstance(error, LostError):
        assert any(ask.is_answered_by(other) for other in error.args)
    elif isinstance(error, BatcherClosedError):
        assert aborted
    else:
        assert isinstance(error, WrongNumberOfResultsError)


class Traffic(RuleBasedStateMachine):
    """Calls, cancellations and answers in any order; the loop turns when told."""

    @initialize(
        limits=st.builds(
            Limits,
            max_batch_size=st.integers(1, 4),
            max_batch_weight=st.none() | st.integers(1, 6),
            max_in_flight=st.integers(1, 3),
            max_queued=st.integers(1, 5),
        ),
        cancel_abandoned=st.booleans(),
    )
    def begin(self, limits: Limits, cancel_abandoned: bool) -> None:
        """Make a batcher."""
        self.loop = asyncio.new_event_loop()
        self.logged: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.logged.append(context))
        self.limits = limits
        self.reads = cancel_abandoned
        self.sent: list[Sent] = []
        self.calls: list[tuple[Ask, asyncio.Task[Ask]]] = []
        self.cancelled: set[asyncio.Task[Ask]] = set()
        self.aborted = False
        self.batcher = MicroBatcher[Ask, Ask](
            self.send,
            limits=limits,
            group_key=lambda ask: ask.group,
            weigh=lambda ask: ask.weight,
            identity=lambda ask: ask.identity,
            is_invalid=lambda error: isinstance(error, InvalidError),
            cancel_abandoned=cancel_abandoned,
        )

    async def send(self, asks: Sequence[Ask]) -> list[Any]:
        """Wait until a rule says how to answer."""
        batch = Sent(asks, self.loop.create_future())
        self.sent.append(batch)
        self.check_bounds(asks)
        try:
            batch.way = await batch.gate
        except asyncio.CancelledError:
            batch.cancelled = True
            assert self.aborted or (self.reads and self.abandoned(batch))
            raise
        return batch.way(asks)

    def check_bounds(self, asks: Sequence[Ask]) -> None:
        """Check what must hold of a batch when it is sent."""
        assert 1 <= len(asks) <= self.limits.max_batch_size
        assert len(self.open()) <= self.limits.max_in_flight
        assert len({ask.group for ask in asks}) == 1
        heaviest = self.limits.max_batch_weight or 1000
        assert len(asks) == 1 or sum(ask.weight for ask in asks) <= heaviest
        keys = [
            (ask.group, ask.identity)
            for batch in self.open()
            for ask in batch.asks
            if ask.shareable and (batch.asks is asks or not self.abandoned(batch))
        ]
        assert len(set(keys)) == len(keys)

    def open(self) -> list[Sent]:
        """Return the batches in flight."""
        return [batch for batch in self.sent if not batch.gate.done()]

    def abandoned(self, batch: Sent) -> bool:
        """Tell whether all who could wait for a batch were cancelled."""
        return all(
            call in self.cancelled or call.done()
            for ask, call in self.calls
            if any(ask.is_answered_by(other) for other in batch.asks)
        )

    @rule(
        asks=st.lists(
            st.builds(Ask, st.sampled_from("ab"), st.integers(0, 5), st.booleans()),
            min_size=1,
            max_size=8,
        )
    )
    def call(self, asks: list[Ask]) -> None:
        """Make calls."""
        for ask in asks:
            self.calls.append((ask, self.loop.create_task(self.batcher.submit(ask))))

    @precondition(lambda self: any(not call.done() for _, call in self.calls))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel some callers."""
        pending = [call for _, call in self.calls if not call.done()]
        for call in data.draw(st.lists(st.sampled_from(pending), min_size=1, unique=True)):
            assert call.cancel()
            self.cancelled.add(call)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), way=st.sampled_from(WAYS))
    def answer(self, data: st.DataObject, way: Callable[[Sequence[Ask]], list[Any]]) -> None:
        """Let a batch end in one of four ways."""
        data.draw(st.sampled_from(self.open())).gate.set_result(way)

    @rule(count=st.integers(1, 6))
    def turn(self, count: int) -> None:
        """Let the loop go round."""
        self.loop.run_until_complete(turns(count))

    @invariant()
    def bounds_hold(self) -> None:
        """Neither slots nor queue are ever exceeded."""
        if hasattr(self, "batcher"):
            assert self.batcher.stats.queued <= self.limits.max_queued
            assert self.batcher.stats.in_flight <= self.limits.max_in_flight

    @rule()
    def answer_all(self) -> None:
        """Let everything end: no caller is left waiting."""
        self.run_until(lambda: all(call.done() for _, call in self.calls))

    def run_until(self, ended: Callable[[], bool]) -> None:
        """Answer whatever is sent, until the end."""
        for _ in range(ROUNDS):
            if ended():
                return
            for batch in self.open():
                batch.gate.set_result(refuse_whole)
            self.loop.run_until_complete(turns(1))
        raise AssertionError("A caller waits for ever.")

    def teardown(self) -> None:
        """Close, drained or not; then look at all outcomes, and for anything left."""
        if not hasattr(self, "batcher"):
            return
        self.aborted = len(self.calls) % 2 == 1
        closing = self.loop.create_task(self.batcher.aclose(drain=not self.aborted))
        self.run_until(closing.done)
        self.run_until(lambda: all(call.done() for _, call in self.calls))
        for ask, call in self.calls:
            assert call.cancelled() == (call in self.cancelled)
            if not call.cancelled():
                check_outcome(ask, call, aborted=self.aborted)
        self.check_sent()
        self.check_nothing_left()

    def check_sent(self) -> None:
        """Check that only requests of invalid batches were sent again: alone, and once."""
        before: dict[Ask, Sent] = {}
        for batch in self.sent:
            for ask in batch.asks:
                if ask in before:
                    first = before[ask]
                    assert first.way is refuse_whole
                    assert len(first.asks) > len(batch.asks) == 1
                    assert not all(other.good for other in first.asks)
                before[ask] = batch

    def check_nothing_left(self) -> None:
        """Check that no task, future, entry or unseen error is left."""
        assert not asyncio.all_tasks(self.loop)
        stats, waiting = self.batcher.stats, self.batcher._waiting
        assert (stats.waiting, stats.queued, stats.in_flight) == (0, 0, 0)
        assert (waiting.alone, waiting._groups, self.batcher._unanswered) == ({}, {}, {})
        self.loop.close()
        gc.collect(0)
        assert not self.logged


Traffic.TestCase.settings = settings(max_examples=300, stateful_step_count=30)


class TestTraffic(Traffic.TestCase):  # type: ignore[misc]
    """Whatever the interleaving, each caller gets what a lone call would have got."""


class Swarm:
    """Thousands of mixed calls; some are cancelled, some fail."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.batcher = MicroBatcher[Ask, Ask](
            self.send,
            limits=Limits(max_batch_size=50, max_batch_weight=60, max_queued=200),
            group_key=lambda ask: ask.group,
            weigh=lambda ask: ask.weight,
            identity=lambda ask: ask.identity,
            is_invalid=lambda error: isinstance(error, InvalidError),
            cancel_abandoned=True,
        )

    async def send(self, asks: Sequence[Ask]) -> list[Any]:
        """Answer after some turns of the loop, now and then not at all."""
        self.in_flight += 1
        try:
            assert self.in_flight <= 4
            assert self.batcher.stats.queued <= 200
            await turns(self.random.randrange(5))
        finally:
            self.in_flight -= 1
        return self.random.choices(WAYS[:3], [6, 3, 1])[0](asks)

    async def call(self, number: int) -> None:
        """Make a call, and check its outcome."""
        bad_or_not = 3 if number % 50 == 0 else number % 3
        ask = Ask("abc"[number % 7 % 3], bad_or_not, number % 5 == 0)
        call = asyncio.create_task(self.batcher.submit(ask))
        if number % 11 == 0:
            await turns(1 + number % 12)
            call.cancel()
        await asyncio.wait([call])
        if not call.cancelled():
            check_outcome(ask, call, aborted=False)
        self.outcomes["cancelled" if call.cancelled() else str(type(call.exception()))] += 1

    async def calls(self, numbers: Sequence[int]) -> None:
        """Make calls at once."""
        await asyncio.gather(*map(self.call, numbers))


@pytest.mark.usefixtures("nothing_left")
async def test_ten_thousand_mixed_calls_on_one_loop() -> None:
    """All of them end, each with its own answer, and nothing is left."""
    swarm = Swarm(seed=1)
    for start in range(0, 10_000, 2500):
        await swarm.calls(range(start, start + 2500))
    await swarm.batcher.aclose()
    assert swarm.outcomes.total() == swarm.batcher.stats.calls == 10_000
    assert len(swarm.outcomes) == 4
    assert swarm.batcher.stats.batches < 5000


def test_ten_thousand_mixed_calls_from_several_loops_and_threads() -> None:
    """Callers anywhere share batches on the I/O loop; no task, future or thread is left."""
    portal, swarm, before = Portal(), Swarm(seed=2), threading.active_count()
    portal.acquire()
    threads = [
        threading.Thread(target=asyncio.run, args=[_calls_from_elsewhere(portal, swarm, start)])
        for start in range(0, 8000, 2000)
    ]
    threads += [
        threading.Thread(target=_sync_calls, args=[portal, swarm, start]) for start in (8000, 9000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    portal.run_sync(swarm.batcher.aclose())
    loop = portal._loop
    join(portal.release())
    assert swarm.outcomes.total() == swarm.batcher.stats.calls == 10_000
    assert not asyncio.all_tasks(loop)
    assert threading.active_count() == before
    loop.close()


async def _calls_from_elsewhere(portal: Portal, swarm: Swarm, start: int) -> None:
    calls = [portal.run(swarm.call(number)) for number in range(start, start + 2000)]
    await asyncio.gather(*calls)


def _sync_calls(portal: Portal, swarm: Swarm, start: int) -> None:
    for number in range(start, start + 1000):
        portal.run_sync(swarm.call(number))
