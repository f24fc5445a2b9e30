"""Typed conditions that a model or a form fills in, and the filter expressions made of them."""

from milvus_tools.filters.conditions import (
    All,
    Any_,
    Condition,
    FieldType,
    Filter,
    Not,
    Operator,
    describe,
    parse,
)
from milvus_tools.filters.expression import expression
from milvus_tools.filters.fields import Fields
from milvus_tools.filters.query_filter import TypedFilter
from milvus_tools.filters.self_query import MilvusTranslator

__all__ = [
    "All",
    "Any_",
    "Condition",
    "FieldType",
    "Fields",
    "Filter",
    "MilvusTranslator",
    "Not",
    "Operator",
    "TypedFilter",
    "describe",
    "expression",
    "parse",
]
