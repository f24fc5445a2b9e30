"""Keys, as they are cut into requests."""

from hypothesis import given
from hypothesis import strategies as st

from milvus_tools.transport.requests import MAX_KEY_WEIGHT, Keys, key_weight
from tests.helpers.generated_values import texts

MAX_KEY = 65_535  # bytes, the most that a VARCHAR holds


def repeated(text: str, size: int) -> str:
    """Return a key of so many characters."""
    return (text * size)[:size]


short_keys = st.lists(texts(), max_size=20)
long_keys = st.builds(repeated, st.text('x"\\\n\u20ac', min_size=1), st.integers(1, 20_000))


@given(short_keys | st.lists(long_keys, max_size=40) | st.lists(st.integers(-(2**62), 2**62)))
def test_r05_keys_are_cut_by_their_bytes(keys: list[str | int]) -> None:
    """The expression of each batch is bounded, and the batches hold all keys, in order."""
    cut = list(Keys("pk", tuple(keys)).batches())
    assert [key for one in cut for key in one.values] == keys
    assert all(len(one.within("").encode()) <= one.weight + len("pk in []") for one in cut)
    assert all(one.weight <= MAX_KEY_WEIGHT or len(one.values) == 1 for one in cut)


@given(st.integers(0, 5_000))
def test_r05_short_keys_are_cut_by_their_number(count: int) -> None:
    """A request takes 1000 short keys."""
    cut = list(Keys("pk", tuple(map(str, range(count)))).batches())
    assert [len(one.values) for one in cut[:-1]] == [1_000] * ((count - 1) // 1_000)
    assert sum(len(one.values) for one in cut) == count


def test_r05_an_escaped_key_weighs_what_is_sent() -> None:
    """Quotes and backslashes take two bytes each in an expression."""
    assert key_weight('"' * MAX_KEY) == 2 * MAX_KEY + len('"", ')
    assert key_weight("\u20ac" * 100) == 300 + len('"", ')
