"""Long work of our own, off the I/O loop: it belongs to all stores."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from milvus_tools._io.loop import portal
from milvus_tools.filters.guard import checked

Result = TypeVar("Result")

LONG: Final = 4_096
"""From how many characters on a text is worth a thread: it takes milliseconds to read."""


async def unhurried(size: int, work: Callable[..., Result], *given: Any) -> Result:
    """Do work, in a thread if what it reads is long."""
    return work(*given) if size < LONG else await portal().computing.run(work, *given)


async def read_expression(expression: str | None) -> str:
    """Return what `filters.checked` does of a raw expression.

    Raises:
        FilterError: If it can't be joined with others.
    """
    return await unhurried(length(expression), checked, expression)


def length(expression: object) -> int:
    """Return how long an expression is, if it is one."""
    return len(expression) if isinstance(expression, str) else 0
