"""The vectors that embedding models make, and the functions that make them."""

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = list[float] | NDArray[np.float32]
Embed = Callable[[list[str]], Awaitable[Sequence[Vector]]]


def as_list(vector: Vector) -> list[float]:
    """Return a vector as LangChain's interface has it."""
    return vector if isinstance(vector, list) else vector.tolist()
