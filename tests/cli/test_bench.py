"""``e3hyena bench``."""

import pytest

from e3hyena.cli import main
from e3hyena.mixers import MIXERS

SMALL = ("bench", "--irreps", "2x0e + 2x1o", "--repeats", "1", "--accelerator", "cpu")


@pytest.mark.parametrize("backward", ["false", "true"])
def test_a_table_of_all_mixers(capsys: pytest.CaptureFixture[str], backward: str) -> None:
    words = ("--lengths", "[3, 8]", "--batch", "2", "--backward", backward)
    assert main([*SMALL, *words]) == 0
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert ("backward" in title) == (backward == "true")
    assert set(head.split()) == {"tokens", *MIXERS}
    assert [row.split()[0] for row in rows] == ["3", "8"]
    assert all(row.split()[2] == "(1x)" for row in rows)  # attention, against itself


def test_chosen_mixers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--mixers", "[coordinate]", "--lengths", "[4]"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["tokens", "attention", "coordinate"]


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--lengths", "[]"], "lengths"), (["--batch", "0"], "batch"), (["--mixers", "[x]"], "x")],
)
def test_wrong_values(capsys: pytest.CaptureFixture[str], words: list[str], named: str) -> None:
    assert main([*SMALL, *words]) in (1, 2)
    out, err = capsys.readouterr()
    assert named in err and "Traceback" not in err and not out
