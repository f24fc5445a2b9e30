"""The tables of traps and reports name tests that exist."""

import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["TRAPS", "REPORTS"])
def test_the_table_and_the_tests_name_each_other(name: str) -> None:
    """Every trap's and report's test stands in its table, and every test in a table exists."""
    table = (TESTS / f"{name}.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", table))
    there = set(re.findall(r"def (test_\w+)\(", code))
    assert named <= there
    assert {one for one in there if re.match(rf"test_{name[0].lower()}\d\d_", one)} <= named
