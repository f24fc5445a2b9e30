"""LangChain's classic retrievers over the store.

Others have tests of their own: self-query in `filters/test_self_query.py`, time-weighted in
`store/test_metadata_values.py`, contextual compression in `retrievers/test_retriever.py` and
`retrievers/test_links.py`.
"""

import asyncio

import pytest
from langchain_classic.retrievers import (
    EnsembleRetriever,
    MultiQueryRetriever,
    MultiVectorRetriever,
    ParentDocumentRetriever,
)
from langchain_classic.retrievers.multi_vector import SearchType
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import CharacterTextSplitter

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from tests.helpers.agents import KITE, OWL, SWIFT, Birds
from tests.helpers.support import texts

FACES = pytest.mark.parametrize("face", ["async", "sync"])


async def ask(retriever: BaseRetriever, question: str, face: str) -> list[Document]:
    """Ask a retriever by one of its faces."""
    if face == "async":
        return await retriever.ainvoke(question)
    return await asyncio.to_thread(retriever.invoke, question)


@FACES
async def test_multi_query_finds_for_each_query_of_its_model(birds: Birds, face: str) -> None:
    """What several queries find is there once."""
    model = FakeListChatModel(responses=[f"{OWL}\n{SWIFT}\n{OWL}"])
    found_by_one = birds.store.as_retriever(search_kwargs={"k": 1})
    retriever = MultiQueryRetriever.from_llm(found_by_one, model, include_original=True)
    assert sorted(texts(await ask(retriever, KITE, face))) == sorted([KITE, OWL, SWIFT])


@FACES
@pytest.mark.parametrize("search_type", SearchType)
async def test_multi_vector_returns_what_its_vectors_stand_for(
    shared: MilvusStore, face: str, search_type: SearchType
) -> None:
    """Two questions stand for one text; it is returned once, in the order of the hits."""
    view = shared.scoped(multi_vector=f"{face} {search_type}")
    whole: InMemoryStore = InMemoryStore()
    whole.mset([("birds", Document(f"{KITE} {OWL}")), ("swifts", Document(SWIFT))])
    await view.aadd_texts(
        ["What glides?", "What hunts?", "What sleeps?"],
        [{"doc_id": "birds"}, {"doc_id": "birds"}, {"doc_id": "swifts"}],
    )
    retriever = MultiVectorRetriever(
        vectorstore=view, docstore=whole, search_kwargs={"k": 3}, search_type=search_type
    )
    found = texts(await ask(retriever, "What sleeps?", face))
    assert (found[0], sorted(found)) == (SWIFT, sorted([f"{KITE} {OWL}", SWIFT]))


@FACES
async def test_a_parent_document_is_found_by_its_parts(shared: MilvusStore, face: str) -> None:
    """The parts are in Milvus, each with its parent's id, and the parents beside it."""
    view = shared.scoped(parents=face)
    splitter = CharacterTextSplitter(separator="\n", chunk_size=30, chunk_overlap=0)
    retriever = ParentDocumentRetriever(
        vectorstore=view,
        docstore=InMemoryStore(),
        child_splitter=splitter,
        search_kwargs={"k": 1},
    )
    parents = [Document(f"{KITE}\n{OWL}", metadata={"n": 1}), Document(SWIFT, metadata={"n": 2})]
    if face == "async":
        await retriever.aadd_documents(parents)
    else:
        await asyncio.to_thread(retriever.add_documents, parents)
    parts = await view.asearch_by_metadata()
    assert sorted(texts(parts)) == sorted([KITE, OWL, SWIFT])
    assert len({part.metadata["doc_id"] for part in parts}) == 2
    assert await ask(retriever, OWL, face) == [parents[0]]
    assert await ask(retriever, SWIFT, face) == [parents[1]]


@FACES
async def test_an_ensemble_fuses_the_hits_of_several_retrievers(birds: Birds, face: str) -> None:
    """Of the store's retriever and of the multi-query retriever: the common hit comes first."""
    first = birds.store.as_retriever(search_kwargs={"k": 2, "expr": "year < 2005"})
    second = MilvusMultiQueryRetriever(birds.store, k=2, expr="year > 2000")
    ensemble = EnsembleRetriever(retrievers=[first, second], weights=[0.5, 0.5])
    found = texts(await ask(ensemble, OWL, face))
    assert (found[0], sorted(found)) == (OWL, sorted([KITE, OWL, SWIFT]))


@FACES
async def test_an_ensemble_keeps_two_documents_of_one_text(shared: MilvusStore, face: str) -> None:
    """By a metadata key that tells them apart; by their text, they would be one."""
    view = shared.scoped(ensemble=face)
    await view.aadd_texts([OWL, OWL], [{"page": 1}, {"page": 2}])
    retrievers: list[BaseRetriever] = [
        view.as_retriever(search_kwargs={"expr": "page == 1"}),
        view.as_retriever(),
    ]
    apart = EnsembleRetriever(retrievers=retrievers, id_key="page")
    assert [one.metadata["page"] for one in await ask(apart, OWL, face)] == [1, 2]
    assert len(await ask(EnsembleRetriever(retrievers=retrievers), OWL, face)) == 1
