"""Filters evaluated in Python alone: the rows that they find, and whether they can be asked.

Nothing here is taken from what is tested, but the names of operators and types.
"""

import dataclasses
import math
import operator
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from pymilvus import DataType

from milvus_tools.filters import All, Any_, Condition, FieldType, Filter, Not, Operator
from tests.helpers.generated_values import is_addressable, is_utf8

Row = Mapping[str, Any]
Verdict = bool | None  # None is for what can't be compared: neither a filter nor its negation

LISTS = {
    FieldType.STRINGS: FieldType.STRING,
    FieldType.INTEGERS: FieldType.INTEGER,
    FieldType.NUMBERS: FieldType.NUMBER,
    FieldType.BOOLEANS: FieldType.BOOLEAN,
}
_NEGATIONS = {Operator.NE: Operator.EQ, Operator.NOT_IN: Operator.IN}
_ORDERS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.PREFIX: lambda value, wanted: value.startswith(wanted),
    Operator.LIKE: lambda value, wanted: _matches(value, wanted.split("*")),
    Operator.BETWEEN: lambda value, wanted: wanted[0] <= value <= wanted[1],
}
_WORDS = {"and", "or", "not", "in", "like", "is", "null", "exists", "true", "false", "_seq"}
_OF_LISTS = {Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.EXISTS}
_OF_TEXTS = {Operator.PREFIX, Operator.LIKE}
_OF_FLAGS = {Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.EXISTS}


@dataclasses.dataclass(frozen=True)
class World:
    """A collection, and what filters may name there.

    Attributes:
        static: The fields of the schema that filters may name, by name: Milvus's type, and whether
            it is an ARRAY of that.
        others: The other fields.
        nullable: Whether the static fields may be null.
        declared: Keys with their types.
        metadata_field: The JSON field for metadata, or `None` if there is a dynamic field.
        lite: Whether it is in Milvus Lite.
    """

    static: Mapping[str, tuple[DataType, bool]]
    others: frozenset[str]
    declared: Mapping[str, FieldType]
    nullable: bool = False
    metadata_field: str | None = None
    lite: bool = False

    def type_of(self, name: str) -> FieldType | None:
        """Return what a name holds, or `None` if no filter may name it."""
        if name in self.static:
            data_type, is_array = self.static[name]
            scalar = {
                DataType.VARCHAR: FieldType.STRING,
                DataType.BOOL: FieldType.BOOLEAN,
                DataType.FLOAT: FieldType.NUMBER,
                DataType.DOUBLE: FieldType.NUMBER,
            }.get(data_type, FieldType.INTEGER)
            return {item: type_ for type_, item in LISTS.items()}[scalar] if is_array else scalar
        first, *inner = keys = keys_of(name)
        if first in self.others and not (first == "info" and inner):
            return None
        if not all(map(is_addressable, keys)) or (first in self.static and inner):
            return None
        return self.declared.get(name, FieldType.ANY)

    def value(self, name: str, row: Row) -> Any:
        """Return what a row has under a name; `None` if nothing, or what is as good as nothing."""
        if name in self.static:
            return self._stored(name, row.get(name))
        value: Any = row
        for key in keys_of(name):
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if isinstance(value, dict) and not self.lite else value

    def _stored(self, name: str, value: Any) -> Any:
        if self.static[name][0] != DataType.FLOAT or value is None:
            return value
        return [single(item) for item in value] if isinstance(value, list) else single(value)

    def in_quotes(self, name: str) -> bool:
        """Tell whether Milvus Lite can name a key of the dynamic field in quotes alone."""
        first = keys_of(name)[0]
        key = name not in self.static and first != "info"
        plain = first.isascii() and first.isidentifier() and first.lower() not in _WORDS
        return key and self.metadata_field is None and not plain


def keys_of(name: str) -> list[str]:
    """Return the keys of a name of these tests: with dots, or one in brackets at its end."""
    outer, bracket, quoted = name.partition("['")
    keys = outer.split(".") if outer else []
    return [*keys, re.sub(r"\\(.)", r"\1", quoted[:-2], flags=re.DOTALL)] if bracket else keys


def in_brackets(key: str) -> str:
    """Return a name for any key."""
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def single(value: float) -> float:
    """Return a number as 32 bits hold it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def holds(filter_: Filter, row: Row, world: World) -> Verdict:
    """Say whether a row matches."""
    match filter_:
        case Not(inner):
            verdict = holds(inner, row, world)
            return None if verdict is None else not verdict
        case All(parts):
            return _least([holds(part, row, world) for part in parts])
        case Any_(parts):
            verdict = _least([holds(Not(part), row, world) for part in parts])
            return None if verdict is None else not verdict
        case Condition(field):
            value = world.value(field, row)
            narrow = world.static.get(field, (None, False))[0] == DataType.FLOAT
            wanted = _narrowed(filter_.value) if narrow else filter_.value
            return _verdict(filter_.operator, value, wanted)


def _least(verdicts: list[Verdict]) -> Verdict:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _narrowed(wanted: Any) -> Any:
    if isinstance(wanted, list):
        return [_narrowed(one) for one in wanted]
    return wanted if isinstance(wanted, bool) or abs(wanted) > 3.4e38 else single(wanted)


def _verdict(asked: Operator, value: Any, wanted: Any) -> Verdict:
    if asked is Operator.EXISTS:
        return bool((value is not None) == wanted)
    if asked in _NEGATIONS:
        return not _verdict(_NEGATIONS[asked], value, wanted)
    if value is None:
        return False
    if asked in _EQUALITIES:
        return _EQUALITIES[asked](value, wanted)
    bounds = wanted if isinstance(wanted, list) else [wanted]
    kinds = {_kind(one) for one in [value, *bounds]}
    return _ORDERS[asked](value, wanted) if kinds in ({"text"}, {"number"}) else None


def _equal(value: Any, wanted: Any) -> bool:
    return bool(_kind(value) == _kind(wanted) != "" and value == wanted)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) else ""


def _matches(value: str, pieces: list[str]) -> bool:
    first, *middle, last = pieces if len(pieces) > 1 else [pieces[0], ""]
    if len(pieces) == 1:
        return value == first
    if not value.startswith(first):
        return False
    position = len(first)
    for piece in middle:
        position = value.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return value.endswith(last) and len(value) - len(last) >= position


def _has(value: Any, wanted: list[Any]) -> bool:
    return isinstance(value, list) and any(_equal(item, one) for item in value for one in wanted)


_EQUALITIES: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: _equal,
    Operator.IN: lambda value, wanted: any(_equal(value, one) for one in wanted),
    Operator.CONTAINS: lambda value, wanted: _has(value, [wanted]),
    Operator.CONTAINS_ANY: _has,
}


def depth(filter_: Filter) -> int:
    """Return how deep a filter nests."""
    match filter_:
        case All(parts) | Any_(parts):
            return 1 + max(map(depth, parts), default=0)
        case Not(inner):
            return 1 + depth(inner)
    return 0


def is_answerable(filter_: Filter, world: World) -> bool:
    """Tell whether a filter is right, and this Milvus can answer it."""
    match filter_:
        case Not(inner):
            return is_answerable(inner, world)
        case All(parts) | Any_(parts):
            return len(parts) > 0 and all(is_answerable(part, world) for part in parts)
        case Condition(field, asked, wanted):
            type_ = world.type_of(field)
            if type_ is None or asked not in _operators(type_):
                return False
            if asked is Operator.LIKE and not (world.lite and _is_pattern(wanted)):
                return False
            looks_inside = asked in (Operator.CONTAINS, Operator.CONTAINS_ANY)
            if looks_inside and world.lite and world.in_quotes(field):
                return False
            return _fits(asked, wanted, LISTS.get(type_, type_))


def _operators(type_: FieldType) -> set[Operator]:
    if type_ in LISTS:
        return _OF_LISTS
    if type_ is FieldType.BOOLEAN:
        return _OF_FLAGS
    every = set(Operator)
    if type_ is FieldType.STRING:
        return every - _OF_LISTS | {Operator.EXISTS}
    return every if type_ is FieldType.ANY else every - _OF_LISTS - _OF_TEXTS | {Operator.EXISTS}


def _is_pattern(wanted: Any) -> bool:
    if not isinstance(wanted, str):
        return False
    pieces = [piece for piece in wanted.split("*") if piece]
    edges = wanted.startswith("*") + wanted.endswith("*")
    few = wanted.count("*") == 0 or len(pieces) - 1 + edges <= 3
    return "*" not in wanted.rstrip("*") or (few and not set("%_\\") & set(wanted))


def _fits(asked: Operator, wanted: Any, type_: FieldType) -> bool:
    match asked:
        case Operator.EXISTS:
            return isinstance(wanted, bool)
        case Operator.PREFIX | Operator.LIKE:
            return isinstance(wanted, str) and is_utf8(wanted)
        case Operator.IN | Operator.NOT_IN | Operator.CONTAINS_ANY:
            lengths = range(1, 21_846)
        case Operator.BETWEEN:
            lengths = range(2, 3)
            if isinstance(wanted, list) and len({_kind(one) for one in wanted}) > 1:
                return False
        case _:
            return _is_of(wanted, type_)
    if not isinstance(wanted, list) or len(wanted) not in lengths:
        return False
    return all(_is_of(one, type_) for one in wanted)


def _is_of(wanted: Any, type_: FieldType) -> bool:
    match wanted:
        case bool():
            return type_ in (FieldType.BOOLEAN, FieldType.ANY)
        case str():
            return type_ in (FieldType.STRING, FieldType.ANY) and is_utf8(wanted)
        case int():
            numbers = (FieldType.INTEGER, FieldType.NUMBER, FieldType.ANY)
            return type_ in numbers and abs(wanted) < 2**63
        case float():
            if not math.isfinite(wanted):
                return False
            whole = type_ is FieldType.INTEGER and wanted.is_integer() and abs(wanted) < 2**63
            return whole or type_ in (FieldType.NUMBER, FieldType.ANY)
    return False
