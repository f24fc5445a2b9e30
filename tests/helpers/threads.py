"""Threads and processes of tests, and their ends."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

BOUND = 30.0  # seconds within which whatever ends at all has ended


async def happens(event: threading.Event) -> bool:
    """Tell whether an event of another thread happens, without blocking the loop."""
    return await asyncio.to_thread(event.wait, BOUND)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Make each call in a thread of its own, all at once; return or raise what they do."""
    results: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def call(number: int) -> None:
        barrier.wait(BOUND)
        try:
            results[number] = calls[number]()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@contextlib.contextmanager
def no_new_threads() -> Iterator[None]:
    """Demand that the threads which start inside have ended soon after."""
    before = set(threading.enumerate())
    yield
    gc.collect()  # gRPC's poller ends when its last object is gone
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("asyncio_"):
            continue  # of the test's own loop
        thread.join(BOUND)
        assert not thread.is_alive(), f"{thread.name} was left behind"


def run_python(program: str, *arguments: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
