"""Long input: the I/O loop and the caller's loop turn while it is read."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from graphs.rag import Context, build_graph, nodes
from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from milvus_tools.errors import MilvusError
from milvus_tools.filters import All, Condition, Operator, query_filter
from milvus_tools.filters.literals import MAX_EXPRESSION
from milvus_tools.store import filtering
from milvus_tools.transport.grpc_errors import translated
from tests.helpers.linear_time import SIZES, is_linear
from tests.helpers.rag_graph import DOCUMENTS, QUESTION
from tests.helpers.support import DIM, ON_LITE

pytestmark = ON_LITE
LONG = f'text == "{"x" * (MAX_EXPRESSION - 100)}"'
MANY = All([Condition("n", Operator.IN, list(range(500)))] * 9)


class Watched:
    """A function, and whether each of its calls was made on an event loop's thread."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.on_a_loop: list[bool] = []
        self.given: list[Any] = []

    def __call__(self, *given: Any) -> Any:
        self.on_a_loop.append(_is_loops_thread())
        self.given.append(given[0])
        return self.function(*given)

    def on_a_loop_with(self, given: object) -> list[bool]:
        """Tell it of the calls that had this argument."""
        return [loop for loop, one in zip(self.on_a_loop, self.given, strict=True) if one == given]


def _is_loops_thread() -> bool:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop() is not None
    return False


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.acount(LONG),
        lambda store: store.asearch_by_metadata(LONG),
        lambda store: store.aget_pks(LONG),
        lambda store: store.adelete(expr=LONG),
        lambda store: store.asimilarity_search("x", expr=LONG),
        lambda store: store.asimilarity_search_by_vector([0.5] * DIM, expr=LONG),
        lambda store: store.amax_marginal_relevance_search("x", expr=LONG),
    ],
)
async def test_r03_a_long_expression_is_read_in_a_thread(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch, read: Callable[[Any], Any]
) -> None:
    """The I/O loop, which all stores share, turns while an expression of 64 kB is checked."""
    watched = Watched(query_filter.checked)
    monkeypatch.setattr(query_filter, "checked", watched)
    await read(shared.scoped(long="read"))
    assert watched.on_a_loop == [False]


async def test_r03_a_retriever_reads_a_long_expression_in_a_thread(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's loop turns, too."""
    view = shared.scoped(long="retriever")
    for asked in (
        MilvusMultiQueryRetriever(view),
        view.as_retriever(search_kwargs={"expr": "n == 1"}),
    ):
        watched = Watched(query_filter.checked)
        monkeypatch.setattr(query_filter, "checked", watched)
        await asked.ainvoke("x", expr=LONG)
        assert watched.on_a_loop_with(LONG) == [False]


async def test_r03_a_long_filter_is_written_in_a_thread(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed filter with thousands of values is worth a thread, one with few is not."""
    watched = Watched(filtering.write)
    monkeypatch.setattr(filtering, "write", watched)
    view = shared.scoped(long="filter")
    await view.aadd_texts(["x"])
    assert await view.afilter_expression(MANY, allow_dynamic=True)
    assert await view.afilter_expression(MANY.filters[0], allow_dynamic=True)
    assert watched.on_a_loop == [False, True]


@pytest.mark.parametrize("rule", ["split", "follow_ups", "ranked", "quotes"])
async def test_r03_the_graphs_rules_run_in_a_thread(
    shared: MilvusStore, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    """The rules run off the loop for a long question and many passages."""
    module = nodes.quoting if rule == "quotes" else nodes.rules
    watched = Watched(getattr(module, rule))
    monkeypatch.setattr(module, rule, watched)
    view = shared.scoped(long=rule)
    await view.aadd_documents(DOCUMENTS, ids=[f"{rule}-{one.id}" for one in DOCUMENTS])
    graph = build_graph(Context(store=view))
    assert (await graph.ainvoke({"question": QUESTION}))["answered_by"] == "rule"
    assert watched.on_a_loop
    assert not any(watched.on_a_loop)


def test_r03_what_milvus_says_of_a_long_expression_is_read_in_linear_time(
    shared: MilvusStore,
) -> None:
    """Milvus repeats the expression that it can't read; addresses are taken out of all of it."""
    shared.add_texts(["x"], ids=["r03"])

    def said(size: int) -> BaseException | None:
        with pytest.raises(MilvusError) as raised:
            shared.count(f"n == 1 1 or {'a-' * (size // 2)}a == 1")
        assert len(str(raised.value.__cause__)) > size
        return raised.value.__cause__

    def read(cause: BaseException) -> None:
        with contextlib.suppress(MilvusError), translated():
            raise cause

    assert is_linear(read, said, SIZES[:4])
