"""Typed conditions: what a model or a form fills in, and the filter expressions made of it."""

from milvus_tools.conditions.fields import Fields
from milvus_tools.conditions.model import (
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
from milvus_tools.conditions.rendering import expression

__all__ = [
    "All",
    "Any_",
    "Condition",
    "FieldType",
    "Fields",
    "Filter",
    "Not",
    "Operator",
    "describe",
    "expression",
    "parse",
]
