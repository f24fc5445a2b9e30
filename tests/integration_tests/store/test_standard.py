"""LangChain's own suite for vector stores."""

from collections.abc import Callable

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from milvus_tools import MilvusStore


class TestMilvusStore(VectorStoreIntegrationTests):
    """All of it."""

    @pytest.fixture
    def vectorstore(self, make_store: Callable[..., MilvusStore]) -> MilvusStore:
        """An empty store."""
        return make_store(self.get_embeddings())
