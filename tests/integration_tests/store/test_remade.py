"""A collection that is made anew, or whose alias moves, under an open store."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from pymilvus import DataType, MilvusClient

from milvus_tools import MilvusStore
from milvus_tools.errors import DimensionError, InvalidInputError
from tests.conftest import new_name
from tests.helpers.support import DIM

MakeStore = Callable[..., MilvusStore]


@dataclasses.dataclass(frozen=True)
class Made:
    """What a collection is, and its one row."""

    dynamic: bool = True
    key: str = "pk"
    text: str = "text"
    number: str = ""
    dim: int = DIM
    more: tuple[tuple[str, int], ...] = ()

    @property
    def metadata(self) -> dict[str, int]:
        """The metadata of the row."""
        return dict(self.more) | ({self.number: 2} if self.number else {})

    def make(self, client: MilvusClient, name: str) -> None:
        """Make it past all stores."""
        schema = MilvusClient.create_schema(enable_dynamic_field=self.dynamic)
        schema.add_field(self.key, DataType.VARCHAR, is_primary=True, max_length=50)
        schema.add_field(self.text, DataType.VARCHAR, max_length=50)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        if self.number:
            schema.add_field(self.number, DataType.INT64)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
        client.create_collection(name, schema=schema, index_params=indexes)
        row = {self.key: "a", self.text: "there", "vector": [1.0] + [0.0] * (self.dim - 1)}
        client.insert(name, [{**row, **self.metadata}])


DYNAMIC = Made(more=(("m", 1),))
STATIC = Made(dynamic=False, number="n")


@pytest.fixture
def names(client: MilvusClient) -> Iterator[tuple[str, str, str]]:
    """Names for two collections and an alias; what is made under them is dropped."""
    names = (new_name(), new_name(), new_name())
    yield names
    if client.list_aliases(names[1] if client.has_collection(names[1]) else names[0]):
        client.drop_alias(names[2])
    for name in names[:2]:
        client.drop_collection(name)


def remade(
    client: MilvusClient, names: tuple[str, str, str], new: Made, *, by_alias: bool
) -> None:
    """Put another collection in the place of the first."""
    if by_alias:
        new.make(client, names[1])
        client.alter_alias(names[1], names[2])
    else:
        client.drop_collection(names[0])
        new.make(client, names[0])


def opened(
    make_store: MakeStore,
    client: MilvusClient,
    names: tuple[str, str, str],
    old: Made,
    *,
    by_alias: bool,
) -> MilvusStore:
    """Return a store that has read the first collection, under its name or by its alias."""
    old.make(client, names[0])
    if by_alias:
        client.create_alias(names[0], names[2])
    store = make_store(collection_name=names[2] if by_alias else names[0])
    assert read(store) == [{"m": 1} if old.dynamic else {"n": 2}] * 2
    return store


def read(store: MilvusStore) -> list[dict[str, Any]]:
    """Return the row's metadata, by a search and by a query."""
    found: list[Document] = store.similarity_search("q", k=1, consistency_level="Strong")
    found += store.search_by_metadata(limit=2, consistency_level="Strong")
    assert [(document.id, document.page_content) for document in found] == [("a", "there")] * 2
    return [document.metadata for document in found]


@pytest.mark.parametrize("by_alias", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (DYNAMIC, STATIC),
        (STATIC, DYNAMIC),
        (DYNAMIC, Made(key="key", more=(("m", 3),))),
        (STATIC, Made(dynamic=False, number="other")),
    ],
)
def test_r12_the_new_collection_is_read_by_its_own_schema(
    make_store: MakeStore,
    client: MilvusClient,
    names: tuple[str, str, str],
    old: Made,
    new: Made,
    by_alias: bool,
) -> None:
    """Its metadata is complete, whatever of the old one's was asked for."""
    store = opened(make_store, client, names, old, by_alias=by_alias)
    remade(client, names, new, by_alias=by_alias)
    assert read(store) == [new.metadata] * 2


@pytest.mark.parametrize(
    ("new", "error"), [(Made(text="body"), InvalidInputError), (Made(dim=4), DimensionError)]
)
def test_r12_a_new_collection_that_does_not_fit_is_an_error(
    make_store: MakeStore,
    client: MilvusClient,
    names: tuple[str, str, str],
    new: Made,
    error: type[Exception],
) -> None:
    """It names what does not fit, and no `KeyError` comes up."""
    store = opened(make_store, client, names, DYNAMIC, by_alias=False)
    remade(client, names, new, by_alias=False)
    with pytest.raises(error, match="text_field" if new.text == "body" else "dimensions"):
        store.similarity_search("q", k=1)


@pytest.mark.parametrize("by_alias", [False, True])
@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_r12_milvus_lite_is_asked_what_the_collection_is(
    make_store: MakeStore, client: MilvusClient, names: tuple[str, str, str], by_alias: bool
) -> None:
    """Fields that are new are read and written there, and a get finds ids under another key."""
    store = opened(make_store, client, names, DYNAMIC, by_alias=by_alias)
    new = Made(key="key", number="n", more=(("m", 4),))
    remade(client, names, new, by_alias=by_alias)
    (document,) = store.get_by_ids(["a"])
    assert document.metadata == {"m": 4, "n": 2}
    with pytest.raises(InvalidInputError, match="'n' needs a value"):
        store.add_texts(["b"], ids=["b"])
    store.add_texts(["b"], [{"n": 5}], ids=["b"])
    assert [one.metadata for one in store.get_by_ids(["b"])] == [{"n": 5}]
