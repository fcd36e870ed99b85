"""What a release is checked for."""

from pathlib import Path

import pytest
from release import LARGEST_WHEEL, check_texts, count_lines

ROOT = Path(__file__).parents[2]
SOURCE = '''"""A module

of one function."""

x = 1  # a comment beside code


# a comment alone
def f():
    """Its docstring."""
    return """a text
of two lines"""
'''


def test_lines_of_code() -> None:
    assert count_lines(SOURCE) == 4
    assert count_lines("") == 0


def test_the_package_is_small_enough() -> None:
    sources = [path.read_text() for path in (ROOT / "e3hyena").rglob("*.py")]
    assert 1_000 < sum(map(count_lines, sources)) <= LARGEST_WHEEL


def test_a_version_that_is_not_the_package_s() -> None:
    with pytest.raises(ValueError, match=r"VERSION=99.0.0, but e3hyena/__init__.py says"):
        check_texts("99.0.0")
