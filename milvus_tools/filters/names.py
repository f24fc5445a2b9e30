"""Names as filters write them: a key, or the path to a nested key."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from milvus_tools.errors import FilterError
from milvus_tools.schema import Place, Schema

# A key in brackets and quotes, or a plain key, which a dot or such a key ends.
_PART: Final = re.compile(
    r"""\[(?:'((?:[^'\\]|\\.)*+)'|"((?:[^"\\]|\\.)*+)")\]|((?:[^.\[]|\[(?!['"]))++)""", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


class DocumentId(str):
    """A name that means the Documents' id, whatever the primary key and other keys are called.

    The text is the name by which messages call the id.
    """

    __slots__ = ()


def locate(name: object, schema: Schema, metadata_field: str | None = None) -> Place | None:
    """Return the place that a name means; filters, `order_by` and `FilterField` all ask here.

    Args:
        name: A field of the schema, else a metadata key or a path of keys; or a `DocumentId`.
        schema: The collection's schema.
        metadata_field: The JSON field that holds all metadata, or `None`.

    Returns:
        The place, or `None` if the collection can't have such a value.

    Raises:
        FilterError: If it is not a name.
    """
    if isinstance(name, DocumentId):
        return Place(schema.primary)
    return schema.locate(path_of(name), metadata_field)


def value_at(data: object, keys: Sequence[str]) -> Any:
    """Return the value under a path of keys, or `None` if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def nested_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in nested dictionaries, as the paths that are their names lead.

    Raises:
        FilterError: If one name leads through the value of another.
    """
    data: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = path_of(name)
        inner: Any = data
        for key in outer:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last in inner:
            raise FilterError(f"The key {name!r} is inside another value, or has one inside it.")
        inner[last] = value
    return data


def path_of(name: object) -> tuple[str, ...]:
    """Return the keys of a name, from the outermost to the innermost.

    A dot separates keys: `specs.screen` is the key `screen` of the object `specs`. A key that has
    a dot itself is written in brackets and quotes, with backslashes as escapes: `['x.y']`,
    `specs['x.y']`.

    Raises:
        FilterError: If the name is not a string, or has another form.
    """
    if not isinstance(name, str):
        raise FilterError(f"A field's name must be a string, not {type(name).__name__}.")
    if "." not in name and "[" not in name:
        return (name,)
    keys: list[str] = []
    end = 0
    while end < len(name):
        dot = bool(keys) and name[end] == "."
        part = _PART.match(name, end + dot)
        if part is None or not (dot or not keys or part[3] is None):
            raise _malformed(name)
        quoted = part[1] if part[1] is not None else part[2]
        keys.append(part[3] if quoted is None else _ESCAPE.sub(r"\1", quoted))
        end = part.end()
    return tuple(keys)


def _malformed(name: str) -> FilterError:
    shown = name[:50]
    return FilterError(
        f"The name {shown!r} is no path of keys. A dot separates keys, as in specs.screen; a key "
        "that has a dot is written in brackets and quotes, as in ['x.y']."
    )
