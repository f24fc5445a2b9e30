"""Work on text takes time in proportion to its length: every pattern, and what is made of them."""

import ast
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

import graphs
import milvus_tools
from tests.helpers.linear_time import SIZES, is_linear, once

METHODS = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
PIECES = [
    *(" ", "\n", "\t", "(", ")", "[", "]", "{", "}", "<", ">", '"', "'", "`", "-", "\u2013"),
    *("1", "0", ".", "#", "a", "A", "_", ",", ":", ";", "\\", "/", "*", "+", "=", "!", "?"),
    *("|", "&", "%", "é", "\u200b", "like ", "not ", "think", "document"),
]
REPEATED = [" ", "\n", "1", "a", "-", ".", "'", "["]
MOST_WORDS = 12
# Quadratic work on 4 kB, some 8 million steps, can't be done in so little.
UNSUSPICIOUS = 0.002


def modules() -> Iterator[ModuleType]:
    """Yield all modules of ours."""
    for package in (milvus_tools, graphs):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


MODULES = {module.__name__: module for module in modules()}
TREES = {name: ast.parse(inspect.getsource(module)) for name, module in MODULES.items()}


def assigned(module: ModuleType | type, body: Iterable[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """Yield the names that a module or a class gives values, with these."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from assigned(getattr(module, node.name), node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and hasattr(module, name.id):
                        yield name.id, getattr(module, name.id)


def patterns_in(value: Any) -> Iterator[re.Pattern[str]]:
    """Yield the patterns that a value is, or holds."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        yield from patterns_in([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from patterns_in(one)


def patterns_of(name: str) -> list[tuple[str, re.Pattern[str]]]:
    """Return the patterns that a module makes, each with the name that it has there."""
    return [
        (own, pattern)
        for own, value in assigned(MODULES[name], TREES[name].body)
        for pattern in patterns_in(value)
    ]


def methods_of(name: str, own: str) -> set[str]:
    """Return the methods that a module calls on a pattern; all if it leaves that to others."""
    return {
        node.attr
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute)
        and node.attr in METHODS
        and own in (called_on(node.value), called_on(getattr(node.value, "value", None)))
    } or METHODS


def called_on(node: ast.AST | None) -> str | None:
    """Return the name that a method is called on: `_NAME`, or `self._NAME`."""
    return getattr(node, "id", getattr(node, "attr", None))


PATTERNS = [
    pytest.param(pattern, methods_of(name, own), id=f"{name}.{own}-{number}")
    for name in MODULES
    for number, (own, pattern) in enumerate(patterns_of(name))
]


Pairs = Callable[[Iterable[str]], Iterable[tuple[str, str]]]
BOTH_WAYS: Pairs = functools.partial(itertools.product, repeat=2)
ONE_WAY: Pairs = functools.partial(itertools.combinations_with_replacement, r=2)
_AT_START = re.compile(r"(?<!\[)\^|\\A")


def works(pattern: re.Pattern[str], methods: set[str]) -> list[tuple[Callable[[str], Any], Pairs]]:
    """Return what is done with a pattern, and which pairs of pieces to repeat for it.

    All that goes through a text searches alike, and finds in "ababab" what it finds in "bababa",
    unless it looks at the start alone.
    """
    at_start = [name for name in ("match", "fullmatch") if name in methods]
    found: list[Any] = [(getattr(pattern, name), BOTH_WAYS) for name in at_start]
    if methods - {*at_start}:
        pairs = BOTH_WAYS if _AT_START.search(pattern.pattern) else ONE_WAY
        found.append((lambda text: pattern.sub("", text), pairs))
    return found


def hostile(pattern: re.Pattern[str], pairs: Pairs) -> Iterator[Callable[[int], str]]:
    """Yield what makes texts of a size that a pattern may take long for.

    They repeat one or two pieces, also behind what the pattern looks for, but not at its end.
    """
    words = list(dict.fromkeys(re.findall(r"[A-Za-z]{2,}", pattern.pattern)))[:MOST_WORDS]
    signs = list(dict.fromkeys(re.findall(r"[^\w\s]", pattern.pattern)))
    pieces = list(dict.fromkeys([*PIECES, *words, *signs]))
    for unit in map("".join, pairs(pieces)):
        yield lambda size, unit=unit: unit * (size // len(unit))
    beginnings = [*signs, *words, *map("".join, itertools.permutations(words, 2))]
    for before, unit in itertools.product(beginnings, REPEATED):
        yield lambda size, before=before, unit=unit: f"{before}{unit * size}!"


def is_suspicious(work: Callable[[str], Any], made: Callable[[int], str]) -> bool:
    """Tell whether a short text takes so long that growth is worth measuring."""
    return any(once(work, made(size)) > UNSUSPICIOUS for size in SIZES[:3:2])


@pytest.mark.parametrize(("pattern", "methods"), PATTERNS)
def test_r03_a_pattern_takes_linear_time(pattern: re.Pattern[str], methods: set[str]) -> None:
    """No text makes a pattern of ours take more than in proportion to the text's length."""
    for work, pairs in works(pattern, methods):
        for made in hostile(pattern, pairs):
            assert not is_suspicious(work, made) or is_linear(work, made), made(40)


def compiled(node: ast.AST, *, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the functions of `re` that are called, and whether that is in a function."""
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "re":
        yield called.attr, inside
    inside |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for inner in ast.iter_child_nodes(node):
        yield from compiled(inner, inside=inside)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_r03_no_pattern_hides_from_the_test_above(name: str) -> None:
    """Patterns are compiled as values of a module or a class, where the test finds them."""
    calls = list(compiled(TREES[name]))
    assert all(call == ("compile", False) for call in calls), calls
    assert len(patterns_of(name)) >= len(calls)
    imported = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom)]
    assert all(node.module not in ("re", "regex") for node in imported)
