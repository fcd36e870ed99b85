"""What ``make demo`` does, with a few steps."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from e3hyena.training import PRESETS, train

ROOT = Path(__file__).parents[2]


def test_make_runs_both_presets() -> None:
    lines = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0]
    outputs = [PRESETS[name].output for name in ("demo", "chain")]
    assert "--preset demo" in lines and "--preset chain" in lines
    assert f"docs/demo.py {' '.join(outputs)}" in lines


@pytest.mark.slow
def test_the_table_and_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for name in ("demo", "chain"):
        few = PRESETS[name]
        data = replace(few.data, train_size=8, val_size=4, test_size=8)
        folders.append(str(tmp_path / name))
        train(replace(few, output=folders[-1], data=data, optim=replace(few.optim, epochs=1)))
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["demo.py", *folders])
    runpy.run_path(str(ROOT / "docs" / "demo.py"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 6 and len({len(line) for line in lines}) == 1
    assert "C17H4, energy, MAE (eV)" in lines[5] and "1 / 1" in lines[5]
    assert (tmp_path / "chain" / "torsion.png").read_bytes().startswith(b"\x89PNG")
