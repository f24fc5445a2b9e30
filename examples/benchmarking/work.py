"""The work that sides are given: adding, searching and deleting, one by one or all at once."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from langchain_core.documents import Document

from benchmarking.comparing import CallsFailedError, together
from benchmarking.sides import Pairs, Store, Subject, found

K: Final = 3
_PATIENCE: Final = 600.0  # seconds for loading
_WORDS: Final = ("milvus", "kite", "bird", "prey", "vector", "store", "agent", "river", "night")


@dataclasses.dataclass(frozen=True)
class Job:
    """Work to be timed.

    Attributes:
        work: The work.
        answer: Turns its result into what must be the same on both sides; not timed.
        calls: How many requests langchain-milvus sends to Milvus for it.
    """

    work: Callable[[], Awaitable[Any]]
    answer: Callable[[Any], Awaitable[object]]
    calls: int


# Prepares a subject for a turn, and returns the work to time.
Plan = Callable[[Subject, int], Awaitable[Job]]
Searching = Callable[[Store, Sequence[str]], Awaitable[list[list[Document]]]]


def documents(count: int, label: str = "document") -> Iterator[Document]:
    """Yield Documents of some 250 characters, whose ids begin with the label."""
    for number in range(count):
        words = (_WORDS[(number * step) % len(_WORDS)] for step in range(1, 40))
        id_ = f"{label}-{number}"
        yield Document(
            id=id_,
            page_content=f"{id_}: {' '.join(words)}.",
            metadata={"name": id_, "number": number, "category": f"category {number % 5}"},
        )


def questions(count: int, turn: int) -> list[str]:
    """Return questions that differ from each other and from those of other turns."""
    return [f"Question {number} of turn {turn}: which kite is it?" for number in range(count)]


async def add_at_once(store: Store, given: Iterable[Document]) -> object:
    """Add all in one call."""
    added = list(given)
    return await store.aadd_documents(added, ids=_ids(added), timeout=_PATIENCE)


async def search_each(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    """Search for all questions at the same time."""
    return await together(store.asimilarity_search(one, k=K) for one in asked)


async def search_one_by_one(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    """Search in blocking calls, one after the other."""
    return [store.similarity_search(one, k=K) for one in asked]


def searching(count: int, search: Searching = search_each) -> Plan:
    """Plan to search for questions; the answer is the hits of each."""

    async def plan(subject: Subject, turn: int) -> Job:
        return Job(lambda: search(subject.store, questions(count, turn)), pairs_of, count)

    return plan


def adding(count: int, *, blocking: bool = False) -> Plan:
    """Plan to add Documents, each in a call of its own; the answer is the rows in the end.

    Args:
        count: How many.
        blocking: Whether to add one after the other, rather than all at the same time.
    """

    async def plan(subject: Subject, turn: int) -> Job:
        label = f"added-{count}-{turn}"
        new = list(documents(count, label))

        async def work() -> None:
            try:
                if blocking:
                    for one in new:
                        subject.store.add_documents([one], ids=_ids([one]))
                else:
                    await together(
                        subject.store.aadd_documents([one], ids=_ids([one])) for one in new
                    )
            except CallsFailedError as error:
                arrived = len(await _labelled(subject, label))
                raise CallsFailedError(
                    f"{error}, {arrived} of {count} documents are there"
                ) from error

        async def answer(_: object) -> Pairs:
            return await _require_all(subject, new, label)

        return Job(work, answer, count)

    return plan


def deleting(count: int, *, blocking: bool = False) -> Plan:
    """Plan to delete Documents, each by an expression; the answer is that none is left.

    Args:
        count: How many.
        blocking: Whether to delete one after the other, rather than all at the same time.
    """

    async def plan(subject: Subject, turn: int) -> Job:
        label = f"deleted-{count}-{turn}"
        doomed = list(documents(count, label))
        await add_at_once(subject.store, doomed)
        await _require_all(subject, doomed, label)

        async def work() -> None:
            expressions = [f'name == "{one.id}"' for one in doomed]
            if blocking:
                for one in expressions:
                    subject.store.delete(expr=one)
            else:
                await together(subject.store.adelete(expr=one) for one in expressions)

        async def answer(_: object) -> None:
            if left := await _labelled(subject, label):
                raise CallsFailedError(f"{len(left)} of {count} are still there")

        return Job(work, answer, count)

    return plan


async def pairs_of(hits: Iterable[Iterable[Document]]) -> list[Pairs]:
    """Return the ids and texts that each question found."""
    return [found(some) for some in hits]


async def _require_all(subject: Subject, given: Sequence[Document], label: str) -> Pairs:
    """Return the rows of some Documents; fail if one is missing, or another text has its id."""
    stored = await _labelled(subject, label)
    if stored != sorted(found(given)):
        raise CallsFailedError(f"{len(stored)} of {len(given)} documents are there")
    return stored


async def _labelled(subject: Subject, label: str) -> Pairs:
    return await subject.rows(f'pk like "{label}-%"')


def _ids(given: Sequence[Document]) -> list[str]:
    return [str(one.id) for one in given]
