"""Every measured table in the README is what its JSON renders to."""

import json
from pathlib import Path

import pytest

from e3hyena.bench import block, convolution, memory, operator, ragged, transforms
from e3hyena.bench.documents import read_block, write_block
from e3hyena.training.report import render_table
from e3hyena.training.seeds import render_seeds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "render"),
    [("operator", operator.render), ("demo", render_seeds), ("demo_wide", render_table)],
)
def test_readme_agrees_with_json(name: str, render) -> None:
    results = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text())
    assert read_block(ROOT / "README.md", name) == render(results)


@pytest.mark.parametrize(
    "module", [block, convolution, memory, ragged, transforms], ids=lambda m: m.BLOCK
)
def test_performance_agrees_with_json(module) -> None:
    results = json.loads((ROOT / "docs" / "results" / f"{module.BLOCK}.json").read_text())
    assert read_block(ROOT / "docs" / "performance.md", module.BLOCK) == module.render(results)


def test_write_block(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    write_block(file, "a", r"new \1 table")
    assert file.read_text() == "before\n<!-- a -->\nnew \\1 table\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="no block <!-- b -->"):
        write_block(file, "b", "")
