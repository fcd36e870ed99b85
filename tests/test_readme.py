"""The README's Python examples run as they stand."""

import re
from pathlib import Path

import pytest

from e3hyena.mixers import mixer_table

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code: str) -> None:
    exec(compile(code, str(README), "exec"), {})


def test_the_table_of_mixers_is_that_of_the_registry() -> None:
    assert f"<!-- mixers -->\n{mixer_table()}\n<!-- /mixers -->" in README.read_text()
