"""LangChain's own unit suite for tools, for all four."""

from typing import Any, ClassVar

from langchain_core.tools import BaseTool
from langchain_tests.unit_tests import ToolsUnitTests

from tests.helpers.tools import toolkit, tools_of


class TestSearch(ToolsUnitTests):
    """The search."""

    verb = "search"
    example: ClassVar[dict[str, Any]] = {"query": "kites", "k": 2}

    @property
    def tool_constructor(self) -> BaseTool:
        """The tool, on a store that is not opened."""
        return tools_of(toolkit())[self.verb]

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
        "documents": [{"id": "1", "text": "A kite.", "metadata": {"year": 2000}}]
    }


class TestDelete(TestSearch):
    """The delete."""

    verb = "delete"
    example: ClassVar[dict[str, Any]] = {"ids": ["1"], "dry_run": True}
