"""Trying again what a service was too busy for."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import tenacity

from milvus_tools.embeddings.failures import is_transient, retry_after

Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[None]]

_LONGEST_SECONDS: Final = 20.0
# A random part of 1 s, 2 s, 4 s, …: callers who failed together don't come back together.
_backoff = tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_SECONDS)


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """The policy by which a request is sent again: how often, and for how long.

    Attributes:
        retries: The most attempts after the first.
        seconds: Since the first attempt; no attempt begins later.
        sleep: Waits between attempts.
    """

    retries: int
    seconds: float = 60.0
    sleep: Sleep = asyncio.sleep

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries must be a whole number from 0, not {self.retries!r}.")
        if not self.seconds > 0:
            raise ValueError(f"retry_seconds must be above 0, not {self.seconds!r}.")

    async def run(self, call: Callable[..., Awaitable[Result]], *args: Any) -> Result:
        """Await a call, and again after an error that may pass; raise the last error as it is."""
        if self.retries == 0:
            return await call(*args)

        # tenacity awaits the calls of an `async def` alone: a lambda's would be left.
        async def attempt() -> Result:
            return await call(*args)

        # Made for each call, because tenacity keeps the state of a call in it.
        retrying = tenacity.AsyncRetrying(
            sleep=self.sleep,
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=_wait,
            retry=self._is_worth_it,
            reraise=True,
        )
        return await retrying(attempt)

    def _is_worth_it(self, state: tenacity.RetryCallState) -> bool:
        error = _error(state)
        if error is None or not is_transient(error):
            return False
        # A wait that would end too late is not begun.
        return (state.seconds_since_start or 0.0) + (retry_after(error) or 0.0) < self.seconds


def _wait(state: tenacity.RetryCallState) -> float:
    error = _error(state)
    asked = None if error is None else retry_after(error)
    return _backoff(state) if asked is None else asked


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
