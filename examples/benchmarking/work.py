"""The work that sides are given: adding, searching and deleting, one by one or all at once."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from langchain_core.documents import Document

from benchmarking.bench import Bench, Job, Pair, Plan
from benchmarking.comparing import CallsFailedError, together
from benchmarking.results import OURS, PEER
from benchmarking.sides import Pairs, Store, Subject, found

K: Final = 3
_PATIENCE: Final = 600.0  # seconds for loading
_WORDS: Final = ("milvus", "kite", "bird", "prey", "vector", "store", "agent", "river", "night")

Adding = Callable[[Store, Sequence[Document]], Awaitable[object]]
Searching = Callable[[Store, Sequence[str]], Awaitable[list[list[Document]]]]
Deleting = Callable[[Store, Sequence[Document]], Awaitable[object]]


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
    """Return questions that no other turn asks, none twice."""
    return [f"Question {number} of turn {turn}: which kite is it?" for number in range(count)]


@contextlib.asynccontextmanager
async def pair(bench: Bench, count: int, **behaviour: Any) -> AsyncIterator[Pair]:
    """Give both sides a collection with Documents; from then on the service behaves so."""
    async with bench.subject(PEER) as peer, bench.subject(OURS) as ours:
        for subject in (peer, ours):
            await load(subject, count)
        bench.service.behave(**behaviour)
        yield Pair(bench, peer, ours)


async def load(subject: Subject, count: int, label: str = "document") -> None:
    """Fill a collection with Documents."""
    await add_at_once(subject.store, documents(count, label))


async def add_at_once(store: Store, given: Iterable[Document]) -> object:
    """Add all in one call."""
    added = list(given)
    return await store.aadd_documents(added, ids=_ids(added), timeout=_PATIENCE)


async def add_each(store: Store, given: Sequence[Document]) -> object:
    """Add each in a call of its own, all calls at the same time."""
    return await together(store.aadd_documents([one], ids=_ids([one])) for one in given)


async def add_one_by_one(store: Store, given: Sequence[Document]) -> object:
    """Add each in a blocking call of its own, one after the other."""
    return [store.add_documents([one], ids=_ids([one])) for one in given]


async def search_each(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    """Ask all questions at the same time."""
    return await together(store.asimilarity_search(one, k=K) for one in asked)


async def search_one_by_one(store: Store, asked: Sequence[str]) -> list[list[Document]]:
    """Ask the questions in blocking calls, one after the other."""
    return [store.similarity_search(one, k=K) for one in asked]


async def delete_each(store: Store, given: Sequence[Document]) -> object:
    """Delete each by an expression of its own, all at the same time."""
    return await together(store.adelete(expr=expression) for expression in _naming(given))


async def delete_one_by_one(store: Store, given: Sequence[Document]) -> object:
    """Delete each by an expression of its own, in blocking calls, one after the other."""
    return [store.delete(expr=expression) for expression in _naming(given)]


def adding(count: int, add: Adding) -> Plan:
    """Plan to add Documents; the answer is what is there afterwards."""

    async def plan(subject: Subject, turn: int) -> Job:
        label = f"added-{count}-{turn}"
        new = list(documents(count, label))

        async def work() -> None:
            try:
                await add(subject.store, new)
            except CallsFailedError as error:
                arrived = len(await subject.rows(_labelled(label)))
                raise CallsFailedError(
                    f"{error}, {arrived} of {count} documents are there"
                ) from error

        async def answer(_: object) -> Pairs:
            return await there(subject, new, label)

        return Job(work, answer, count)

    return plan


def searching(count: int, search: Searching) -> Plan:
    """Plan to ask questions; the answer is what was found."""

    async def plan(subject: Subject, turn: int) -> Job:
        return Job(lambda: search(subject.store, questions(count, turn)), pairs_of, count)

    return plan


def deleting(count: int, delete: Deleting) -> Plan:
    """Plan to delete Documents, which are added first; the answer is what is left of them."""

    async def plan(subject: Subject, turn: int) -> Job:
        label = f"deleted-{count}-{turn}"
        doomed = list(documents(count, label))
        await add_at_once(subject.store, doomed)
        await there(subject, doomed, label)

        async def answer(_: object) -> Pairs:
            left = await subject.rows(_labelled(label))
            if left:
                raise CallsFailedError(f"{len(left)} of {count} are still there")
            return left

        return Job(lambda: delete(subject.store, doomed), answer, count)

    return plan


async def there(subject: Subject, given: Sequence[Document], label: str) -> Pairs:
    """Return what is there of some Documents.

    Raises:
        CallsFailedError: If one is missing, or another text has its id.
    """
    stored = await subject.rows(_labelled(label))
    if stored != sorted(found(given)):
        raise CallsFailedError(f"{len(stored)} of {len(given)} documents are there")
    return stored


async def pairs_of(hits: Iterable[Iterable[Document]]) -> list[Pairs]:
    """Return what each question found."""
    return [found(some) for some in hits]


def _ids(given: Sequence[Document]) -> list[str]:
    return [str(one.id) for one in given]


def _naming(given: Sequence[Document]) -> list[str]:
    return [f'name == "{one.id}"' for one in given]


def _labelled(label: str) -> str:
    return f'pk like "{label}-%"'
