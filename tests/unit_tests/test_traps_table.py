"""The table of traps names tests that exist."""

import pathlib
import re

TESTS = pathlib.Path(__file__).parents[1]


def test_the_table_and_the_tests_name_each_other() -> None:
    """Every trap's test stands in the table, and every test in the table exists."""
    table = (TESTS / "TRAPS.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", table))
    there = set(re.findall(r"def (test_\w+)\(", code))
    assert named <= there
    assert {name for name in there if re.match(r"test_t\d\d_", name)} <= named
