"""What a `Lifecycle` makes, once, and closes, once."""

import asyncio
import copy
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from milvus_tools._io.lifecycle import Lifecycle
from milvus_tools._io.loop import THREAD_NAME, run_sync
from milvus_tools.errors import UncopyableError

SECONDS = 30.0  # within which whatever ends at all has ended


class ClosedError(Exception):
    """The error of a call after the end."""


class Resource:
    """Notes what happens to it."""

    def __init__(self, first: bool) -> None:
        self.first = first
        self.closings = 0
        self.closed = threading.Event()

    async def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def close(self) -> None:
        self.closings += 1
        self.closed.set()


@pytest.fixture
def made() -> Iterator[list[Resource]]:
    """The resources that were made; no thread is left when the test is over."""
    yield []
    for thread in threading.enumerate():
        if thread.name.startswith(THREAD_NAME):
            thread.join(SECONDS)
            assert not thread.is_alive()


def lifecycle_of(made: list[Resource], *, held: bool = True) -> Lifecycle[Resource]:
    """Return a life cycle whose resources are noted."""

    def make(first: bool) -> Resource:
        made.append(Resource(first))
        return made[-1]

    return Lifecycle(make, ClosedError, held_from_io_loop=held)


def is_held() -> bool:
    """Tell whether the I/O loop's thread goes on between calls."""
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


async def test_all_calls_meet_one_resource_on_one_loop(made: list[Resource]) -> None:
    """It is made at the first of them, on whichever loop or thread that is."""
    lifecycle = lifecycle_of(made)
    assert (made, lifecycle.resource) == ([], None)
    loops = await asyncio.gather(*(lifecycle.run(Resource.loop) for _ in range(9)))
    loops.append(await asyncio.to_thread(lifecycle.run_sync, Resource.loop))
    assert len(set(loops)) == len(made) == 1
    assert loops[0] is not asyncio.get_running_loop()
    assert made[0].first
    await lifecycle.aclose()


async def test_it_is_closed_once_and_refuses_calls(made: list[Resource]) -> None:
    """Its statistics can still be read."""
    lifecycle = lifecycle_of(made)
    await lifecycle.run(Resource.loop)
    await asyncio.gather(
        lifecycle.aclose(), lifecycle.aclose(), asyncio.to_thread(lifecycle.close)
    )
    for call in (
        lifecycle.run(Resource.loop),
        asyncio.to_thread(lifecycle.run_sync, Resource.loop),
    ):
        with pytest.raises(ClosedError):
            await call
    assert lifecycle.resource is made[0]
    assert (len(made), made[0].closings) == (1, 1)


def test_closing_what_was_never_used_makes_nothing(made: list[Resource]) -> None:
    """Nor does it start a thread."""
    lifecycle = lifecycle_of(made)
    lifecycle.close()
    assert made == []
    with pytest.raises(ClosedError):
        lifecycle.run_sync(Resource.loop)


def test_what_is_forgotten_is_closed(made: list[Resource]) -> None:
    """By the garbage collector, without waiting."""
    lifecycle = lifecycle_of(made)
    lifecycle.run_sync(Resource.loop)
    assert is_held()
    del lifecycle
    gc.collect()
    assert made[0].closed.wait(SECONDS)


@pytest.mark.parametrize("held", [True, False])
def test_a_call_from_the_io_loop_holds_its_thread_only_if_told(
    made: list[Resource], *, held: bool
) -> None:
    """Embeddings that only a store uses must not outlive it, whether or not they are closed."""
    lifecycle = lifecycle_of(made, held=held)

    async def story() -> None:
        await lifecycle.run(Resource.loop)

    run_sync(story())
    if not held:
        for thread in threading.enumerate():
            if thread.name.startswith(THREAD_NAME):
                thread.join(SECONDS)
    assert is_held() == held
    lifecycle.close()
    assert made[0].closings == 1


def test_waiting_on_the_io_loop_itself_is_refused(made: list[Resource]) -> None:
    """A sync call or close would wait for itself; nothing is made for it."""
    lifecycle = lifecycle_of(made)

    async def story() -> None:
        for call in (lambda: lifecycle.run_sync(Resource.loop), lifecycle.close):
            with pytest.raises(RuntimeError, match="I/O loop"):
                call()

    run_sync(story())
    assert made == []


def test_what_is_forgotten_may_be_closed_in_another_way(made: list[Resource]) -> None:
    """The garbage collector has it made what closes the resource, at once."""
    told: list[Resource] = []

    def forget(resource: Resource) -> Any:
        told.append(resource)
        return resource.close()

    lifecycle = Lifecycle(
        lambda first: made.append(Resource(first)) or made[-1],
        ClosedError,
        held_from_io_loop=True,
        forget=forget,
    )
    lifecycle.run_sync(Resource.loop)
    del lifecycle
    gc.collect()
    assert told == made
    assert made[0].closed.wait(SECONDS)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_r23_what_holds_connections_is_not_copied(
    made: list[Resource], capfd: pytest.CaptureFixture[str], copied: Callable[[Any], Any]
) -> None:
    """It is refused with a sentence, and no half of it is left to be collected."""
    lifecycle = lifecycle_of(made)
    lifecycle.run_sync(Resource.loop)
    with pytest.raises(TypeError, match="Lifecycle can't be copied or pickled") as raised:
        copied({"of": lifecycle})
    assert isinstance(raised.value, UncopyableError)
    lifecycle.close()
    del lifecycle, raised
    gc.collect()
    assert capfd.readouterr().err == ""
