"""Entries that wait: who is next, whoever comes and leaves."""

from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.batching.types import Limits
from milvus_tools.batching.waiting import AnyEntry, Batch, Entry, Waiting

STEPS = st.lists(st.sampled_from(["add a", "add b", "add b", "fill", "leave"]), max_size=60)


@given(STEPS, st.integers(1, 4), st.integers(1, 3), st.data())
def test_the_oldest_entries_are_next(
    steps: list[str], queued: int, size: int, data: st.DataObject
) -> None:
    """Line and queue have all entries in their order; the line is empty while there is room."""
    waiting = Waiting(Limits(max_queued=queued, max_batch_size=size))
    expected: list[AnyEntry] = []
    for number, step in enumerate(steps):
        if step.startswith("add"):
            expected.append(Entry(number, step, None, 1.0))
            waiting.add(expected[-1])
        elif step == "leave" and expected:
            assert waiting.remove(expected.pop(data.draw(st.integers(0, len(expected) - 1))))
        elif step == "fill":
            batch = Batch()
            waiting.fill(batch)
            of_oldest = [one for one in expected[:queued] if one.group == expected[0].group]
            assert batch.entries == of_oldest[:size]
            expected = [one for one in expected if one not in batch.entries]
        assert [*waiting.queue, *waiting.line] == expected
        assert not waiting.line or len(waiting.queue) == queued
    assert waiting.take_all() == expected
