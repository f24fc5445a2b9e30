"""Milvus Lite's files, the import, the log and bound models: traps T37 to T41 and T58."""

import asyncio
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from langchain_core.embeddings import Embeddings
from pymilvus import MilvusClient, MilvusException

import milvus_tools
from milvus_tools import MilvusStore
from milvus_tools._io.loop import portal
from milvus_tools.errors import DeadlineError, MilvusError, UnavailableError
from tests.helpers.openai_service import OpenAIService
from tests.helpers.proxy import proxy_of
from tests.helpers.support import ON_LITE, ON_SERVER, embeddings, texts
from tests.helpers.threads import in_threads, run_python

MakeStore = Callable[..., MilvusStore]
_LIST = """
import sys
from pymilvus import MilvusClient
client = MilvusClient(sys.argv[1])
print(*client.list_collections())
client.close()
"""
_HOLD_OPEN = """
import sys
from pymilvus import MilvusClient
client = MilvusClient(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


async def test_t37_the_first_write_makes_the_index(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """The index that Milvus Lite's async client can't make is there, with the metric we chose."""
    store = make_store()
    await store.aadd_texts(["t37"], ids=["1"])
    (name,) = client.list_indexes(store.collection_name)
    index = client.describe_index(store.collection_name, name)
    assert (index["field_name"], index["metric_type"]) == ("vector", "COSINE")
    assert texts(await store.asimilarity_search("t37")) == ["t37"]


@ON_LITE
def test_t38_many_threads_can_open_a_new_file(make_store: MakeStore, own_uri: str) -> None:
    """Six stores in six threads open a database file that does not exist yet, all at once."""
    stores = [make_store(connection_args={"uri": own_uri}) for _ in range(6)]
    calls = [
        lambda store=store, id_=str(number): store.add_texts([id_], ids=[id_])
        for number, store in enumerate(stores)
    ]
    assert in_threads(*calls) == [[str(number)] for number in range(6)]
    assert stores[0].count() == 6


@pytest.fixture
def held_elsewhere(own_uri: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the test's own file open until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_OPEN, own_uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process


@ON_LITE
async def test_t38_a_file_that_is_open_elsewhere_is_said_to_be(
    make_store: MakeStore, own_uri: str, held_elsewhere: subprocess.Popen[str]
) -> None:
    """The error names the cause, and the same store works when the other process has ended."""
    store = make_store(connection_args={"uri": own_uri})
    with pytest.raises(UnavailableError, match="open in another process") as caught:
        await store.aadd_texts(["t38"], ids=["1"])
    assert own_uri not in str(caught.value)
    await asyncio.to_thread(held_elsewhere.communicate)
    assert await store.aadd_texts(["t38"], ids=["1"]) == ["1"]


@ON_LITE
async def test_t38_a_symbolic_link_finds_the_open_file(
    make_store: MakeStore, own_uri: str, tmp_path: pathlib.Path
) -> None:
    """A store that names the file by another path shares it with the store that has it open."""
    link = tmp_path / "link.db"
    link.symlink_to(own_uri)
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["t38"], ids=["1"])
    linked = make_store(connection_args={"uri": str(link)})
    assert texts(await linked.aget_by_ids(["1"])) == ["t38"]


@ON_LITE
def test_t38_closing_frees_the_file(make_store: MakeStore, own_uri: str) -> None:
    """Another process can open the file as soon as the store is closed."""
    store = make_store(connection_args={"uri": own_uri})
    store.add_texts(["t38"], ids=["1"])
    store.close()
    assert run_python(_LIST, own_uri) == f"{store.collection_name}\n"


@ON_LITE
async def test_t38_idle_connections_are_left_in_peace(
    make_store: MakeStore, own_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No channel of ours pings Milvus Lite, which breaks connections that ping every 10 s."""
    intervals: list[int] = []
    for module in (grpc, grpc.aio):
        connect = module.insecure_channel

        def watched(
            *args: Any, connect: Callable[..., Any] = connect, **kwargs: Any
        ) -> grpc.Channel:
            intervals.append(dict(kwargs["options"])["grpc.keepalive_time_ms"])
            return connect(*args, **kwargs)

        monkeypatch.setattr(module, "insecure_channel", watched)
    store = make_store(connection_args={"uri": own_uri})
    await store.aadd_texts(["t38"], ids=["1"])
    assert store.client.has_collection(store.collection_name)
    assert len(intervals) >= 3
    assert set(intervals) == {2**31 - 1}
    given = {"uri": own_uri, "grpc_options": {"grpc.keepalive_time_ms": 60_000}}
    await make_store(connection_args=given).acount()
    assert set(intervals) == {2**31 - 1, 60_000}


def test_t39_no_variable_of_ours_breaks_the_import(tmp_path: pathlib.Path) -> None:
    """A path in our test variable is harmless, and MILVUS_URI, which is not, is never named."""
    environment = {**os.environ, "MILVUS_TEST_URI": str(tmp_path / "x.db")}
    subprocess.run([sys.executable, "-c", "import milvus_tools"], env=environment, check=True)
    (folder,) = milvus_tools.__path__
    sources = list(pathlib.Path(folder).rglob("*.py"))
    assert sources
    assert [path.name for path in sources if '"MILVUS_URI"' in path.read_text()] == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The records that pymilvus logs, whether or not it has switched propagation off."""
    loggers = [logging.getLogger("pymilvus.decorators"), logging.getLogger("pymilvus.client")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)


async def test_t40_what_is_raised_is_not_logged_too(
    shared: MilvusStore, logged: pytest.LogCaptureFixture
) -> None:
    """A refused search is an error of ours and no traceback in the log."""
    await shared.aadd_texts(["t40"], ids=["t40"])
    with logged.at_level(logging.INFO):
        with pytest.raises(MilvusError):
            await shared.asimilarity_search("t40", expr="t40 ==")
        with pytest.raises(MilvusError):
            await shared.acount("t40 ==")
    assert [record for record in logged.records if record.name.startswith("pymilvus")] == []


def test_t40_what_others_do_with_pymilvus_is_logged(
    client: MilvusClient, logged: pytest.LogCaptureFixture
) -> None:
    """The application's own client still logs its errors."""
    with pytest.raises(MilvusException):
        client.describe_collection("no_such_collection")
    assert any(record.name.startswith("pymilvus") for record in logged.records)


@ON_SERVER
async def test_t40_a_refused_connection_is_not_logged_too(
    make_store: MakeStore, shared: MilvusStore, logged: pytest.LogCaptureFixture
) -> None:
    """A server that is suddenly gone is an error of ours, and no traceback in the log either."""
    await shared.aadd_texts(["t40"], ids=["t40"])
    with proxy_of(shared._connection_args["uri"]) as proxy:
        arguments = {"uri": proxy.uri}
        store = make_store(collection_name=shared.collection_name, connection_args=arguments)
        await store.acount()
        proxy.cut()
        with pytest.raises((UnavailableError, DeadlineError)):
            await store.asimilarity_search("t40", timeout=1)
    assert [record for record in logged.records if record.name.startswith("pymilvus")] == []


@ON_LITE
async def test_t41_a_reopened_file_is_loaded(make_store: MakeStore, own_uri: str) -> None:
    """A store searches in a file that was closed, whose collections Milvus Lite releases."""
    first = make_store(connection_args={"uri": own_uri})
    await first.aadd_texts(["t41"], ids=["1"])
    await first.aclose()
    second = make_store(connection_args={"uri": own_uri})
    assert texts(await second.asimilarity_search("t41")) == ["t41"]


@ON_SERVER
async def test_t41_a_released_collection_is_loaded(
    make_store: MakeStore, client: MilvusClient
) -> None:
    """A store searches in a collection that was released before the store was opened."""
    first = make_store()
    await first.aadd_texts(["t41"], ids=["1"])
    await first.aclose()
    client.release_collection(first.collection_name)
    second = make_store()
    assert texts(await second.asimilarity_search("t41")) == ["t41"]


class WebModel(Embeddings):
    """A client that keeps its connections open, as those of model providers do."""

    def __init__(self, base_url: str) -> None:
        self.client = httpx.AsyncClient(base_url=base_url, trust_env=False)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Ask the service."""
        answer = await self.client.post("/embeddings", json={"input": texts})
        return [one["embedding"] for one in answer.json()["data"]]

    async def aembed_query(self, text: str) -> list[float]:
        """Ask the service."""
        (vector,) = await self.aembed_documents([text])
        return vector


def test_t58_a_model_with_connections_serves_all_callers(
    make_store: MakeStore, shared: MilvusStore
) -> None:
    """A model whose connections belong to a loop is called on one loop by all callers."""
    with OpenAIService() as service:
        model = WebModel(service.base_url)
        store = make_store(model, collection_name=shared.collection_name)
        store.add_texts(["t58"], ids=["t58"])

        async def search_often() -> list[list[str]]:
            searches = [store.asimilarity_search("t58", k=1) for _ in range(8)]
            return [texts(found) for found in await asyncio.gather(*searches)]

        for _ in range(3):
            assert asyncio.run(search_often()) == [["t58"]] * 8
        assert in_threads(*[lambda: asyncio.run(search_often())] * 2) == [[["t58"]] * 8] * 2
        assert texts(store.similarity_search("t58", k=1)) == ["t58"]
        portal().run_sync(model.client.aclose())


async def test_a_relative_path_is_that_of_where_the_store_was_made(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changing the working directory, before the first call too, opens no other file."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    store = MilvusStore(embeddings(), connection_args={"uri": "./docs.db"})
    monkeypatch.chdir(there)
    await store.aadd_texts(["kite"], ids=["1"])
    assert store.client.has_collection(store.collection_name)
    aclient = store.aclient
    assert await aclient.has_collection(store.collection_name)
    await aclient.close()
    await store.aclose()
    assert (here / "docs.db").exists()
    assert list(there.iterdir()) == []
