"""The micro-batcher.

1. `submit` queues a request, or joins it to an identical one that has no result yet.
2. `_advance` starts the task of a batch, if a slot is free and none is about to begin.
3. `_carry_out` begins at the end of the tick. Only then does it fill the batch, start and fill
   others if there is more than fits, and send it.
4. `_finish` hands out the outcome of a batch, and goes on with step 2.
"""

import asyncio
import contextvars
import functools
import logging
import operator
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Final, Generic

from milvus_tools.batching.types import (
    BatchCancelledError,
    BatcherClosedError,
    BatcherStats,
    BatchInfo,
    Limits,
    WrongLoopError,
    WrongNumberOfResultsError,
    copy_error,
)
from milvus_tools.batching.waiting import Batch, Entry, Failure, Request, Result, Waiting

_logger = logging.getLogger(__name__)
_REQUEST: Final = operator.attrgetter("request")


class MicroBatcher(Generic[Request, Result]):
    """Sends requests that are made in the same tick of the event loop together.

    There is no timer: a lone request waits only for the end of the tick. While all slots are
    busy, requests queue up, and they go out together when a slot is free. A batcher belongs to
    the event loop of its first call. When idle, it has no task, and nothing keeps it alive.

    Each batch runs in an empty context, as a new thread would: what one caller keeps in context
    variables, such as its trace, must not see the requests of the others.

    **Usage**:

    ```python
    batcher = MicroBatcher(embed_many, limits=Limits(max_batch_size=64))
    vectors = await asyncio.gather(*(batcher.submit(text) for text in texts))
    await batcher.aclose()
    ```
    """

    def __init__(
        self,
        send: Callable[[Sequence[Request]], Awaitable[Sequence[Result | BaseException]]],
        *,
        limits: Limits | None = None,
        group_key: Callable[[Request], Hashable] | None = None,
        weigh: Callable[[Request], float] | None = None,
        identity: Callable[[Request], Hashable | None] | None = None,
        is_invalid: Callable[[Exception], bool] = lambda _: False,
        cancel_abandoned: bool = False,
        on_batch: Callable[[BatchInfo], None] | None = None,
    ) -> None:
        """Configure how requests become batches.

        Args:
            send: Sends a batch, and returns one result per request, in order; a result that is
                an exception fails the callers of its request.
            limits: The bounds.
            group_key: Only requests of equal keys share a batch. `None` puts all in one group.
            weigh: What a request counts towards `max_batch_weight`. `None` counts each as 1.
            identity: Requests of one group and of equal identity are sent once as long as there
                is no result, and all their callers get the same object; an identity of `None` is
                never shared. A read that joins another sees only what was written before the
                other was sent.
            is_invalid: Whether an error of `send` says that a request of the batch is wrong and
                nothing was done. Then each request is sent once more, by itself; after any other
                error, nothing is sent twice.
            cancel_abandoned: Whether to cancel a batch in flight when its last caller has left:
                right for reads; a write is better finished.
            on_batch: Called after each batch; what it raises is logged.
        """
        self._send = send
        self._group_key = group_key
        self._weigh = weigh
        self._identity = identity
        self._is_invalid = is_invalid
        self._cancel_abandoned = cancel_abandoned
        self._on_batch = on_batch
        self._limits = limits or Limits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = Waiting(self._limits)
        self._unanswered: dict[Hashable, Entry[Request, Result]] = {}
        self._running: dict[Batch, asyncio.Task[None]] = {}
        self._next: Batch | None = None  # has a task, and is filled when that begins
        self._closed: BaseException | None = None
        self._ended = asyncio.Event()
        self._calls = self._shared = self._batches = self._largest = 0

    @property
    def stats(self) -> BatcherStats:
        """Counts of the work so far, and of the requests under way."""
        return BatcherStats(
            calls=self._calls,
            shared=self._shared,
            batches=self._batches,
            largest_batch=self._largest,
            waiting=len(self._waiting.line),
            queued=len(self._waiting.queue),
            in_flight=len(self._running),
        )

    async def submit(self, request: Request) -> Result:
        """Send a request, together with others if there are any.

        Args:
            request: The request.

        Returns:
            What `send` returned for it.

        Raises:
            BaseException: What `send` gave for it, or raised for its batch. If other callers
                get that error too, each gets a copy with the same cause and traceback.
            BatcherError: If the batcher is closed, belongs to another loop, or got no results
                or the wrong number.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        if self._closed is not None:
            raise copy_error(self._closed)
        entry = self._entry(request)
        future = entry.join(loop)
        try:
            outcome = await future
        except asyncio.CancelledError:
            if entry.leave(future):
                self._abandon(entry)
            raise
        if isinstance(outcome, Failure):
            raise outcome.take()
        return outcome

    async def aclose(self, *, drain: bool = True, error: BaseException | None = None) -> None:
        """Refuse new calls, and return when nothing is under way any more.

        Args:
            drain: Whether to finish first what waits and what is in flight. Otherwise it is
                cancelled, and its callers get `error` at once.
            error: What callers get from now on, in place of a `BatcherClosedError`.

        Raises:
            WrongLoopError: If the batcher belongs to another loop.
        """
        if self._loop is not None:
            self._bind(asyncio.get_running_loop())
        # A second closing without an error keeps the error that the first was given.
        if self._closed is None or error is not None:
            self._closed = error or BatcherClosedError("The batcher is closed; make a new one.")
        if not drain:
            self._abort(self._closed)
        # If nothing is under way, no batch will end and set the event.
        self._advance()
        await self._ended.wait()

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise WrongLoopError(
                "This batcher belongs to the event loop of its first call: call it there, or "
                "make a batcher for each loop."
            )

    def _entry(self, request: Request) -> Entry[Request, Result]:
        """Return the entry of an identical request, or a new one."""
        # First all that may raise: a request without keys or weight leaves nothing behind.
        group = None if self._group_key is None else self._group_key(request)
        identity = None if self._identity is None else self._identity(request)
        entry = self._unanswered.get((group, identity))
        if entry is not None:
            self._shared += 1
        else:
            weight = 1.0 if self._weigh is None else float(self._weigh(request))
            entry = Entry(request, group, identity, weight)
            if identity is not None:
                self._unanswered[group, identity] = entry
            self._waiting.add(entry)
            self._advance()
        self._calls += 1
        return entry

    def _forget(self, entries: Iterable[Entry[Request, Result]]) -> None:
        """Let no identical request join these entries any more."""
        for entry in entries:
            key = (entry.group, entry.identity)
            # A cancelled batch may end late, when a newer identical request has taken the place.
            if entry.identity is not None and self._unanswered.get(key) is entry:
                del self._unanswered[key]

    def _advance(self) -> None:
        """Start a batch at the end of the tick if a slot is free, or note that all has ended."""
        if self._waiting.queue or self._waiting.alone:
            if self._next is None and len(self._running) < self._limits.max_in_flight:
                self._next = batch = Batch()
                task = asyncio.get_running_loop().create_task(
                    self._carry_out(batch), context=contextvars.Context()
                )
                self._running[batch] = task
                # A callback, because a task that is cancelled before it begins runs no `finally`.
                task.add_done_callback(functools.partial(self._note_cancelled, batch))
        elif self._closed is not None and not self._running:
            self._ended.set()

    async def _carry_out(self, batch: Batch) -> None:
        """Fill and send a batch, and hand out its outcome; in one task, as a tick costs time."""
        if batch is self._next:
            self._next = None
            self._waiting.fill(batch)
            if self._waiting.queue or self._waiting.alone:
                self._start_others()
        try:
            outcomes = await self._attempt(batch)
        except Exception as error:  # noqa: BLE001 - it goes to the callers
            self._finish(batch, [error] * len(batch.entries), error)
        else:
            self._finish(batch, outcomes)

    def _start_others(self) -> None:
        """Start batches with what did not fit, and fill them now, so that all go out together."""
        self._advance()
        while self._next is not None:
            self._waiting.fill(self._next)
            self._next = None
            self._advance()

    async def _attempt(self, batch: Batch) -> list[Result | BaseException]:
        """Send a batch, without the requests whose callers have left by now."""
        if abandoned := batch.drop_abandoned():
            self._forget(abandoned)
        if not batch.entries:
            return []
        batch.started = asyncio.get_running_loop().time()
        self._batches += 1
        self._largest = max(self._largest, len(batch.entries))
        try:
            results = list(await self._send([*map(_REQUEST, batch.entries)]))
        except Exception as error:
            # A lone request was sent by itself already.
            batch.invalid = len(batch.entries) > 1 and self._is_invalid(error)
            raise
        if len(results) != len(batch.entries):
            raise WrongNumberOfResultsError(len(batch.entries), len(results))
        return results

    def _note_cancelled(self, batch: Batch, task: asyncio.Task[None]) -> None:
        """Finish a batch whose task was cancelled, which may not even have begun."""
        if batch in self._running:
            self._next = None if batch is self._next else self._next
            cancelled = BatchCancelledError("The batch was cancelled; its outcome is unknown.")
            error = (None if task.cancelled() else task.exception()) or cancelled
            self._finish(batch, [error] * len(batch.entries), error)

    def _finish(
        self,
        batch: Batch,
        outcomes: Sequence[Result | BaseException],
        error: BaseException | None = None,
    ) -> None:
        """Hand out the outcome of a batch, and use the slot that is free now."""
        del self._running[batch]
        if batch.invalid:
            # Not forgotten: they have no result yet, so identical requests may still join them.
            self._waiting.add_alone(batch.entries)
        else:
            self._forget(batch.entries)
            batch.settle(outcomes)
        self._advance()
        if self._on_batch is not None:
            contextvars.Context().run(_report, self._on_batch, batch, error)

    def _abandon(self, entry: Entry[Request, Result]) -> None:
        """Don't send a request without callers; cancel a batch without callers, if told to."""
        if self._waiting.remove(entry):
            self._forget([entry])
            # `aclose` may be waiting for this request to leave.
            self._advance()
        elif self._cancel_abandoned and entry.batch in self._running and not entry.batch.callers:
            # Before it has ended: an identical request that comes meanwhile must be sent anew.
            self._forget(entry.batch.entries)
            self._running[entry.batch].cancel()

    def _abort(self, error: BaseException) -> None:
        """Fail all callers, and cancel what is in flight."""
        entries = self._waiting.take_all()
        for batch, task in self._running.items():
            entries += batch.entries
            task.cancel()
        self._forget(entries)
        # Not when the batches end: one that resists its cancellation would hold up its callers.
        for entry in entries:
            entry.fail(error, shared=True)


def _report(
    on_batch: Callable[[BatchInfo], None], batch: Batch, error: BaseException | None
) -> None:
    if batch.started is None:
        return  # it was never sent
    seconds = asyncio.get_running_loop().time() - batch.started
    try:
        on_batch(BatchInfo(batch.entries[0].group, len(batch.entries), seconds, error))
    except Exception:
        _logger.exception("The hook of a batcher failed; the batch's results are not lost.")
