"""Filters: expressions that are safe to join, and typed conditions that become expressions."""

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
from milvus_tools.filters.expressions import (
    INT64_MAX,
    Scalar,
    all_of,
    any_of,
    checked,
    equals,
    literal,
    one_of,
    reference,
    unicode,
)
from milvus_tools.filters.fields import Fields
from milvus_tools.filters.rendering import expression

__all__ = [
    "INT64_MAX",
    "All",
    "Any_",
    "Condition",
    "FieldType",
    "Fields",
    "Filter",
    "Not",
    "Operator",
    "Scalar",
    "all_of",
    "any_of",
    "checked",
    "describe",
    "equals",
    "expression",
    "literal",
    "one_of",
    "parse",
    "reference",
    "unicode",
]
