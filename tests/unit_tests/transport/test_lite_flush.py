"""When Milvus Lite flushes, without it."""

import asyncio
import collections
import logging
import pathlib
import shutil

import numpy as np
import pytest

from milvus_tools.transport.connection import Connection
from milvus_tools.transport.lite_flush import Flusher, Unflushed, unflushed
from milvus_tools.transport.requests import weight
from tests.helpers.batching import nothing_left, turns

__all__ = ["nothing_left"]  # a fixture
ROW = {"pk": "1", "vector": np.zeros(8, dtype=np.float32)}
HEAVY = {"pk": "1", "vector": np.zeros(1_000_000, dtype=np.float32)}


@pytest.mark.parametrize(
    ("rows", "searches", "due"),
    [
        (0, 10_000, False),
        (999, 0, False),
        (1_000, 0, True),
        (100, 35, False),
        (100, 36, True),
        (10, 395, False),
        (10, 396, True),
    ],
)
def test_a_flush_is_due_when_searches_have_lost_what_it_takes(
    rows: int, searches: int, *, due: bool
) -> None:
    """Many rows at once, or few that are searched often."""
    state = Unflushed()
    state.wrote([ROW] * rows)
    for _ in range(searches):
        state.searched()
    assert state.due is due


async def test_a_flush_waits_for_the_end_of_the_writing() -> None:
    """As long as a call writes, more may come; afterwards counting begins anew."""
    state = Unflushed()
    with state.growing():
        with state.growing():
            state.wrote([ROW] * 5_000)
            assert not state.due
        assert not state.due
    assert state.due
    async with state.flushing():
        assert not state.due
    assert not state.due


def test_a_load_is_flushed_before_milvus_lite_would_do_so_itself() -> None:
    """By weight, though the writing goes on: beside its own flush reads miss rows."""
    state = Unflushed()
    with state.growing():
        for _ in range(3):
            state.wrote([HEAVY])
        assert not state.due  # 12 MB
        state.wrote([HEAVY] * 2)
        assert state.due


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("kite", 4, 4),
        ("鳶" * 100, 300, 300),
        (["y" * 1_000] * 3, 3_000, 3_100),
        ({"a": {"b": ["y" * 1_000, 1, None]}}, 1_000, 1_100),
        ("\ud800", 3, 3),
        (np.zeros(8, dtype=np.float32), 32, 32),
    ],
)
def test_the_weight_of_a_value_is_that_of_all_that_is_in_it(
    value: object, least: int, most: int
) -> None:
    """Requests are packed by it: what is heavy inside must not make others fail."""
    assert least <= weight(value) <= most
    assert least + 4 <= weight({"name": value}) <= most + 4


async def test_nothing_is_read_while_it_flushes(nothing_left: None) -> None:
    """A flush waits for the reads under way, and those that come wait for it."""
    state, events = Unflushed(), collections.deque[str]()
    first = asyncio.Event()

    async def read(name: str, until: asyncio.Event | None = None) -> None:
        async with state.reading():
            events.append(f"{name} begins")
            if until is not None:
                await until.wait()
            events.append(f"{name} ends")

    async def flush() -> None:
        async with state.flushing():
            events.append("flush begins")
            await turns()
            events.append("flush ends")

    tasks = [asyncio.create_task(read("early", first))]
    await turns()
    tasks.append(asyncio.create_task(flush()))
    await turns()
    tasks.append(asyncio.create_task(read("late")))
    await turns()
    assert list(events) == ["early begins"]
    first.set()
    await asyncio.gather(*tasks)
    assert list(events)[1:] == [
        "early ends",
        "flush begins",
        "flush ends",
        "late begins",
        "late ends",
    ]


async def test_a_flush_that_is_given_up_lets_reads_go_on(nothing_left: None) -> None:
    """Cancelled while it waits, it leaves the way free."""
    state = Unflushed()
    async with state.reading():
        waiting = asyncio.create_task(state.flushing().__aenter__())
        await turns()
        waiting.cancel()
        await asyncio.wait([waiting])
        async with state.reading():
            await turns()


def connection(tmp_path: pathlib.Path) -> Connection:
    """Return the connection to a file that is not open."""
    path = tmp_path / "never opened.db"
    path.mkdir()
    return Connection({"uri": str(path)})


async def test_a_flush_in_the_background_that_fails_is_logged(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails no call, and is not tried again at once."""
    flusher = Flusher(connection(tmp_path), "any")
    flusher.allowed = True
    flusher.unflushed.wrote([ROW] * 1_000)
    flusher.flush_if_due()
    flusher.flush_if_due()
    await flusher.aclose()
    await turns()
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "not open" in record.getMessage()
    assert not flusher.unflushed.due
    with pytest.raises(RuntimeError, match="not open"):
        await flusher.flush()


async def test_nothing_is_flushed_on_a_disk_that_is_nearly_full(
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Milvus Lite loses rows that it fails to flush, so it is not asked to; the log says so."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    flusher = Flusher(connection(tmp_path), "any")
    flusher.allowed = True
    await flusher.flush()
    (record,) = caplog.records
    assert "nearly full" in record.getMessage()


async def test_stores_on_one_file_share_what_is_known_of_a_collection(
    tmp_path: pathlib.Path,
) -> None:
    """A flush of one concerns the reads of the other; other collections go their own way."""
    one = connection(tmp_path)
    other = Connection({"uri": one.identity[0]})
    assert Flusher(one, "a").unflushed is not (kept := unflushed(one, "b"))
    assert unflushed(other, "b") is kept
