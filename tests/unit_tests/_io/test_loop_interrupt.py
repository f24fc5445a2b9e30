"""Ctrl-C in a sync call."""

import asyncio
import signal
import threading

import pytest

from milvus_tools._io.loop import Portal, join
from tests.helpers.support import ctrl_c_interrupts

SECONDS = 30.0


def test_ctrl_c_reaches_the_work() -> None:
    """Who interrupts a sync call interrupts what runs for it."""
    held = Portal()
    held.acquire()
    began, ended = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        began.wait(SECONDS)
        signal.pthread_kill(main, signal.SIGINT)

    async def work() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    thread = threading.Thread(target=interrupt)
    with ctrl_c_interrupts():
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            held.run_sync(work())
        thread.join(SECONDS)
    assert ended.wait(SECONDS)
    join(held.release())
    held._loop.close()
