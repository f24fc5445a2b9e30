"""LangChain's own integration suite for tools, for all four, on both backends."""

from typing import Any, ClassVar

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests

from milvus_tools import MilvusStore
from tests.helpers.tools import toolkit, tools_of


class TestSearch(ToolsIntegrationTests):
    """The search."""

    verb = "search"
    example: ClassVar[dict[str, Any]] = {"query": "kites", "k": 2}

    @pytest.fixture(autouse=True)
    def _on_a_store(self, shared: MilvusStore) -> None:
        view = shared.scoped(suite=self.verb)
        view.add_texts(["The red kite"], [{"year": 2000}], ids=[f"suite-{self.verb}"])
        self.tool = tools_of(toolkit(view))[self.verb]

    @property
    def tool_constructor(self) -> BaseTool:
        """The tool."""
        return self.tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        """Arguments as a model gives them."""
        return self.example


class TestSearchByMetadata(TestSearch):
    """The search by metadata."""

    verb = "search_by_metadata"
    example: ClassVar[dict[str, Any]] = {
        "filters": [{"field": "year", "operator": "gte", "value": 2000}],
        "limit": 3,
    }


class TestUpsert(TestSearch):
    """The upsert."""

    verb = "upsert"
    example: ClassVar[dict[str, Any]] = {
        "documents": [{"id": "suite-1", "text": "A kite.", "metadata": {"year": 2000}}]
    }


class TestDelete(TestSearch):
    """The delete."""

    verb = "delete"
    example: ClassVar[dict[str, Any]] = {
        "filters": [{"field": "year", "operator": "eq", "value": 2000}]
    }
