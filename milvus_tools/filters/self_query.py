"""`MilvusTranslator`: LangChain's structured queries as typed filters."""

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    StructuredQuery,
    Visitor,
)
from langchain_core.structured_query import Operator as Connective

from milvus_tools.errors import FilterError
from milvus_tools.filters.conditions import All, Any_, Condition, Filter, Not, Operator
from milvus_tools.filters.stored import time_of

_OPERATORS: Final = {
    Comparator.EQ: Operator.EQ,
    Comparator.NE: Operator.NE,
    Comparator.GT: Operator.GT,
    Comparator.GTE: Operator.GTE,
    Comparator.LT: Operator.LT,
    Comparator.LTE: Operator.LTE,
    Comparator.IN: Operator.IN,
    Comparator.NIN: Operator.NOT_IN,
    Comparator.CONTAIN: Operator.CONTAINS,
    Comparator.LIKE: Operator.PREFIX,
}


class MilvusTranslator(Visitor):
    """Translates the structured queries of LangChain's `SelfQueryRetriever` for `MilvusStore`.

    A query's filter becomes a typed filter, the store's argument `filter`. `contain` is for lists,
    and `like` finds texts that begin with its value. Dates and times are compared by whole days
    and in UTC, as the store compares Python's.

    `SelfQueryRetriever` puts the query's filter in the place of a `filter` in its `search_kwargs`.
    Conditions that must always hold belong into the store's scope, or into `expr`, which holds
    beside the filter.

    Example:
        ```python
        retriever = SelfQueryRetriever.from_llm(
            model,
            store,
            "articles on birds",
            [AttributeInfo(name="year", description="the year of publication", type="integer")],
            structured_query_translator=MilvusTranslator(),
        )
        ```
    """

    allowed_comparators: Sequence[Comparator] | None = tuple(_OPERATORS)
    allowed_operators: Sequence[Connective] | None = tuple(Connective)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """Return the query's text, and the store's keyword arguments.

        Args:
            structured_query: The query.

        Raises:
            FilterError: If the filter has no form that Milvus can evaluate.
        """
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}

    def visit_operation(self, operation: Operation) -> Filter:
        """Return a group of filters.

        Args:
            operation: The operation.
        """
        filters = [argument.accept(self) for argument in operation.arguments]
        match operation.operator:
            case Connective.OR:
                return Any_(filters)
            case Connective.NOT:
                return Not(All(filters))
        return All(filters)

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Return a condition.

        Args:
            comparison: The comparison.
        """
        operator, value = _OPERATORS[comparison.comparator], _value(comparison.value)
        if operator is Operator.PREFIX:
            value = _beginning(value)
        return Condition(comparison.attribute, operator, value)


def _value(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_value(one) for one in value]
        case {"type": "date" | "datetime" as kind, **rest}:
            return _time(rest.get(kind))
    return value


def _time(text: Any) -> Any:
    try:
        return time_of(text)
    except (TypeError, ValueError) as error:
        raise FilterError(
            "A date or a time in a filter must be in ISO 8601, such as 2024-01-31."
        ) from error


def _beginning(pattern: Any) -> Any:
    """Return the text before the wildcard at the end of a pattern."""
    if not isinstance(pattern, str):
        return pattern
    beginning = pattern.rstrip("%")
    if "%" in beginning:
        raise FilterError(
            "like finds texts that begin with its value; a % can stand at its end alone."
        )
    return beginning
