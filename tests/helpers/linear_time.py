"""Checks that work is linear in its input: by comparing sizes, never by a fixed time."""

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Input = TypeVar("Input")

SIZES = (256, 1_024, 4_096, 16_384, 65_536)
# Each size is 4 times the one before: linear work takes 4 times as long, quadratic work 16 times.
MOST_GROWTH = 9
# Work that is as short as this on the largest input has nothing to compare.
_SHORT = 0.05
_REPEATS = 3


def is_linear(
    work: Callable[[Input], Any], made: Callable[[int], Input], sizes: Sequence[int] = SIZES
) -> bool:
    """Tell whether a function's work grows no faster than its input.

    Processor time of this thread is compared, so that other processes don't count, and of some
    repetitions the shortest, which no interruption has lengthened.

    Args:
        work: The function.
        made: Makes an input of a size.
        sizes: Sizes, each 4 times the one before. Work that grows too fast is found at the first
            of them, and never begun with the last.
    """
    inputs = [made(size) for size in sizes]
    for small, large in itertools.pairwise(inputs):
        if all(_grows(work, small, large) for _ in range(2)):
            return False
    return True


def _grows(work: Callable[[Input], Any], small: Input, large: Input) -> bool:
    """Tell whether an input takes too long beside a quarter of it."""
    if once(work, large) < _SHORT:
        return False
    return _shortest(work, large) > MOST_GROWTH * _shortest(work, small)


def _shortest(work: Callable[[Input], Any], given: Input) -> float:
    return min(once(work, given) for _ in range(_REPEATS))


def once(work: Callable[[Input], Any], given: Input) -> float:
    """Return the processor time of one call, without collecting garbage that others left."""
    gc.disable()
    try:
        start = time.thread_time()
        work(given)
        return time.thread_time() - start
    finally:
        gc.enable()
