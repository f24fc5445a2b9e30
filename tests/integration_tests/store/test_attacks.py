"""The attack matrix: a scoped store can't be made to reach past its scope.

Every public method is called with every payload of `tests/helpers/attacks.py`, through a view and
through a `MilvusStore(scope=…)`, where the scope is a dynamic key and where it is a partition
key, with and without the scope in the stored keys. Then a raw client looks at what there is.
Payloads go all at once; what one of them changed stays changed, so that no other can hide it.
The twins are one method, so each kind of store tries a payload on one of them; the next kind, on
the other.
"""

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction
from pymilvus import Function, FunctionType, MilvusClient

from milvus_tools import DeleteResult, MilvusStore, MilvusToolsError, ScopedMilvusStore
from milvus_tools.errors import InvalidInputError, ScopeError
from milvus_tools.filters.literals import one_of
from milvus_tools.transport.connection import Connection
from tests.conftest import new_name
from tests.helpers import attacks
from tests.helpers.attacks import B_IDS, B_TEXT, MARK
from tests.helpers.support import ON_LITE, embeddings

A_IDS = ["a-0", "a-1", "a-2"]
PARTITIONED = {"partition_key_field": "tenant", "num_partitions": 2}
FUSED = {
    "vector_field": ["vector", "words"],
    "builtin_function": BM25BuiltInFunction(output_field_names="words"),
}
SERVER = pytest.mark.server
# The scope: a dynamic key or a field of the schema, the partition key; in stored keys or not.
KINDS = [
    ("lite", "", ""),
    ("lite", "", "scoped_ids"),
    ("lite", "field", ""),
    pytest.param(("server", "", ""), marks=SERVER),
    pytest.param(("server", "field", "scoped_ids"), marks=SERVER),
]
SHELF = "shelf"  # a partition that holds a row of b's
# LangChain's own refusals: search types that it does not know.
LANGCHAIN = {"search": ValueError, "as_retriever": ValueError}
Door = MilvusStore | ScopedMilvusStore


def public(cls: type) -> set[str]:
    """Return the public names of a class."""
    return {name for name in dir(cls) if not name.startswith("_")}


NAMES = sorted(public(MilvusStore) | public(ScopedMilvusStore))
ATTRIBUTES = {
    name
    for name in NAMES
    if attacks.sync_name(name) not in attacks.ELSEWHERE
    and isinstance(getattr(MilvusStore, name, None), property)
}
METHODS = sorted(
    {attacks.sync_name(name) for name in NAMES if name not in ATTRIBUTES}
    - attacks.ELSEWHERE.keys()
)


@dataclasses.dataclass
class World:
    """A collection with rows of tenants a and b, and the doors that tenant a is given."""

    uri: str
    client: MilvusClient
    operator: MilvusStore
    doors: list[Door]
    in_keys: bool
    turn: int
    of_a: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    of_others: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.operator.collection_name

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows, whole, as a raw client sees them."""
        found = self.client.query(
            self.name, 'pk >= ""', output_fields=["*"], consistency_level="Strong"
        )
        return [dict(row) for row in found]

    def look(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the rows of a, and those of all others, by stored key."""
        rows = {row["pk"]: row for row in self.rows()}
        of_a = {key: row for key, row in rows.items() if row.get("tenant") == "a"}
        return of_a, {
            key: repr(sorted(row.items())) for key, row in rows.items() if key not in of_a
        }

    def restore(self, of_a: dict[str, Any]) -> None:
        """Bring a's rows back to what they were, whatever a did to them."""
        before = {row["pk"]: row for row in self.of_a}
        if of_a != before:
            self.client.delete(self.name, filter=one_of("pk", sorted({*of_a, *before})))
            self.client.insert(self.name, self.of_a)  # old servers misplace upserts


def make_world(
    uri: str, stack: contextlib.ExitStack, *, field: bool, in_keys: bool, fused: bool = False
) -> World:
    """Write rows of a, of b, of b in another partition, and one without a tenant."""
    # A raw client, but one that Milvus Lite does not take for an attacker when it is idle.
    client = stack.enter_context(contextlib.closing(Connection({"uri": uri}).sync_client()))
    common = {"collection_name": new_name(), "connection_args": {"uri": uri}}
    common["consistency_level"] = "Strong"  # what `restore` takes back must not be read
    more: dict[str, Any] = PARTITIONED if field else FUSED if fused else {}
    operator = stack.enter_context(contextlib.closing(MilvusStore(embeddings(), **common, **more)))
    stack.callback(client.drop_collection, common["collection_name"])
    scoped = {"scope": {"tenant": "a"}, "scoped_ids": in_keys}
    direct = stack.enter_context(
        contextlib.closing(MilvusStore(embeddings(), **common, **more, **scoped))
    )
    view = operator.scoped(tenant="a", scoped_ids=in_keys)
    # The kinds of a backend have turns of their own: on each, a payload meets both twins.
    world = World(uri, client, operator, [view, direct], in_keys, turn=2 * field + in_keys)
    metadata = {"n": 1, "note": MARK}
    other = operator.scoped(tenant="b", scoped_ids=in_keys)
    other.add_texts([B_TEXT, f"{MARK} second"], [metadata, metadata], ids=B_IDS)
    world.doors[0].add_texts(["mine", "mine too", "and mine"], [{"n": 1}] * 3, ids=A_IDS)
    if not field:
        client.create_partition(world.name, SHELF)
        shelved = {"tenant": "b", "note": MARK, "n": 1}
        operator.add_texts([f"{MARK} shelved"], [shelved], ids=["b-3"], partition_name=SHELF)
        operator.add_texts([f"{MARK} of nobody"], [{"note": MARK, "n": 1}], ids=["nobody"])
    of_a, world.of_others = world.look()
    world.of_a = list(of_a.values())
    return world


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[..., World]]:
    """Make a world once per backend and kind."""
    made: dict[tuple[Any, ...], World] = {}
    with contextlib.ExitStack() as stack:

        def world(uri: str, **kind: bool) -> World:
            key = (uri, *kind.values())
            if key not in made:
                made[key] = make_world(uri, stack, **kind)
            return made[key]

        yield world


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(filter(None, kind)))
def world(request: pytest.FixtureRequest, worlds: Callable[..., World]) -> World:
    """A world, which the test leaves as it was."""
    backend, field, in_keys = request.param
    uri = request.getfixturevalue(f"{backend}_uri")
    return worlds(uri, field=bool(field), in_keys=bool(in_keys))


def call(door: Door, name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Return the call of a method, with its arguments by name, or by position where it must be."""
    method = getattr(door, name)
    parameters = inspect.signature(method).parameters.values()
    unnamed = [one.name for one in parameters if one.kind is one.POSITIONAL_ONLY]
    named = {key: value for key, value in arguments.items() if key not in unnamed}
    return functools.partial(method, *(arguments[key] for key in unnamed), **named)


def read(call: Callable[[], Any]) -> Any:
    """Make a call; read what a generator yields."""
    answer = call()
    return list(answer) if inspect.isgenerator(answer) else answer


async def outcomes(name: str, calls: list[tuple[Any, Callable[[], Any]]]) -> list[Any]:
    """Make all calls at once; return the answers, and the errors by which we refused."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=64) as threads:

        async def attempt(payload: Any, call: Callable[[], Any]) -> Any:
            try:
                if inspect.iscoroutinefunction(call):
                    return await call()
                answer = await loop.run_in_executor(threads, read, call)
                if inspect.isasyncgen(answer):
                    return [one async for one in answer]
                return await answer if inspect.isawaitable(answer) else answer
            except (MilvusToolsError, LANGCHAIN.get(name, MilvusToolsError)) as refusal:
                return refusal
            except Exception as error:
                error.add_note(f"{name}: {payload!r:.300}")
                raise

        return await asyncio.gather(*(attempt(payload, call) for payload, call in calls))


def check(world: World, answers: Iterable[Any]) -> None:
    """Check that others' rows are as they were, and that neither answer nor refusal tells them."""
    of_a, of_others = world.look()
    world.restore(of_a)
    assert of_others == world.of_others
    own_keys = {*of_a, *(row["pk"] for row in world.of_a)}
    own_ids = {id_ for key in own_keys for id_ in (key, key.partition(":")[2])}  # of in_keys, too
    for answer in answers:
        assert MARK not in repr(answer)
        if isinstance(answer, int):
            assert answer <= len(own_keys)
        if isinstance(answer, DeleteResult):
            assert answer.count <= len(own_keys)
        for one in answer if isinstance(answer, list | set) else ():
            document = one[0] if isinstance(one, tuple) else one
            if isinstance(document, Document):
                assert document.metadata.get("tenant", "a") == "a"
            assert (document.id if isinstance(document, Document) else document) in own_ids


async def attack(world: World, name: str, turns: Iterable[int]) -> None:
    """Attack a method and its twin with every payload, and check what came of it.

    In one turn, each payload goes to one twin at one door; four turns have all pairs.
    """
    twins = [name, f"a{name}"]
    good = attacks.good(name)
    calls = [(good, call(door, twin, good)) for twin in twins for door in world.doors]
    tried = list(attacks.attacks(name, getattr(world.doors[0], name)))
    for turn in turns:
        for number, arguments in enumerate(tried, turn):
            door = world.doors[number // 2 % 2]
            calls.append((arguments, call(door, twins[number % 2], arguments)))
    answers = await outcomes(name, calls)
    check(world, answers)
    inside = answers[: len(twins) * len(world.doors)]
    assert all(answer and not isinstance(answer, Exception) for answer in inside)


@pytest.mark.parametrize("name", METHODS)
async def test_no_argument_reaches_past_the_scope(world: World, name: str) -> None:
    """Whatever is given to a method, b's rows are neither told, counted, changed nor deleted."""
    await attack(world, name, [world.turn])


def test_no_attribute_tells_what_is_outside_the_scope(world: World) -> None:
    """Attributes tell of the collection and of the view's own rows, and can't be set."""
    for door in world.doors:
        told = {name: getattr(door, name) for name in ATTRIBUTES & public(type(door))}
        assert MARK not in repr(told)
        assert told["col"].num_entities == len(world.of_a)
        for name, value in told.items():
            with pytest.raises(AttributeError):
                setattr(door, name, value)


@ON_LITE
@pytest.mark.parametrize("name", ["search", "similarity_search", "similarity_search_with_score"])
async def test_no_argument_of_a_fused_search_reaches_past_the_scope(
    worlds: Callable[..., World], uri: str, name: str
) -> None:
    """A search of a vector field and of full text holds the scope in both."""
    await attack(worlds(uri, field=False, in_keys=False, fused=True), name, [0, 3])


@ON_LITE
async def test_no_reranker_sends_documents_away(
    worlds: Callable[..., World], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rerank function can't make Milvus call an address of the caller's with a key of ours."""
    monkeypatch.setenv("COHERE_API_KEY", "the operator's")
    world = worlds(uri, field=False, in_keys=False, fused=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        params = {
            "reranker": "model",
            "provider": "cohere",
            "queries": ["mine"],
            "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
        }
        reranker = Function("away", FunctionType.RERANK, ["text"], params=params)
        for door in [*world.doors, world.operator]:
            with pytest.raises(InvalidInputError, match="rrf, weighted, decay"):
                await door.asimilarity_search("mine", reranker=reranker, timeout=5)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_every_public_name_is_attacked_or_excused() -> None:
    """A public name that is new, or gone, must be entered in or taken off the tables."""
    assert attacks.CALLS.keys().isdisjoint(attacks.ELSEWHERE)
    assert {attacks.sync_name(name) for name in NAMES if name not in ATTRIBUTES} == (
        attacks.CALLS.keys() | attacks.ELSEWHERE.keys()
    )


def retrieve(door: Door, kind: str, fixed: dict[str, Any], given: dict[str, Any]) -> Any:
    """Retrieve what is nearest to b's text; `asynchronous` in `given` takes the async way."""
    fixed = {"score_threshold": 0.0, **fixed} if kind.endswith("threshold") else fixed
    retriever = door.as_retriever(search_type=kind, search_kwargs=fixed)
    asynchronous = given.pop("asynchronous")
    return (retriever.ainvoke if asynchronous else retriever.invoke)(B_TEXT, **given)


@pytest.mark.parametrize("kind", ["similarity", "mmr", "similarity_score_threshold"])
async def test_no_retriever_reaches_past_the_scope(world: World, kind: str) -> None:
    """Neither `search_kwargs` nor what is given at `invoke` makes a retriever tell b's rows."""
    calls: list[tuple[Any, Callable[[], Any]]] = []
    for number, payload in enumerate([{}, {}, *attacks.KEYWORDS]):
        door, asynchronous = world.doors[number % 2], {"asynchronous": number % 4 > 1}
        twin = {"asynchronous": not asynchronous["asynchronous"]}
        calls += [
            (payload, functools.partial(retrieve, door, kind, payload, asynchronous)),
            (payload, functools.partial(retrieve, door, kind, {}, {**payload, **twin})),
        ]
    answers = await outcomes("as_retriever", calls)
    check(world, answers)
    assert all(answer and isinstance(answer, list) for answer in answers[:4])


async def test_no_narrower_view_is_a_wider_one(world: World) -> None:
    """Whatever a view is narrowed by, `scoped()` refuses, or the view stays within its scope."""

    async def narrowed(door: Door, values: dict[str, Any], *, in_keys: bool) -> Any:
        view = door.scoped(values, scoped_ids=in_keys)
        written = await view.aadd_texts(["y"])
        await view.adelete(B_IDS)
        await view.adelete(expr='tenant == "b" or pk == "nobody"')
        return [*await view.aget_by_ids(written), *await view.asimilarity_search(B_TEXT)]

    calls = [
        (values, functools.partial(narrowed, door, values, in_keys=in_keys))
        for values in attacks.SCOPES
        for door in world.doors
        for in_keys in (False, True)
    ]
    check(world, await outcomes("scoped", calls))


def test_the_scope_can_not_be_changed_afterwards(world: World) -> None:
    """Changing the dictionary that made a scope, or the one that tells it, changes no scope."""
    values = {"tenant": "a"}
    view = world.operator.scoped(values, scoped_ids=world.in_keys)
    store = MilvusStore(embeddings(), scope=values)
    values["tenant"] = "b"
    for door in [view, store, *world.doors]:
        told = dict(door.scope)
        with contextlib.suppress(TypeError):
            door.scope["tenant"] = "b"
        assert told == door.scope == {"tenant": "a"}
    check(world, [view.search_by_metadata()])


async def test_views_make_no_stores(world: World) -> None:
    """A view's class methods, which would make a store without scope, are refused."""
    view, name = world.doors[0], new_name()
    arguments = {"collection_name": name, "connection_args": {"uri": world.uri}}
    with pytest.raises(ScopeError):
        view.from_texts(["x"], embeddings(), **arguments)
    with pytest.raises(ScopeError):
        await view.afrom_texts(["x"], embeddings(), **arguments)
    with pytest.raises(ScopeError):
        view.from_documents([Document("x")], embeddings(), **arguments)
    with pytest.raises(ScopeError):
        await view.afrom_documents([Document("x")], embeddings(), **arguments)
    assert not world.client.has_collection(name)


async def test_a_scoped_store_gives_no_client_and_drops_nothing(world: World) -> None:
    """A `MilvusStore(scope=…)` has the methods that know no scope, and refuses them."""
    store = world.doors[1]
    with pytest.raises(ScopeError):
        store.client  # noqa: B018 - the access is what is tested
    with pytest.raises(ScopeError):
        store.aclient  # noqa: B018 - the access is what is tested
    with pytest.raises(ScopeError):
        store.alias  # noqa: B018 - the access is what is tested
    with pytest.raises(ScopeError):
        store.drop()
    with pytest.raises(ScopeError):
        await store.adrop()
    check(world, [])
