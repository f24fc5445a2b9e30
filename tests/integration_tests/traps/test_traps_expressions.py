"""Filter expressions: traps T53 to T57, and what the store does instead.

Conditions that a model writes (typed filters) are built of the same parts: literals, references
to fields, and the guard of raw text.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import FilterError, MilvusError, ScopeError
from milvus_tools.filters.guard import checked
from milvus_tools.filters.literals import MAX_NESTING, equals
from milvus_tools.transport.requests import DeleteRequest, QueryRequest
from tests.helpers.support import ON_LITE, ON_SERVER
from tests.helpers.transports import Made, Recording

MakeStore = Callable[..., MilvusStore]
READS: dict[str, Callable[[Any, str], Any]] = {
    "search": lambda store, expr: store.asimilarity_search("x", expr=expr),
    "diverse": lambda store, expr: store.amax_marginal_relevance_search("x", expr=expr),
    "query": lambda store, expr: store.asearch_by_metadata(expr),
    "keys": lambda store, expr: store.aget_pks(expr),
    "count": lambda store, expr: store.acount(expr),
    "delete": lambda store, expr: store.adelete(expr=expr),
    "delete by id": lambda store, expr: store.adelete(["x"], expr=expr),
}
BREAKOUTS = {
    "closes the bracket": 'n == 1) or (tenant == "b"',
    "closes it first": "1 == 1) or (n == 1",
    "closes two": 'n == 1)) or ((tenant == "b"',
    "opens one": '(tenant == "b"',
    "opens a list": "n in [1, 2",
    "closes a list": "n in [1]]",
    "crosses brackets": "n in [(1])",
    "opens a string": 'tenant == "b',
    "opens a single-quoted string": "tenant == 'b",
    "ends in an escape": 'tenant == "b\\',
    "escapes the quote": 'tenant == "b\\"',
    "hides a bracket in a string that ends early": 'tenant == "b\\\\") or (tenant == "b"',
    "unknown escape": 'tenant == "\\x22) or (n == 1"',
    "escape outside a string": 'tenant \\" == ") or (n == 1"',
    "line break in a string": 'tenant == "b\n") or (n == 1',
    "lone surrogate": 'tenant == "\ud800"',
    "too deep": "(" * (MAX_NESTING + 1) + "n == 1" + ")" * (MAX_NESTING + 1),
}
INNOCENT = [
    'tenant == ") or ("',
    "tenant == ') or ('",
    'tenant == "\\") or (\\""',
    "tenant == 'it\\'s) or ('",
    'tenant == "a" or (n in [1, 2] and not (n == 3))',
]


async def ids(store: Any, expr: str) -> set[str]:
    """Return the ids of the rows that match."""
    return set(await store.aget_pks(expr))


async def test_t53_percent_and_underscore_are_plain_in_values(shared: MilvusStore) -> None:
    """A value with `%`, `_` or `*` equals itself alone: the literal writer makes no pattern."""
    values = ["50%", "50_", "50*", "50\\%", "50", "500"]
    names = [f"t53-{number}" for number in range(len(values))]
    await shared.aadd_texts(names, [{"t53": value} for value in values], ids=names)
    found = [await ids(shared, equals("t53", value, dynamic=True)) for value in values]
    assert found == [{name} for name in names]


@ON_SERVER
async def test_t53_a_pattern_that_the_server_refuses_is_an_error(shared: MilvusStore) -> None:
    """A raw `like` with `%` in front raises; no empty list hides that nothing was searched."""
    await shared.aadd_texts(["t53"], [{"t53": "fox"}], ids=["t53-like"])
    assert await ids(shared, 't53 like "fo%"') == {"t53-like"}
    for pattern in ("%ox", "%o%"):
        with pytest.raises(MilvusError):
            await shared.asearch_by_metadata(f't53 like "{pattern}"')


@ON_LITE
async def test_t53_milvus_lite_takes_any_pattern(shared: MilvusStore) -> None:
    """A raw `like` with `%` anywhere finds what it should."""
    await shared.aadd_texts(["t53"], [{"t53": "fox"}], ids=["t53-like"])
    for pattern in ("fo%", "%ox", "%o%"):
        assert await ids(shared, f't53 like "{pattern}"') == {"t53-like"}


async def test_t54_a_row_without_the_field_is_in_no_scope(shared: MilvusStore) -> None:
    """Rows without the scope's field are not read, counted, deleted or overwritten by a view."""
    await shared.aadd_texts(["without"], [{"kind": "t54"}], ids=["t54-without"])
    view = shared.scoped(t54="a")
    await view.aadd_texts(["within"], [{"kind": "t54"}], ids=["t54-within"])
    kind = 'kind == "t54"'
    for expr in (kind, f'{kind} and t54 != "b"', f'{kind} or not (t54 == "a")'):
        assert await ids(view, expr) == {"t54-within"}
        assert await view.acount(expr) == 1
        (found,) = await view.asimilarity_search("without", expr=expr)
        assert found.id == "t54-within"
    assert await view.aget_by_ids(["t54-without"]) == []
    assert (await view.adelete(["t54-without"])).count == 0
    with pytest.raises(ScopeError):
        await view.aadd_texts(["mine now"], ids=["t54-without"])
    assert (await view.adelete(expr='not (t54 == "a") or t54 != "b"')).count == 1
    assert await ids(shared, kind) == {"t54-without"}


async def test_t55_a_scope_can_name_any_key(shared: MilvusStore) -> None:
    """Keys that only `$meta["…"]` can name, and words of the language, hold a scope as well."""
    keys = ["a b", 'say "hi"', "back\\slash", "in", "ünï"]
    for key, value in zip(keys, itertools.cycle(["x", 7, True]), strict=False):
        view, other = shared.scoped({key: value}), shared.scoped({key: "other"})
        await view.aadd_texts(["t55"], ids=[f"t55 {key}"])
        await other.aadd_texts(["t55"], ids=[f"t55 not {key}"])
        assert [found.id for found in await view.asimilarity_search("t55")] == [f"t55 {key}"]
        assert [found.id for found in await view.asearch_by_metadata()] == [f"t55 {key}"]


async def test_t55_no_filter_needs_no_tautology(make_store: MakeStore) -> None:
    """Reads without a condition send none: `true` and `1 == 1` are errors on the server."""
    made = Made(Recording)
    store = make_store(transport=made)
    await store.aadd_texts(["t55"], ids=["1"])
    assert await store.acount() == 1
    assert len(await store.asearch_by_metadata()) == 1
    assert len(await store.asimilarity_search("t55")) == 1
    reads = [request for request in made.one.sent if isinstance(request, QueryRequest)]
    assert [request.filter for request in reads] == ["", ""]


@pytest.mark.parametrize("expr", BREAKOUTS.values(), ids=BREAKOUTS)
def test_t56_an_expression_that_could_leave_its_brackets_is_refused(expr: str) -> None:
    """Brackets, lists and strings must close what they open, and nothing else."""
    with pytest.raises(FilterError):
        checked(expr)


@pytest.mark.parametrize("expr", INNOCENT)
def test_t56_brackets_inside_strings_are_text(expr: str) -> None:
    """An expression that is whole passes unchanged."""
    assert checked(f" {expr}\n") == expr


async def test_t56_a_scope_holds_against_every_expression(shared: MilvusStore) -> None:
    """No raw expression reads or deletes a row of another scope, by whichever method."""
    ours, theirs = shared.scoped(t56="a"), shared.scoped(t56="b")
    await theirs.aadd_texts(["theirs"], [{"n": 1}], ids=["t56-b"])
    await ours.aadd_texts(["ours"], [{"n": 1}], ids=["t56-a"])
    for expr in BREAKOUTS.values():
        for read in READS.values():
            with pytest.raises(FilterError):
                await read(ours, expr)
    for expr in ('n == 1 or t56 == "b"', 'not (t56 == "a")', 't56 != "a" or n == 1'):
        assert await ids(ours, expr) <= {"t56-a"}
        assert await ours.acount(expr) <= 1
        assert {found.id for found in await ours.asimilarity_search("x", expr=expr)} <= {"t56-a"}
    await ours.adelete(expr='n == 1 or t56 == "b"')
    assert [found.id for found in await theirs.asearch_by_metadata()] == ["t56-b"]


@pytest.mark.parametrize("comment", ["//", "#", "--", "/*", "/* */"])
async def test_t56_comments_hide_nothing(shared: MilvusStore, comment: str) -> None:
    """The comments of some languages are an error, and do not end the expression."""
    view = shared.scoped(tenant="comment")
    await view.aadd_texts(["t56"], [{"n": 1}], ids=["t56-comment"])
    with pytest.raises((FilterError, MilvusError)):
        await view.asearch_by_metadata(f"n == 1 {comment} ")


async def test_t57_a_delete_by_filter_goes_by_key(
    make_store: MakeStore, shared: MilvusStore, client: MilvusClient
) -> None:
    """The matching keys are read first, then deleted by key: fast on the server, and counted."""
    made = Made(Recording)
    store = make_store(collection_name=shared.collection_name, transport=made)
    names = [f"t57-{number}" for number in range(3)]
    await store.aadd_texts(names, [{"t57": name != "t57-2"} for name in names], ids=names)
    deleted = await store.adelete(expr="t57 == true")
    assert (deleted.count, deleted.missing) == (2, 0)
    assert (await store.adelete(expr="t57 == true")).count == 0
    (request,) = (sent for sent in made.one.sent if isinstance(sent, DeleteRequest))
    assert sorted(request.keys.values) == ["t57-0", "t57-1"]
    assert request.filter == ""
    left = client.query(
        store.collection_name, filter='pk like "t57-%"', consistency_level="Strong"
    )
    assert [row["pk"] for row in left] == ["t57-2"]
