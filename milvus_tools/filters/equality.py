"""Filters that name the one value that a field has: reads by them can share a request."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Final, Self

from milvus_tools.filters.literals import any_of, one_of

_SHORT: Final = 1_024  # characters
_FORM: Final = re.compile(
    r"""
    \s*([A-Za-z_][A-Za-z0-9_]*) \s* == \s*
    (?:"([^"\\\x00-\x1f]*)" | '([^'\\\x00-\x1f]*)' | (-?[1-9][0-9]{0,14}|0)) \s*
    """,
    re.VERBOSE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Equality:
    """The condition that a field of the schema, or a dynamic key, has one value.

    Several reads by different values of one field can be one read: the values in the rows tell
    which rows each of them asked for. That is exact, because the values are strings, or integers
    that a double can hold: Milvus and Python agree on when two of them are equal. Of values that
    Milvus takes for equal and Python does not, such as `2` and `2.0`, see `told_apart` in
    `transport/sharing.py`.

    Attributes:
        expression: The condition, as it was written.
        field: The name of the field or of the dynamic key.
        value: The value.
    """

    expression: str
    field: str
    value: str | int

    @classmethod
    def read(cls, expression: str) -> Self | None:
        """Read an expression such as `name == "x"` or `year == 2000`; `None` for any other."""
        # A long one gains little from sharing, and this runs on the I/O loop.
        form = _FORM.fullmatch(expression) if len(expression) <= _SHORT else None
        if form is None:
            return None
        name, quoted, single, number = form.groups()
        value = int(number) if number is not None else quoted if quoted is not None else single
        return cls(expression, name, value)

    @staticmethod
    def any_of(equalities: "Sequence[Equality]", *, lite: bool) -> str:
        """Write that one of several conditions on one field holds; their values have one type.

        A server is slow with many `==`. Milvus Lite takes no `in` for some dynamic keys (T55).
        """
        by_value = {one.value: one for one in equalities}
        if lite or len(by_value) == 1:
            return any_of(one.expression for one in by_value.values())
        return one_of(equalities[0].field, [*by_value])
