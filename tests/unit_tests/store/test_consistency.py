"""The log of a store's deletes."""

from milvus_tools.store import consistency
from milvus_tools.store.consistency import DeleteLog


def test_a_key_that_went_after_the_reading_began_is_known() -> None:
    """Deletes before the read are not in the answer: the read did not see their rows."""
    log = DeleteLog()
    with log.reading() as first:
        log.note(["a"])
        with log.reading() as second:
            log.note(["b"])
            assert [log.has(key, first) for key in "abc"] == [True, True, False]
            assert [log.has(key, second) for key in "abc"] == [False, True, False]


def test_nothing_is_kept_when_nobody_reads() -> None:
    """The log is empty once no delete is under way."""
    log = DeleteLog()
    log.note(["before"])
    with log.reading() as since:
        log.note(["a"])
    assert not log._gone
    assert not log.has("a", since)


def test_a_long_log_keeps_what_somebody_still_needs() -> None:
    """With deletes always under way, keys older than the oldest of them are forgotten."""
    log = DeleteLog()
    with log.reading():
        log.note(range(consistency._MANY + 1))
        with log.reading() as since:
            log.note(["late"])
        assert log.has("late", since)
    assert not log._gone
