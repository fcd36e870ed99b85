"""Every measured table in the README and in docs is what its JSON renders to."""

import json
from pathlib import Path

import pytest
from benchmarks.bench import (
    block,
    convolution,
    gridding,
    memory,
    operator,
    pages,
    ragged,
    sets,
    swap,
    transforms,
)
from benchmarks.bench.documents import read_block, write_block
from benchmarks.experiments import (
    ethanol,
    molecule_report,
    nbody_report,
    path,
    recall_report,
    scaling_report,
    set_recall_report,
    symmetry,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("page", "block", "name", "render"),
    [
        ("docs/experiments.md", "molecules", "molecules", molecule_report.render),
        ("README.md", "molecules_short", "molecules", molecule_report.render_short),
        ("docs/experiments.md", "recall_set", "recall_set", set_recall_report.render),
        ("docs/experiments.md", "recall", "recall", recall_report.render),
        ("docs/experiments.md", "nbody", "nbody", nbody_report.render),
        ("docs/scaling.md", "scaling", "scaling", scaling_report.render),
        ("docs/scaling.md", "scaling_claims", "scaling", scaling_report.render_claims),
        ("README.md", "scaling_short", "scaling", scaling_report.render_short),
    ],
)
def test_experiments_agree_with_json(page: str, block: str, name: str, render) -> None:
    results = ROOT / "docs" / "results" / f"{name}.json"
    text = render(json.loads(results.read_text())) if results.exists() else "Not measured yet."
    assert read_block(ROOT / page, block) == text


@pytest.mark.parametrize(
    "module",
    [block, convolution, gridding, memory, pages, ragged, sets, transforms],
    ids=lambda m: m.BLOCK,
)
def test_performance_agrees_with_json(module) -> None:
    results = json.loads((ROOT / "docs" / "results" / f"{module.BLOCK}.json").read_text())
    assert read_block(ROOT / "docs" / "performance.md", module.BLOCK) == module.render(results)


@pytest.mark.parametrize(
    ("page", "name", "result", "render"),
    [
        ("README.md", "operator", "operator", operator.render),
        ("docs/order-and-symmetry.md", "symmetry", "symmetry", symmetry.render),
        ("README.md", "symmetry_short", "symmetry", symmetry.render_summary),
        ("docs/order-and-symmetry.md", "path", "path", path.render),
        ("docs/replace-attention.md", "swap", "swap", swap.render),
        ("docs/forces.md", "ethanol", "ethanol", ethanol.render),
        ("docs/forces.md", "ethanol_nve", "ethanol", ethanol.render_nve),
    ],
)
def test_pages_agree_with_json(page: str, name: str, result: str, render) -> None:
    results = json.loads((ROOT / "docs" / "results" / f"{result}.json").read_text())
    assert read_block(ROOT / page, name) == render(results)


def test_write_block(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    write_block(file, "a", r"new \1 table")
    assert file.read_text() == "before\n<!-- a -->\nnew \\1 table\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="no block <!-- b -->"):
        write_block(file, "b", "")
