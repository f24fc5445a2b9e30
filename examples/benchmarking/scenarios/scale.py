"""A million vectors on a server: load, two indexes, a filter, a delete, and tenants."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from pymilvus import DataType, MilvusClient

from benchmarking.bench import Bench, in_new_process
from benchmarking.clustered import PERCENT, Clustered, documents, nearest, tenant
from benchmarking.comparing import OURS, Case, Measured, together
from benchmarking.scenarios.loading import peak_megabytes
from benchmarking.sides import Place
from milvus_tools import MilvusStore
from milvus_tools.ingest import aingest

_K: Final = 10
_PATIENCE: Final = 3_600  # seconds
_PER_CALLER: Final = 10  # searches, at least
_ONE_PERCENT: Final = {"field": "percent", "operator": "eq", "value": 0}
_PARTITIONS: Final = 64  # as by default
_METRIC: Final = "COSINE"
_INDEXES: Final[dict[str, dict[str, Any]]] = {"FLAT": {}, "HNSW": {"M": 16, "efConstruction": 200}}
_PARAM: Final = {"params": {"ef": 64}}  # which FLAT ignores

_Search = Callable[[int], Awaitable[list[Document]]]


async def cases(bench: Bench) -> AsyncIterator[Case]:
    """Load, search and delete a million vectors, and search for 1000 tenants; only if named.

    The figure of a search is the median. Its recall is the share of those ten rows that NumPy
    finds when it compares the question with all rows.
    """
    count, model = bench.size(1_000_000, 1_000), Clustered()
    few, some, many = _callers(bench)
    asked = model.questions(_searches(bench, many))
    truth = nearest(model, np.arange(count), asked, _K)
    kept = nearest(model, np.arange(0, count, PERCENT), asked, _K)
    async with _loaded(bench, count) as (store, load):
        yield load
        search = _searching([store], asked)
        filtered = _searching([store], asked, filter=_ONE_PERCENT)
        for index in _INDEXES:
            yield await _indexed(index, store, index)
            for callers in (few, some, many):
                yield await _searched(bench, index, search, callers, truth)
            yield await _searched(bench, f"{index}, 1 % kept by a filter", filtered, some, kept)
        yield await _deleted(store, count)
    async for case in _tenants(bench, model):
        yield case


async def _tenants(bench: Bench, model: Clustered) -> AsyncIterator[Case]:
    """Search by a partition key, each question in the scope of the next tenant."""
    tenants, rows = bench.size(1_000, 3), bench.size(200, 20)
    _, some, many = _callers(bench)
    asked = model.questions(_searches(bench, many))
    truth = [
        nearest(model, np.arange(number % tenants, tenants * rows, tenants), question[None], _K)[0]
        for number, question in enumerate(asked)
    ]
    async with _loaded(bench, tenants * rows, tenants) as (store, load):
        yield load
        yield await _indexed(f"{tenants} tenants", store, "HNSW")
        views = [store.scoped(tenant=tenant(number)) for number in range(tenants)]
        search = _searching(views, asked)
        for callers in (some, many):
            yield await _searched(bench, f"{tenants} tenants", search, callers, truth)


def _callers(bench: Bench) -> tuple[int, int, int]:
    return 1, bench.size(32, 2), bench.size(256, 3)


def _searches(bench: Bench, callers: int) -> int:
    return max(bench.size(500, 5), _PER_CALLER * callers)


def _store(place: Place, tenants: int) -> MilvusStore:
    """Make a store, for tenants or without them; it declares the fields that filters read."""
    by_tenant: dict[str, Any] = {"partition_key_field": "tenant", "num_partitions": _PARTITIONS}
    return MilvusStore(
        Clustered(),
        collection_name=place.collection_name,
        connection_args=place.connection_args,
        index_params={"index_type": "FLAT", "metric_type": _METRIC, "params": {}},
        metadata_schema={name: {"dtype": DataType.INT64} for name in ("number", "percent")},
        timeout=_PATIENCE,
        **(by_tenant if tenants else {}),
    )


@contextlib.asynccontextmanager
async def _loaded(
    bench: Bench, count: int, tenants: int = 0
) -> AsyncIterator[tuple[MilvusStore, Case]]:
    """Load rows in a new process, and open a store on them; drop them in the end."""
    place = bench.place("scale")
    load = functools.partial(_load, place, count, tenants)
    # A new process takes seconds, and in a fast run no figure is looked at.
    measured = await (asyncio.to_thread(load) if bench.fast else in_new_process(load))
    of = f" of {tenants} tenants" if tenants else ""
    async with _store(place, tenants) as store:
        try:
            yield store, Case(f"load {count} rows{of}", (measured,))
        finally:
            await store.adrop()


def _load(place: Place, count: int, tenants: int) -> Measured:
    async def load() -> Measured:
        async with _store(place, tenants) as store:
            before, start = peak_megabytes(), time.perf_counter()
            await aingest(store, documents(count, tenants))
            seconds, peak = time.perf_counter() - start, peak_megabytes()
            memory = {"peak MB": round(peak), "by the load": round(peak - before)}
            counts = {"rows/s": round(count / seconds), **memory}
            # An index is built for sealed segments alone.
            await asyncio.to_thread(lambda: store.client.flush(store.collection_name))
            return Measured(OURS, (seconds,), counts, await _miscounted(store, count))

    return asyncio.run(load())


async def _miscounted(store: MilvusStore, count: int) -> str:
    """Return a problem if there are more rows or fewer."""
    there = await store.acount(consistency_level="Strong")
    return "" if there == count else f"{there} of {count} rows are there"


async def _indexed(name: str, store: MilvusStore, index: str) -> Case:
    """Make an index in place of the one that is there, and load it."""
    client = await asyncio.to_thread(lambda: store.client)
    start = time.perf_counter()
    await asyncio.to_thread(_index, client, store.collection_name, index)
    seconds = time.perf_counter() - start
    return Case(f"{name}: build the index and load it", (Measured(OURS, (seconds,)),))


def _index(client: MilvusClient, name: str, index: str) -> None:
    client.release_collection(name)
    for old in client.list_indexes(name):
        client.drop_index(name, old)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index, metric_type=_METRIC, params=_INDEXES[index])
    client.create_index(name, indexes, timeout=_PATIENCE)
    client.load_collection(name, timeout=_PATIENCE)


def _searching(stores: Sequence[Any], asked: Any, **arguments: Any) -> _Search:
    vectors = asked.tolist()

    def search(number: int) -> Any:
        store = stores[number % len(stores)]
        return store.asimilarity_search_by_vector(vectors[number], k=_K, param=_PARAM, **arguments)

    return search


async def _searched(
    bench: Bench, name: str, search: _Search, callers: int, truth: Sequence[set[str]]
) -> Case:
    """Let callers search at the same time, each for one question after the other."""
    count = _searches(bench, callers)
    numbers = iter(range(count))
    seconds: list[float] = []
    recalls: list[float] = []

    async def call() -> None:
        for number in numbers:
            start = time.perf_counter()
            found = await search(number)
            seconds.append(time.perf_counter() - start)
            recalls.append(len(truth[number].intersection(one.id or "" for one in found)) / _K)

    await search(0)
    start = time.perf_counter()
    await together(call() for _ in range(callers))
    rate = count / (time.perf_counter() - start)
    p95, p99 = (float(1000 * one) for one in np.percentile(seconds, [95, 99]))
    figures = {"p95 ms": p95, "p99 ms": p99, "searches/s": rate}
    counts = {kind: float(f"{one:.3g}") for kind, one in figures.items()}
    counts[f"recall@{_K}"] = round(float(np.mean(recalls)), 4)
    return Case(f"{name}: {callers} at once", (Measured(OURS, tuple(seconds), counts),))


async def _deleted(store: MilvusStore, count: int) -> Case:
    """Delete a tenth of the rows by a filter, and count those that are left."""
    some = count // 10
    start = time.perf_counter()
    result = await store.adelete(filter={"field": "number", "operator": "lt", "value": some})
    seconds = time.perf_counter() - start
    problem = await _miscounted(store, count - result.count)
    counts = {"deleted": result.count, "rows/s": round(some / seconds)}
    return Case(f"delete {some} of {count} rows", (Measured(OURS, (seconds,), counts, problem),))
