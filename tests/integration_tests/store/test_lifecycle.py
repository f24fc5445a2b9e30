"""Who may call a store, and from where: loops, threads, forks, contexts."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from milvus_tools import MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import EmbeddingError, InvalidInputError
from tests.helpers.fake_embeddings import AsyncModel
from tests.helpers.support import embeddings, texts
from tests.helpers.threads import BOUND, happens, in_threads, no_new_threads, run_python

MakeStore = Callable[..., MilvusStore]
# The child's answer comes through a pipe, because what it prints could mix with the parent's.
_FORK = '''
import os, sys, traceback
from langchain_core.embeddings import DeterministicFakeEmbedding
from milvus_tools import MilvusStore

def in_a_child(work):
    """Do some work in a forked child; again in another if gRPC was busy when that was forked.

    A lock that a thread of gRPC's holds at that moment is held in the child for ever.
    """
    for _ in range(3):
        answer = once_in_a_child(work)
        if not answer.startswith("DeadlineError"):
            break
    return answer

def once_in_a_child(work):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return f"{answer} ({os.waitstatus_to_exitcode(status)})"

uri, name = sys.argv[1:]
arguments = {"collection_name": name, "connection_args": {"uri": uri}, "timeout": 20}
store = MilvusStore(DeterministicFakeEmbedding(size=8), **arguments)

def read():
    return " ".join(sorted(document.id for document in store.similarity_search("fork")))
'''
_FORK_BEFORE_THE_FIRST_CALL = """
def work():
    store.add_texts(["child"], ids=["fork-child"])
    found = store.get_by_ids(["fork-child"])[0].page_content
    store.close()
    return found

print(in_a_child(work))
store.add_texts(["parent"], ids=["fork-parent"])
print(*(found.page_content for found in store.get_by_ids(["fork-child", "fork-parent"])))
store.close()
"""
_FORK_OF_AN_OPEN_STORE = """
store.add_texts(["parent"], ids=["fork-open"])
print(in_a_child(lambda: store.get_by_ids(["fork-open"])[0].page_content))
print(in_a_child(lambda: str(store.scoped(tenant="a").count())))
print(in_a_child(lambda: str(MilvusStore(store.embeddings, **arguments).count())))
print(store.get_by_ids(["fork-open"])[0].page_content)
store.close()
print(in_a_child(lambda: store.close() or "closed"))
"""
_FORK_OF_A_STORE_WITH_A_CLIENT = """
client = store.client
store.add_texts(["parent"], ids=["fork-client"])

def ask():
    assert store.client is not client
    found = store.client.has_collection(name)
    store.close()
    return str(found)

print(in_a_child(ask))
print(in_a_child(lambda: str(store.aclient)))
print(store.client is client, client.has_collection(name))
store.close()
"""
_FORK_OF_A_STORE_THAT_DROPPED = """
store = MilvusStore(DeterministicFakeEmbedding(size=8), drop_old=True, **arguments)
store.add_texts(["parent"], ids=["fork-kept"])
print(in_a_child(lambda: store.get_by_ids(["fork-kept"])[0].page_content))
print(store.get_by_ids(["fork-kept"])[0].page_content)
store.close()
"""


def test_threads_with_and_without_a_loop_share_a_store(shared: MilvusStore) -> None:
    """Eight threads with an event loop each, and eight without, write and read at once."""

    def without_loop(id_: str) -> list[str]:
        shared.add_texts([id_], ids=[id_])
        return texts(shared.get_by_ids([id_]))

    async def with_loop(id_: str) -> list[str]:
        await shared.aadd_texts([id_], ids=[id_])
        return texts(await shared.aget_by_ids([id_]))

    plain = [f"plain-{number}" for number in range(8)]
    looped = [f"looped-{number}" for number in range(8)]
    found = in_threads(
        *[lambda id_=id_: without_loop(id_) for id_ in plain],
        *[lambda id_=id_: asyncio.run(with_loop(id_)) for id_ in looped],
    )
    assert found == [[id_] for id_ in plain + looped]


async def test_a_sync_call_works_where_a_loop_runs(shared: MilvusStore) -> None:
    """In a coroutine, as in a notebook, the sync methods work, if they hold up its loop."""
    shared.add_texts(["sync"], ids=["sync-in-loop"])
    assert texts(shared.get_by_ids(["sync-in-loop"])) == ["sync"]
    assert texts(await shared.aget_by_ids(["sync-in-loop"])) == ["sync"]


class Reentrant(AsyncModel):
    """A model that calls the store which called it."""

    store: MilvusStore
    call: Callable[[MilvusStore], Any]

    async def aembed_query(self, text: str) -> list[float]:
        """Call the store, then embed."""
        answer = self.call(self.store)
        self.answer = await answer if asyncio.iscoroutine(answer) else answer
        return await super().aembed_query(text)


@pytest.fixture
def reentrant(make_store: MakeStore, shared: MilvusStore) -> Reentrant:
    """A model and its store, on the shared collection."""
    model = Reentrant()
    model.store = make_store(model, collection_name=shared.collection_name)
    model.store.add_texts(["again"], ids=["reentrant"])
    return model


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.similarity_search("again"),
        lambda store: store.scoped(tenant="a").count(),
        lambda store: store.close(),
        lambda store: store.client.list_collections(),
    ],
    ids=["search", "view", "close", "client"],
)
async def test_a_sync_call_on_the_io_loop_is_refused(
    reentrant: Reentrant, call: Callable[[MilvusStore], Any]
) -> None:
    """It would wait for itself: a sentence names the async twin, and the store goes on."""
    reentrant.call = call
    with pytest.raises(EmbeddingError) as caught:
        await reentrant.store.asimilarity_search("again")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "async twin" in str(caught.value.__cause__)
    assert texts(await reentrant.store.aget_by_ids(["reentrant"])) == ["again"]


async def test_an_async_call_on_the_io_loop_works(reentrant: Reentrant) -> None:
    """A model may read from the store that asks it for a vector."""
    reentrant.call = lambda store: store.aget_by_ids(["reentrant"])
    await reentrant.store.asimilarity_search("again")
    assert texts(reentrant.answer) == ["again"]


user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Contextual(AsyncModel):
    """A model that notes the context it is called in."""

    def __init__(self) -> None:
        """Have met no caller."""
        super().__init__()
        self.users: list[str] = []

    async def aembed_query(self, text: str) -> list[float]:
        """Note the user, then embed."""
        self.users.append(user.get())
        user.set("the model")
        return await super().aembed_query(text)


@pytest.mark.parametrize("batching", [False, True])
def test_a_call_keeps_the_callers_context(
    make_store: MakeStore, shared: MilvusStore, *, batching: bool
) -> None:
    """Context variables of the caller reach the model, and the model's don't reach the caller.

    With batching they don't reach it: a request that callers share belongs to none of them.
    """
    model = Contextual()
    store = make_store(model, collection_name=shared.collection_name, batching=batching)
    store.add_texts(["context"], ids=["context"])

    async def search_as(name: str) -> str:
        user.set(name)
        await store.asimilarity_search("context")
        return user.get()

    async def search_at_once() -> list[str]:
        return await asyncio.gather(search_as("ann"), search_as("bob"))

    assert asyncio.run(search_at_once()) == ["ann", "bob"]
    contextvars.copy_context().run(lambda: (user.set("carl"), store.similarity_search("context")))
    assert set(model.users) == ({"nobody"} if batching else {"ann", "bob", "carl"})
    assert user.get() == "nobody"


async def test_a_store_can_be_opened_in_four_ways(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """By `async with`, by `with`, by `aopen`, and by the first call."""
    await shared.aadd_texts(["open"], ids=["open"])

    def store() -> MilvusStore:
        return make_store(collection_name=shared.collection_name)

    async with store() as one:
        assert texts(await one.aget_by_ids(["open"])) == ["open"]
    with store() as two:
        assert texts(two.get_by_ids(["open"])) == ["open"]
    three = store()
    assert await three.aopen() is three
    assert texts(await three.aget_by_ids(["open"])) == ["open"]
    assert texts(await store().aget_by_ids(["open"])) == ["open"]


def test_the_constructor_opens_nothing(tmp_path: Any) -> None:
    """A store that is made and never used starts no thread, touches no file, asks no model."""
    file = tmp_path / "never.db"

    def make_model() -> Any:
        raise AssertionError("The model was not asked for.")

    before = threading.active_count()
    MilvusStore(make_model, connection_args={"uri": str(file)}, drop_old=True)
    MilvusStore(embeddings(), connection_args={"uri": "http://127.0.0.1:1"}).scoped(tenant="a")
    assert threading.active_count() == before
    assert not file.exists()


def test_a_model_from_a_factory_is_made_once_beside_the_io_loop(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """It is made when it is needed, for all callers at once, and the I/O loop turns meanwhile."""
    made: list[AsyncModel] = []

    def make_model() -> AsyncModel:
        turn = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), portal()._loop)
        turn.result(BOUND)
        made.append(AsyncModel())
        return made[-1]

    store = make_store(make_model, collection_name=shared.collection_name)
    view = store.scoped(tenant="factory")
    assert made == []
    assert store.embeddings is view.embeddings is None
    assert view.as_retriever().tags == ["ScopedMilvusStore"]
    in_threads(*[lambda: store.add_texts(["factory"], ids=["factory"])] * 4)
    assert texts(asyncio.run(store.asimilarity_search("factory", k=1))) == ["factory"]
    (model,) = made
    assert store.embeddings is view.embeddings is model
    assert view.as_retriever().tags == ["ScopedMilvusStore", "AsyncModel"]
    assert model.loops[0] is portal()._loop


async def test_a_factory_that_a_caller_gave_up_on_is_not_called_again(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """It goes on in its thread, and the next call has what it makes."""
    began, go_on, calls = threading.Event(), threading.Event(), []

    def make_model() -> AsyncModel:
        calls.append(1)
        began.set()
        assert go_on.wait(BOUND)
        return AsyncModel()

    store = make_store(make_model, collection_name=shared.collection_name)
    first = asyncio.create_task(store.aadd_texts(["factory"], ids=["given up"]))
    assert await happens(began)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(store.aadd_texts(["factory"], ids=["given up"]))
    await store.acount()
    go_on.set()
    assert await second == ["given up"]
    assert calls == [1]


async def test_a_factory_that_fails_is_called_again(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """The caller hears that the model failed, or what was made; the next call tries anew."""
    answers: list[Any] = [OSError("10.0.0.5 is away"), "no model", AsyncModel()]

    def make_model() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    store = make_store(make_model, collection_name=shared.collection_name)
    with pytest.raises(EmbeddingError) as caught:
        await store.aadd_texts(["factory"], ids=["fails"])
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(InvalidInputError, match="made a str"):
        await store.aadd_texts(["factory"], ids=["fails"])
    assert await store.aadd_texts(["factory"], ids=["fails"]) == ["fails"]


def test_a_class_makes_a_model(make_store: MakeStore, shared: MilvusStore) -> None:
    """A class is no model, though it has the methods of one; and what is neither is refused."""
    store = make_store(AsyncModel, collection_name=shared.collection_name)
    store.add_texts(["class"], ids=["class"])
    assert isinstance(store.embeddings, AsyncModel)
    for wrong in ("text-embedding-3-small", 7, {}):
        with pytest.raises(InvalidInputError, match="embedding_function must be"):
            MilvusStore(wrong)  # type: ignore[arg-type]


def test_a_child_can_use_a_store_that_was_forked_unopened(
    own_uri: str, collection_name: str
) -> None:
    """A store made before the fork, as servers preload it, works in the child and the parent."""
    printed = run_python(_FORK + _FORK_BEFORE_THE_FIRST_CALL, own_uri, collection_name)
    assert printed.splitlines() == ["child (0)", "child parent"]


def test_a_child_can_use_a_store_that_was_forked_open(own_uri: str, collection_name: str) -> None:
    """A child of a process with an open store reads, scopes and opens stores, as its parent."""
    printed = run_python(_FORK + _FORK_OF_AN_OPEN_STORE, own_uri, collection_name).splitlines()
    assert printed == ["parent (0)", "0 (0)", "1 (0)", "parent", "closed (0)"]


def test_a_child_has_a_client_of_its_own(own_uri: str, collection_name: str) -> None:
    """The parent's works for the parent alone; an async one would crash the child."""
    program = _FORK + _FORK_OF_A_STORE_WITH_A_CLIENT
    blocking, async_, parent = run_python(program, own_uri, collection_name).splitlines()
    assert blocking == "True (0)"
    assert async_.startswith("UnsupportedError: A process that was forked")
    assert parent == "True True"


def test_a_child_does_not_drop_what_its_parent_wrote(own_uri: str, collection_name: str) -> None:
    """`drop_old` is for the first call of the store, not for the first of each process."""
    program = _FORK + _FORK_OF_A_STORE_THAT_DROPPED
    printed = run_python(program, own_uri, collection_name).splitlines()
    assert printed == ["parent (0)", "parent"]


def test_the_io_thread_ends_with_the_last_store(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """Stores that are opened and closed, one after the other, leave no thread running."""
    with no_new_threads():
        for _ in range(3):
            with make_store(collection_name=shared.collection_name) as store:
                store.count()
