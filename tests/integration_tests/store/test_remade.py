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
OTHER_KEY = Made(key="key", more=(("m", 3),))
OTHER_NUMBER = Made(dynamic=False, number="other")


@dataclasses.dataclass
class Place:
    """A name that a store knows, under which collections come and go past it.

    Args:
        client: Makes them.
        by_alias: Whether the name is an alias, which moves to the new collection.
    """

    client: MilvusClient
    by_alias: bool
    name: str = dataclasses.field(default_factory=new_name)
    made: list[str] = dataclasses.field(default_factory=list)
    """The collections that the alias has had."""

    def put(self, new: Made) -> None:
        """Put a collection there, in the place of the one before."""
        if self.by_alias:
            self._move_alias(new)
        else:
            self.client.drop_collection(self.name)
            new.make(self.client, self.name)

    def _move_alias(self, new: Made) -> None:
        point = self.client.alter_alias if self.made else self.client.create_alias
        self.made.append(new_name())
        new.make(self.client, self.made[-1])
        point(self.made[-1], self.name)

    def clear(self) -> None:
        """Drop all that is there."""
        if self.by_alias:
            self.client.drop_alias(self.name)
        for name in self.made or [self.name]:
            self.client.drop_collection(name)


@pytest.fixture(params=[False, True], ids=["name", "alias"])
def place(client: MilvusClient, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A name or an alias, whose collection has a dynamic field."""
    place = Place(client, request.param)
    place.put(DYNAMIC)
    yield place
    place.clear()


@pytest.fixture
def store(make_store: MakeStore, place: Place) -> MilvusStore:
    """A store that has read the collection."""
    store = make_store(collection_name=place.name)
    assert read(store) == [{"m": 1}] * 2
    return store


def read(store: MilvusStore) -> list[dict[str, Any]]:
    """Return the row's metadata, by a search and by a query."""
    found: list[Document] = store.similarity_search("q", k=1, consistency_level="Strong")
    found += store.search_by_metadata(limit=2, consistency_level="Strong")
    assert [(document.id, document.page_content) for document in found] == [("a", "there")] * 2
    return [document.metadata for document in found]


def test_r12_the_new_collection_is_read_by_its_own_schema(
    store: MilvusStore, place: Place
) -> None:
    """Its metadata is complete, whatever of the old one's was asked for."""
    for new in (OTHER_KEY, STATIC, OTHER_NUMBER, DYNAMIC):
        place.put(new)
        assert read(store) == [new.metadata] * 2


@pytest.mark.parametrize("place", [False], indirect=True)
def test_r12_a_new_collection_that_does_not_fit_is_an_error(
    store: MilvusStore, place: Place
) -> None:
    """It names what does not fit, and no `KeyError` comes up."""
    place.put(Made(text="body"))
    with pytest.raises(InvalidInputError, match="text_field"):
        store.similarity_search("q", k=1)
    place.put(Made(dim=4))
    with pytest.raises(DimensionError, match="dimensions"):
        store.similarity_search("q", k=1)


@pytest.mark.parametrize("backend", ["lite"], indirect=True)
def test_r12_milvus_lite_is_asked_what_the_collection_is(store: MilvusStore, place: Place) -> None:
    """Fields that are new are read and written there, and a get finds ids under another key."""
    place.put(Made(key="key", number="n", more=(("m", 4),)))
    (document,) = store.get_by_ids(["a"])
    assert document.metadata == {"m": 4, "n": 2}
    with pytest.raises(InvalidInputError, match="'n' needs a value"):
        store.add_texts(["b"], ids=["b"])
    store.add_texts(["b"], [{"n": 5}], ids=["b"])
    assert [one.metadata for one in store.get_by_ids(["b"])] == [{"n": 5}]
