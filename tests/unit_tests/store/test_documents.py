"""Documents to rows and back, and what is refused because it would not come back."""

import enum
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools.errors import DimensionError, InvalidInputError, ScopeError
from milvus_tools.schema import Field, Schema
from milvus_tools.store.documents import DocumentMapper, batches
from milvus_tools.store.scope import Scope
from milvus_tools.store.values import as_array, checked_vectors, exact
from tests.helpers.generated_values import (
    RESERVED,
    Case,
    cases,
    fits_json,
    is_good,
    is_text,
    same,
    same_document,
    values,
)

OPEN = Scope()
TENANT = Scope({"tenant": "a"})
IN_KEYS = Scope({"tenant": "a"}, in_keys=True)


def mapper(
    *fields: Field,
    key: DataType = DataType.VARCHAR,
    dynamic: bool = True,
    metadata_field: str | None = None,
) -> DocumentMapper:
    """Return the mapper of a collection with some fields beside the usual ones."""
    named = [Field("text", DataType.VARCHAR), *fields]
    if metadata_field is not None:
        named.append(Field(metadata_field, DataType.JSON))
    schema = Schema(
        collection_id=1,
        primary=Field("pk", key),
        scalars={field.name: field for field in named},
        vectors={"vector": Field("vector", DataType.FLOAT_VECTOR, dim=2)},
        indexes={},
        dynamic=dynamic,
        bm25_inputs={},
    )
    return DocumentMapper(schema, "text", metadata_field)


def write(where: DocumentMapper, document: Document, scope: Scope = OPEN) -> dict[str, Any]:
    """Return a document's row."""
    return where.row(document, where.key(document.id, scope), scope)


def of(**metadata: Any) -> Document:
    """Return a document with some metadata."""
    return Document(id="1", page_content="t", metadata=metadata)


@given(cases(("b0",)), st.sampled_from([OPEN, TENANT, IN_KEYS]), st.sampled_from([None, "meta"]))
def test_a_document_comes_back_from_its_row(
    case: Case, scope: Scope, metadata_field: str | None
) -> None:
    """Values that a row takes come back unchanged, types included; all else is refused."""
    where = mapper(Field("tenant", DataType.VARCHAR), metadata_field=metadata_field)
    if not is_good(case) or not is_text(scope.key(str(case.id))):
        readable = is_text(case.text) and isinstance(case.metadata, dict)
        if readable and metadata_field is None:  # which holds what Milvus Lite drops elsewhere
            document = Document(page_content=case.text, metadata=case.metadata)
            with pytest.raises((InvalidInputError, ScopeError)):
                where.row(document, where.key(case.id, scope), scope)
        return
    metadata = {**case.metadata, "tenant": "a"}
    document = Document(id=str(case.id), page_content=case.text, metadata=metadata)
    row = write(where, document, scope)
    assert row["pk"] == scope.key(str(case.id))
    assert same_document(where.document(row, scope), document)


def test_a_row_holds_nothing_of_the_document() -> None:
    """Neither the document nor its metadata is changed or kept."""
    document = of(a=[1], b={"c": 2})
    row = write(mapper(), document, TENANT)
    row["a"].append(2)
    row["b"]["d"] = 3
    assert document.metadata == {"a": [1], "b": {"c": 2}}


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (mapper(), lambda size: {"ü": "x" * (size - len('{"ü":""}') - 1)}, "The metadata has"),
        (mapper(), lambda size: {"a": "", "b": "x" * (size - 15)}, "The metadata has"),
        (mapper(metadata_field="all"), lambda size: {"a": "x" * (size - 8)}, "The metadata has"),
        (
            mapper(Field("own", DataType.JSON)),
            lambda size: {"own": ["x" * (size - 4)], "dynamic": "x" * 60_000},
            "The metadata 'own' has",
        ),
    ],
)
def test_r34_the_json_of_a_row_is_measured_as_a_server_does(
    where: DocumentMapper, value: Callable[[int], dict[str, Any]], told: str
) -> None:
    """Each JSON field, and the dynamic keys together, take 65 536 bytes of UTF-8."""
    where.require_short_json(write(where, of(**value(65_536))))
    with pytest.raises(InvalidInputError, match=f"^{told} 65537 bytes as JSON"):
        where.require_short_json(write(where, of(**value(65_537))))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused(name: str) -> None:
    """A metadata key can't take the place of the id, the text, a vector, or what Lite drops."""
    with pytest.raises(InvalidInputError, match="reserved"):
        write(mapper(), of(**{name: "x"}))
    with pytest.raises(InvalidInputError):
        write(mapper(), of(), Scope({name: "x"}))


def test_the_copy_of_the_id_is_dropped_from_metadata() -> None:
    """Metadata under the key's name is dropped when it is the id, and refused when it is not."""
    assert write(mapper(), of(pk="1")) == {"text": "t", "pk": "1"}
    assert write(mapper(), of(pk=1)) == {"text": "t", "pk": "1"}
    for other in ("2", 2, 1.0, None, ["1"], True, 10**5000):
        with pytest.raises(InvalidInputError):
            write(mapper(), of(pk=other))


def test_a_scope_needs_a_place_that_filters_reach() -> None:
    """A scope's value that would land inside the metadata field is refused."""
    for dynamic in (True, False):
        with pytest.raises(InvalidInputError, match="filtered on"):
            write(mapper(dynamic=dynamic, metadata_field="meta"), of(), TENANT)
    field = Field("tenant", DataType.VARCHAR)
    row = write(mapper(field, metadata_field="meta"), of(x=1), TENANT)
    assert row == {"text": "t", "pk": "1", "tenant": "a", "meta": {"x": 1}}


def test_a_scope_is_stamped_and_not_overruled() -> None:
    """A row has the scope's values, and a document that says otherwise is refused."""
    assert write(mapper(), of(x=1), IN_KEYS)["tenant"] == "a"
    assert write(mapper(), of(x=1), IN_KEYS)["pk"] == IN_KEYS.key("1")
    with pytest.raises(ScopeError):
        write(mapper(), of(tenant="b"), TENANT)


def test_a_static_collection_takes_its_fields_only() -> None:
    """Unknown keys are refused, and so is a document that leaves a field out."""
    where = mapper(Field("n", DataType.INT64), Field("o", DataType.INT64, optional=True))
    static = DocumentMapper(
        Schema(**{**vars(where.schema), "dynamic": False}),
        "text",
    )
    assert write(static, of(n=1)) == {"text": "t", "pk": "1", "n": 1}
    assert write(static, of(n=1, o=None))["o"] is None
    with pytest.raises(InvalidInputError, match="no scalar field 'x'"):
        write(static, of(n=1, x=2))
    with pytest.raises(InvalidInputError, match="needs a value"):
        write(static, of())
    with pytest.raises(InvalidInputError, match="INT64"):
        write(static, of(n=None))
    with pytest.raises(InvalidInputError, match="no text field"):
        DocumentMapper(where.schema, "body").row(of(n=1), "1", OPEN)


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (DataType.BOOL, [True, False], [1, 0, "true", None]),
        (DataType.INT8, [-128, 127, 0], [128, -129, True, 1.0, "1"]),
        (DataType.INT16, [-(2**15), 2**15 - 1], [2**15]),
        (DataType.INT32, [-(2**31), 2**31 - 1], [2**31]),
        (DataType.INT64, [-(2**63), 2**63 - 1], [2**63, -(2**63) - 1, False]),
        (DataType.FLOAT, [0.1, -1.5, 1], [1e300, 2**24 + 1, math.nan, math.inf, True, "1"]),
        (DataType.DOUBLE, [0.1, 1e300, 2**53], [2**53 + 1, math.nan, False]),
        (DataType.VARCHAR, ["", "x", "\x00", "汉字三"], ["x" * 10, "汉汉汉汉", 1, None, "\ud800"]),
        (DataType.JSON, [{}, {"a": [1, None]}, []], ["{}", "null", 1, None, {"a": math.nan}]),
        (DataType.ARRAY, [[], [1, 2]], [[math.nan], {1}]),
    ],
)
def test_fields_take_what_they_bring_back(
    type_: DataType, good: list[Any], bad: list[Any]
) -> None:
    """A field of the schema takes values of its type and range, and no others."""
    where = mapper(Field("f", type_, max_length=9))
    for value in good:
        assert same(write(where, of(f=value))["f"], value)
    for value in bad:
        with pytest.raises(InvalidInputError):
            write(where, of(f=value))


def test_integer_keys_are_integers() -> None:
    """An id of an INT64 key is a number in its plainest form, and the id is its text."""
    where = mapper(key=DataType.INT64)
    assert [where.key(id_, OPEN) for id_ in ("5", 5, "-7", "0")] == [5, 5, -7, 0]
    assert OPEN.id(-7) == "-7"
    assert where.document({"pk": 5, "text": "t"}, OPEN).id == "5"
    bad = ["05", "+5", " 5", "5.0", "five", "", "\uff15", "1_0", str(2**63), 2**63, -(2**63), "-0"]
    for id_ in [*bad, "9" * 5000]:
        with pytest.raises(InvalidInputError, match="64-bit"):
            where.key(id_, OPEN)
    with pytest.raises(InvalidInputError, match="scoped_ids"):
        where.key("5", IN_KEYS)


def test_string_keys_are_strings() -> None:
    """An id of a VARCHAR key is a text that fits, with the scope in it."""
    where = mapper()
    assert [where.key(id_, OPEN) for id_ in ("", "x", 5, "\x00")] == ["", "x", "5", "\x00"]
    for id_ in [None, True, 1.5, b"x", ["x"], "\ud800", "x" * 65_536, 10**5000]:
        with pytest.raises(InvalidInputError):
            where.key(id_, OPEN)
    where.key("x" * 65_535, OPEN)
    with pytest.raises(InvalidInputError, match="65550 bytes"):
        where.key("x" * 65_535, IN_KEYS)


def test_milvus_makes_the_keys_of_auto_id() -> None:
    """Without a key the row has none."""
    assert mapper(key=DataType.INT64).row(of(x=1), None, OPEN) == {"text": "t", "x": 1}


def test_a_document_is_read_without_what_is_not_metadata() -> None:
    """Id, text, vectors and empty fields are no metadata; `fields` chooses among the rest."""
    where = mapper(Field("o", DataType.INT64, optional=True), metadata_field="meta")
    row = {
        "pk": "1",
        "text": "t",
        "vector": [1.0, 2.0],
        "o": None,
        "meta": {"x": 1, "y": None},
        "tags": np.int64(3),
    }
    assert where.document(row, OPEN) == of(x=1, y=None, tags=3)
    assert where.document(row, OPEN, ["x", "zz"]) == of(x=1)
    assert where.document(row, OPEN, []) == of()
    assert where.document({**row, "meta": None}, OPEN) == of(tags=3)


def test_containers_of_the_wire_become_lists() -> None:
    """Iterables other than lists become lists."""
    where = mapper(Field("a", DataType.ARRAY))
    row = {"pk": "1", "text": "t", "a": (number for number in [1, 2])}
    assert where.document(row, OPEN).metadata == {"a": [1, 2]}


@given(values())
def test_exact_returns_what_json_brings_back(value: Any) -> None:
    """A value is returned as it is, or refused with the key's name."""
    if fits_json(value):
        assert same(exact(value, "k"), value)
    else:
        with pytest.raises(InvalidInputError):
            exact(value, "k")


def test_exact_takes_scalars_of_numpy_and_enumerations() -> None:
    """They are the Python values that Milvus brings back."""
    colour = enum.StrEnum("Colour", {"RED": "red"})
    assert same(exact([np.float64(1.5), np.int8(3), np.bool_(True)], "k"), [1.5, 3, True])
    assert exact(colour.RED, "k") == "red"
    for value in (np.float32("nan"), np.array([np.inf]), np.timedelta64(1, "D"), np.bytes_(b"x")):
        with pytest.raises(InvalidInputError, match="'k'"):
            exact(value, "k")


def test_exact_ends_on_what_holds_itself() -> None:
    """A cycle is refused as too deep."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(InvalidInputError, match="nested deeper than 32"):
        exact(cycle, "k")


def test_vectors_become_float32_rows() -> None:
    """Dense vectors are arrays of the field's dimension, as many as there are texts."""
    field = Field("vector", DataType.FLOAT_VECTOR, dim=2)
    one, other = checked_vectors([[1, 2], [0.5, -1]], field, 2)
    assert one.dtype == other.dtype == np.float32
    assert [one.tolist(), other.tolist()] == [[1.0, 2.0], [0.5, -1.0]]
    assert checked_vectors([], field, 0) == []
    half = Field("vector", DataType.FLOAT16_VECTOR, dim=2)
    assert checked_vectors([[1, 2]], half, 1)[0].dtype == np.float16


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (DataType.FLOAT_VECTOR, [[1.5, -2.0], [0.0, 3.0]]),
        (DataType.FLOAT16_VECTOR, [[b"\x00\x3e\x00\xc0"], [b"\x00\x00\x00\x42"]]),
        (DataType.FLOAT16_VECTOR, [b"\x00\x3e\x00\xc0", b"\x00\x00\x00\x42"]),
        (DataType.BFLOAT16_VECTOR, [b"\xc0\x3f\x00\xc0", b"\x00\x00\x40\x40"]),
        (DataType.BFLOAT16_VECTOR, [[b"\xc0\x3f\x00\xc0"], [b"\x00\x00\x40\x40"]]),
    ],
)
def test_vectors_that_milvus_returns_become_an_array(kind: DataType, cells: list[Any]) -> None:
    """Numbers of 16 bits come as bytes, of a query in a list, others as lists."""
    array = as_array(cells, Field("vector", kind, dim=2))
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, -2.0], [0.0, 3.0]]
    assert as_array([], Field("vector", kind, dim=2)).shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([], "made 0 vectors of 1 texts"),
        ([[1, 2], [3, 4]], "made 2 vectors of 1 texts"),
        ([[1, 2, 3]], "3 dimensions"),
        ([1], "0 dimensions"),
        (["x"], "not lists of numbers"),
        ([["x", "y"]], "not lists of numbers"),
        ([[1j, 2]], "not lists of numbers"),
        ([[None, 1]], "NaN|not lists of numbers"),
        ([[10**400, 1]], "not lists of numbers"),
        ([[1e300, 1]], "NaN or an infinity"),
        ([[math.nan, 1]], "NaN or an infinity"),
        ([[math.inf, 1]], "NaN or an infinity"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors: Any, message: str) -> None:
    """Another number, another dimension or no finite numbers: a DimensionError says which."""
    with pytest.raises(DimensionError, match=message):
        checked_vectors(vectors, Field("vector", DataType.FLOAT_VECTOR, dim=2), 1)


def test_sparse_vectors_are_counted_only() -> None:
    """Vectors that are not dense pass unchanged."""
    field = Field("vector", DataType.SPARSE_FLOAT_VECTOR)
    vectors = [{1: 0.5}]
    assert checked_vectors(vectors, field, 1) is vectors
    with pytest.raises(DimensionError):
        checked_vectors(vectors, field, 2)


@given(st.lists(st.integers(), max_size=20), st.integers(1, 7))
def test_batches_hold_all_in_order(items: list[int], size: int) -> None:
    """Batches are as large as they may be, and together they are the sequence."""
    cut = list(batches(items, size))
    assert [item for batch in cut for item in batch] == items
    assert all(len(batch) == size for batch in cut[:-1])
    assert all(batch for batch in cut)
