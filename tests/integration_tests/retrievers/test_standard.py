"""LangChain's own integration suite for retrievers, on both backends."""

from typing import Any

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests

from milvus_tools import MilvusMultiQueryRetriever, MilvusStore
from tests.helpers.agents import KITE, OWL, birds_of


class TestQuestionAlone(RetrieversIntegrationTests):
    """Without a source of queries."""

    @pytest.fixture(autouse=True)
    def _on_a_store(self, shared: MilvusStore, request: pytest.FixtureRequest) -> None:
        self.store = birds_of(shared, request.node.nodeid).store

    @property
    def retriever_constructor(self) -> type[MilvusMultiQueryRetriever]:
        """The retriever."""
        return MilvusMultiQueryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"store": self.store}

    @property
    def retriever_query_example(self) -> str:
        """A question."""
        return KITE


class TestSeveralQueries(TestQuestionAlone):
    """With a generator, and hits that are unlike each other."""

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"store": self.store, "query_generator": lambda _: [OWL], "mode": "mmr"}
