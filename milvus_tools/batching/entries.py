"""A request and the callers who wait for it; how its result or error reaches each of them."""

import asyncio
import contextlib
import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")
Error = TypeVar("Error", bound=BaseException)


class Failure:
    """An error on its way to one caller.

    A future that held the error as its own would log it if the caller no longer came for it.
    """

    __slots__ = ("_held",)

    def __init__(self, error: BaseException) -> None:
        """Hold an error."""
        self._held = [error]

    def take(self) -> BaseException:
        """Let go of the error: if the frame that raises it also held it, that were a cycle."""
        return self._held.pop()


@dataclasses.dataclass(eq=False, slots=True)
class Entry(Generic[Request, Result]):
    """A request, and a future for each of the callers who wait for its result.

    Attributes:
        request: The request.
        group: Only entries of equal group share a batch.
        identity: What an identical request of the group has too, or `None`.
        weight: What it counts towards a batch's weight.
        place: Where it waits, if it does.
        batch: The batch that it was last sent in, if it was.
        answers: The callers' futures, as an ordered set.
    """

    request: Request
    group: Hashable
    identity: Hashable | None
    weight: float
    place: "Entries | None" = None
    batch: "Batch | None" = None
    answers: dict[asyncio.Future[Result | Failure], None] = dataclasses.field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether a caller is left; one that was cancelled in this very tick is not."""
        return any(not answer.done() for answer in self.answers)

    def join(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Result | Failure]:
        """Return a future for one more caller."""
        answer: asyncio.Future[Result | Failure] = loop.create_future()
        self.answers[answer] = None
        if self.batch is not None:
            self.batch.wanted.add(self)
        return answer

    def leave(self, answer: asyncio.Future[Result | Failure]) -> bool:
        """Let a cancelled caller go; tell whether that was the last one."""
        if answer not in self.answers:
            return False  # the outcome was there already
        del self.answers[answer]
        if self.batch is not None and not self.answers:
            self.batch.wanted.discard(self)
        return not self.answers

    def succeed(self, result: Result) -> None:
        """Give all callers the result."""
        for answer in self._released():
            answer.set_result(result)

    def fail(self, error: BaseException, *, shared: bool) -> None:
        """Give all callers the error; if it is shared, within the entry or beyond, copies."""
        answers = self._released()
        shared = shared or len(answers) > 1
        for answer in answers:
            answer.set_result(Failure(copied(error) if shared else error))

    def _released(self) -> list[asyncio.Future[Result | Failure]]:
        answers, self.answers = self.answers, {}
        return [answer for answer in answers if not answer.done()]


Entries = OrderedDict[Entry[Any, Any], None]  # an ordered set


@dataclasses.dataclass(eq=False, slots=True)
class Batch:
    """Entries of one group that are sent together.

    Attributes:
        entries: The entries, at first at least one.
        group: Their group.
        wanted: Those that a caller waits for.
        started: When they were sent, on the loop's clock; `None` before that.
        invalid: Whether they are to be sent once more, one by one.
    """

    entries: list[Entry[Any, Any]]
    group: Hashable = dataclasses.field(init=False)
    wanted: set[Entry[Any, Any]] = dataclasses.field(init=False)
    started: float | None = None
    invalid: bool = False

    def __post_init__(self) -> None:
        """Let the entries know where they are."""
        self.group = self.entries[0].group
        self.wanted = set(self.entries)
        for entry in self.entries:
            entry.batch = self

    def drop_unwanted(self) -> list[Entry[Any, Any]]:
        """Let go of the entries that no caller waits for, and return them."""
        unwanted = [entry for entry in self.entries if not entry.wanted]
        self.entries = [entry for entry in self.entries if entry.wanted]
        return unwanted

    def settle(self, outcomes: Sequence[Any]) -> None:
        """Give the callers of each entry its result, or its error."""
        for entry, outcome in zip(self.entries, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                entry.fail(outcome, shared=len(self.entries) > 1)
            else:
                entry.succeed(outcome)


def copied(error: Error) -> Error:
    """Copy an error, so that several callers can raise it.

    Raising writes to an error: its traceback and context. The copy has the cause, context,
    traceback and notes that the error had so far. One that can't be copied is returned itself.
    """
    for copy_of in (copy.copy, _bare_copy):
        with contextlib.suppress(Exception):
            twin = copy_of(error)
            if type(twin) is type(error) and twin is not error:
                return _with_history(twin, error)
    return error


def _bare_copy(error: Error) -> Error:
    """Copy without `__init__`, which may want other arguments than the error keeps."""
    twin = type(error).__new__(type(error))
    vars(twin).update(vars(error))
    return twin


def _with_history(twin: Error, error: Error) -> Error:
    twin.args = error.args  # `__init__` may have built a message from what was one already
    twin.__cause__ = error.__cause__
    twin.__context__ = error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    return twin.with_traceback(error.__traceback__)
