"""Ranking by links: the reranker, the retriever's setting and the tools' setting."""

import math
import uuid
from collections.abc import Callable

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from milvus_tools import LinkReranker, MilvusMultiQueryRetriever, MilvusStore, MilvusToolkit
from milvus_tools.tools.settings import AnyStore
from tests.helpers.support import DIM

ASKED = "Who directed the film that was shot around Leland?"
BIRDS = [f"It hunts at night, in wood {number}." for number in range(8)]
FILM = "It is by Stephen King."
LELAND = "It is a town. The film Maximum Overdrive was shot around it."
NEAREST_FIRST = [LELAND, *BIRDS, FILM]
TITLES = {LELAND: "Leland", FILM: "Maximum Overdrive (film)"}


class Placed(Embeddings):
    """Embeds each text at an angle that is its place among the nearest to a question."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of the question, which is at angle 0."""
        place = NEAREST_FIRST.index(text) + 1 if text in NEAREST_FIRST else 0
        angle = place / 20
        return [math.cos(angle), math.sin(angle), *[0.0] * (DIM - 2)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return list(map(self.embed_query, texts))


@pytest.fixture
async def library(make_store: Callable[..., MilvusStore], shared: MilvusStore) -> AnyStore:
    """Documents of which a search finds the first step of a question first, the second last."""
    store = make_store(Placed(), collection_name=shared.collection_name)
    view = store.scoped(case=uuid.uuid4().hex)
    await view.aadd_documents(
        [Document(text, metadata={"title": TITLES.get(text, "")}) for text in NEAREST_FIRST]
    )
    return view


def texts(documents: list[Document]) -> list[str]:
    """Return the texts of Documents."""
    return [one.page_content for one in documents]


async def test_the_reranker_fits_any_chain(library: AnyStore) -> None:
    """`ContextualCompressionRetriever` takes it; async and blocking calls rank alike."""
    plain = library.as_retriever(search_kwargs={"k": 50})
    assert texts(await plain.ainvoke(ASKED)) == NEAREST_FIRST
    retriever = ContextualCompressionRetriever(
        base_compressor=LinkReranker(top_n=3), base_retriever=plain
    )
    expected = [LELAND, FILM, BIRDS[0]]
    assert texts(await retriever.ainvoke(ASKED)) == expected
    assert texts(retriever.invoke(ASKED)) == expected


async def test_another_field_may_hold_the_title(library: AnyStore) -> None:
    """Without the field, the first name of the text is the title."""
    found = await library.asimilarity_search(ASKED, 50)
    assert texts(LinkReranker(title_field="name").compress_documents(found, ASKED)) == (
        NEAREST_FIRST
    )


async def test_the_retriever_ranks_by_links(library: AnyStore) -> None:
    """It fetches enough for that, and returns `k`."""
    retriever = MilvusMultiQueryRetriever(library, link_field="title", k=2)
    assert texts(await retriever.ainvoke(ASKED)) == [LELAND, FILM]
    assert texts(retriever.invoke(ASKED)) == [LELAND, FILM]
    assert len(await retriever.ainvoke(ASKED, k=5)) == 5
    plain = retriever.model_copy(update={"link_field": None})
    assert texts(await plain.ainvoke(ASKED)) == [LELAND, BIRDS[0]]


async def test_the_search_tool_ranks_by_links(library: AnyStore) -> None:
    """The model asks for `k`, and sees the second step."""
    search, *_ = await MilvusToolkit(library, link_field="title").aget_tools()
    call = {"name": search.name, "args": {"query": ASKED, "k": 2}, "id": "1", "type": "tool_call"}
    message = await search.ainvoke(call)
    assert texts(message.artifact) == [LELAND, FILM]
    assert FILM in message.content
    assert BIRDS[0] not in message.content


@pytest.mark.parametrize("setting", [{"top_n": 0}, {"title": "name"}])
def test_a_setting_of_the_reranker_that_can_t_be_is_refused(setting: dict[str, object]) -> None:
    """A misspelled one too."""
    with pytest.raises(ValueError, match=next(iter(setting))):
        LinkReranker(**setting)  # type: ignore[arg-type]
