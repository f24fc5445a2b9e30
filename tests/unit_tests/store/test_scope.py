"""Scopes: what they accept, stamp, recognise, and write into keys."""

import enum
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType

from milvus_tools.errors import (
    DeadlineError,
    FilterError,
    InvalidInputError,
    MilvusError,
    MilvusToolsError,
    PartialWriteError,
    ScopeError,
)
from milvus_tools.schema import Field, Schema
from milvus_tools.store.scope import Scope
from tests.helpers.generated_values import is_addressable, is_scope, is_utf8, scopes, texts


def schema(*fields: str, dynamic: bool = True) -> Schema:
    """Return a collection with some VARCHAR fields."""
    return Schema(
        collection_id=1,
        primary=Field("pk", DataType.VARCHAR),
        scalars={name: Field(name, DataType.VARCHAR) for name in ("text", *fields)},
        vectors={"vector": Field("vector", DataType.FLOAT_VECTOR, dim=2)},
        indexes={},
        dynamic=dynamic,
        bm25_inputs={},
    )


Plan = enum.StrEnum("Plan", {"FREE": "free"})
Level = enum.IntEnum("Level", {"ONE": 1})
fields = st.sampled_from(["a", "b", "a&b", "a=", ":"]) | texts().filter(is_addressable)
values = st.one_of(
    st.sampled_from(["", "a", "a&b=c", '"', "1", "true", "null", ":", "=", "%22"]),
    st.sampled_from([0, 1, -1, 10, 2**63 - 1, True, False]),
    texts().filter(is_utf8),
)
whole = st.dictionaries(fields, values, min_size=1, max_size=3)


@given(scopes())
def test_a_scope_accepts_what_can_be_compared(scope: tuple[Any, Any]) -> None:
    """A scope's field and value have a literal, or it is refused before anything is written."""
    field, value = scope
    if is_scope(field, value):
        assert Scope({field: value}).values == {field: value}
    else:
        with pytest.raises(InvalidInputError):
            Scope({field: value})


def test_a_scope_without_values_is_none() -> None:
    """An empty scope is false, adds no filter, and can't be in keys."""
    assert not Scope()
    assert Scope().expression(schema()) == ""
    assert Scope().key("x") == "x"
    assert Scope().holds({})
    with pytest.raises(InvalidInputError, match="needs a scope"):
        Scope(in_keys=True)


def test_members_of_enumerations_count_as_their_values() -> None:
    """Milvus brings back plain strings and integers, so the scope holds those."""
    scope = Scope({"plan": Plan.FREE, "level": Level.ONE, "on": True})
    assert {name: type(value) for name, value in scope.values.items()} == {
        "plan": str,
        "level": int,
        "on": bool,
    }
    assert scope.holds({"plan": "free", "level": 1, "on": True})


def test_the_caller_cannot_change_a_scope_afterwards() -> None:
    """A scope keeps values of its own."""
    given = {"tenant": "a"}
    scope = Scope(given)
    given["tenant"] = "b"
    assert scope.values == {"tenant": "a"}


def test_keys_are_made_of_the_scope_in_which_that_began() -> None:
    """A narrower scope has keys that the wider one reads, and can't leave the scope out."""
    wide = Scope({"tenant": "a"}, in_keys=True)
    narrow = wide.narrowed({"user": "u"}, in_keys=True)
    assert wide.id(narrow.key("x")) == "x"
    assert narrow.narrowed({"n": 1}, in_keys=True).key("x") == narrow.key("x")
    began = Scope({"tenant": "a"}).narrowed({"user": "u"}, in_keys=True)
    assert began.key("x") not in {wide.key("x"), narrow.key("x")}
    with pytest.raises(ScopeError, match="in the keys already"):
        narrow.narrowed({"n": 1}, in_keys=False)


def test_a_scope_that_is_no_dictionary_is_refused() -> None:
    """The fields have names."""
    with pytest.raises(InvalidInputError, match="dictionary of field values"):
        Scope({"a": 1}).narrowed(["tenant"], in_keys=False)  # type: ignore[arg-type]


def test_a_scope_is_narrowed_and_never_changed() -> None:
    """More fields can be fixed, and a fixed one only to the value that it has, type included."""
    scope = Scope({"tenant": "a", "level": 1})
    assert scope.narrowed({"user": "u"}, in_keys=False).values == {**scope.values, "user": "u"}
    assert scope.narrowed({"tenant": "a"}, in_keys=True).in_keys
    assert scope.narrowed({"level": Level.ONE}, in_keys=False) == scope
    for other in ({"tenant": "b"}, {"level": True}, {"level": "1"}, {"tenant": ""}):
        with pytest.raises(ScopeError, match="already"):
            scope.narrowed(other, in_keys=False)


def test_a_scope_is_written_as_an_expression() -> None:
    """Every field is compared; what is no field of the schema is a dynamic key."""
    scope = Scope({"tenant": 'a"', "o w": 1, "on": True})
    assert scope.expression(schema("tenant")) == (
        '(tenant == "a\\"") and ($meta["o w"] == 1) and (on == true)'
    )
    with pytest.raises(InvalidInputError, match="no scalar field"):
        scope.expression(schema("tenant", dynamic=False))
    with pytest.raises(InvalidInputError, match="no scalar field"):
        Scope({"vector": "x"}).expression(schema())


def test_only_zero_and_one_in_dynamic_fields_are_loose() -> None:
    """Milvus Lite takes `true` for 1 there; a field of the schema has one type."""
    for value, loose in [(0, True), (1, True), (True, True), (2, False), ("1", False)]:
        assert Scope({"f": value}).needs_client_side_count(schema()) is loose
        assert Scope({"f": value}).needs_client_side_count(schema("f")) is False


def test_documents_are_stamped() -> None:
    """The scope's values are added, and another value for one of them is refused."""
    scope = Scope({"tenant": "a", "level": 1})
    metadata = {"x": 1}
    assert scope.stamp(metadata) == {"x": 1, "tenant": "a", "level": 1}
    assert metadata == {"x": 1}
    assert scope.stamp({"tenant": "a", "level": 1}) == scope.values
    for other in ({"tenant": "b"}, {"level": True}, {"level": 1.0}, {"tenant": None}):
        with pytest.raises(ScopeError, match="another"):
            scope.stamp(other)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"tenant": "a"},
        {"level": 1},
        {"tenant": "A", "level": 1},
        {"tenant": "a", "level": True},
        {"tenant": "a", "level": 1.0},
        {"tenant": "a", "level": "1"},
        {"tenant": ["a"], "level": 1},
        {"tenant": None, "level": 1},
    ],
)
def test_rows_outside_the_scope_are_recognised(row: dict[str, Any]) -> None:
    """A row lies in the scope if it has all of its values, types included."""
    scope = Scope({"tenant": "a", "level": 1})
    inside = {"tenant": "a", "level": 1, "x": 2}
    assert scope.holds(inside)
    assert not scope.holds(row)
    scope.require([inside, inside])
    equal = row.get("level") is True  # which Milvus Lite takes for 1
    with pytest.raises(ScopeError, match="use strings" if equal else "withheld"):
        scope.require([inside, row])


@given(st.lists(whole, min_size=2, max_size=6))
def test_no_key_of_one_scope_can_be_another_scopes(many: list[dict[str, Any]]) -> None:
    """No two scopes' prefixes are prefixes of each other, so no id reaches across."""
    prefixes = {repr(sorted(one.items())): Scope(one, in_keys=True).key("") for one in many}
    for one, other in itertools.permutations(prefixes.values(), 2):
        assert not one.startswith(other)


@given(whole, texts().filter(is_utf8))
def test_ids_come_back_from_stored_keys(scope: dict[str, Any], id_: str) -> None:
    """The stored key holds the id, does not depend on the fields' order, and is read back."""
    one = Scope(scope, in_keys=True)
    other = Scope(dict(reversed(scope.items())), in_keys=True)
    assert one.id(one.key(id_)) == id_
    assert one.key(id_) == other.key(id_)
    assert Scope(scope).key(id_) == id_ == Scope(scope).id(id_)


def test_a_key_without_the_scope_is_refused() -> None:
    """A row whose key was not made by this scope is withheld, with what to do."""
    with pytest.raises(ScopeError, match="scoped_ids=True"):
        Scope({"tenant": "a"}, in_keys=True).id("x")


def test_values_that_have_no_literal_are_named() -> None:
    """The error of a scope that can't be says why."""
    with pytest.raises(FilterError, match="64 bits"):
        Scope({"tenant": 2**63})
    with pytest.raises(InvalidInputError, match="float"):
        Scope({"tenant": 1.5})  # type: ignore[dict-item]


def redacted(scope: Scope, error: MilvusToolsError, *, lite: bool) -> str:
    """Return what is told of an error inside a scope."""
    with pytest.raises(type(error)) as caught, scope.redacting_errors(lite=lite):
        raise error
    assert caught.value is error
    return str(error)


SYNTAX = "cannot parse expression: {}, error: line 1:7 mismatched input"


@pytest.mark.parametrize(
    "scope",
    [
        {"tenant": "acme"},
        {"tenant": "a"},
        {"tenant": 'x" or "y'},
        {"a key": "é\n"},
        {"in": 42},
        {"flag": True, "tenant": "acme"},
    ],
)
@pytest.mark.parametrize("lite", [False, True])
def test_r07_a_syntax_error_does_not_name_the_scope(scope: dict[str, Any], *, lite: bool) -> None:
    """Milvus quotes the whole filter; what the operator fixed is not told, the rest is."""
    fixed = Scope(scope)
    whole = f"({fixed.expression(schema())}) and (n ===  7)"
    text = redacted(fixed, MilvusError(SYNTAX.format(whole), 6), lite=lite)
    assert "n ===  7" in text
    for field, value in scope.items():
        assert field not in text.split()
        assert str(value) not in text.replace("line 1:7", "").split()


def test_r07_a_part_of_the_scope_is_not_told_either() -> None:
    """Where the scope is quoted otherwise than it was written, nothing is told."""
    scope = Scope({"tenant": "acme", "n": 1})
    for quoted in ("field 'tenant' is a string", "mismatched 'acme'", 'tenant=="acme"', "n > 2"):
        said = "Milvus refused the request; its reason names the scope, so it is not shown."
        assert redacted(scope, MilvusError(quoted, 1100), lite=False) == said
        partial = PartialWriteError(f"1 of 2 entities: {quoted}", ["a"])
        partial.__cause__ = MilvusError(quoted, 1100)
        assert redacted(scope, partial, lite=False) == f"1 of 2 entities: {said}"
        assert partial.written == ["a"]


def test_what_is_ours_to_say_is_told() -> None:
    """Our own sentences, and errors outside a scope, stay as they are."""
    for error in (ScopeError("tenant"), DeadlineError("acme"), InvalidInputError("tenant")):
        assert redacted(Scope({"tenant": "acme"}), error, lite=True) in {"tenant", "acme"}
    assert redacted(Scope(), MilvusError("anything", 1100), lite=True) == "anything"
